"""What befalls training images after their crop."""
