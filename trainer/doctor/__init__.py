"""What bounds a run on the machine at hand, and which setting to change."""
