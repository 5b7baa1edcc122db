"""The result of a run, the verdict on it, and its report."""
