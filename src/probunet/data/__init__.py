"""probunet.data."""
