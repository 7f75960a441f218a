"""What a training minimises, one file each; imports distributions and all below."""
