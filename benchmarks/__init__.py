"""Speed and memory, side by side with the vendor's client: see README.md here."""
