"""Everything that publishes datasets and knows no Ray: sources, rules, plans, transfer, records."""

__version__ = "0.1.0"
