"""A procedural data set in ImageNet's layout."""
