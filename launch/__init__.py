"""Turn a command into processes on a cluster."""
