"""probunet.nets."""
