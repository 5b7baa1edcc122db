"""What outlives a process: checkpoints, and who may write them."""
