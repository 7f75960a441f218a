"""Outlines over images, contact sheets, colours; imports core alone."""
