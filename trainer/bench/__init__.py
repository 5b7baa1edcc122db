"""Times the trainer beside its peers."""
