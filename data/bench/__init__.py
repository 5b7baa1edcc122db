"""Times the loaders beside their peers."""
