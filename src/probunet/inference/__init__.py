"""A trained model at work on pictures: in their own grid and units, out on that grid; imports runs and all below."""
