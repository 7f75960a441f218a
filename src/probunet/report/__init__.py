"""probunet.report."""
