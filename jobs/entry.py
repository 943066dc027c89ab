"""The program ``ingest``: hands over to ``jobs.cli``.

Worker processes import the main module of their driver once more, whatever it is, before they
begin. The script that pip installs imports this module, so they need not wait for a command line
that they have no use for.
"""

from __future__ import annotations


def main() -> None:
    """Run the command line and exit with its code."""
    from jobs.cli import main as command_line  # not at the top: see above

    command_line()
