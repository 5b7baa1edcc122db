"""What happens to each image, as a pure function of seed, epoch and position."""
