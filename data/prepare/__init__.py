"""Official archives become a data set."""
