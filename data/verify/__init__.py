"""Every image is looked at once, and listed."""
