"""Files of pictures and label maps: read with their place in space, and written back; imports core alone."""
