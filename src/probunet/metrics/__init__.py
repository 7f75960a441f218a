"""probunet.metrics."""
