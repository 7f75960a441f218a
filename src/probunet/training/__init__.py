"""probunet.training."""
