"""Your own images and readers, and labelled street photographs; imports all of data."""
