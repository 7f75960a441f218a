"""Where cases come from: the store, its splits, batches and augmentation; imports metrics and all below."""
