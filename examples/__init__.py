"""Programs that show the product at work; run from the repository, not installed with it."""
