"""probunet.models."""
