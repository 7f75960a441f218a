"""probunet."""
