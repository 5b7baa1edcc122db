"""What decides how weights change: optimizer, schedule, loss, mixing, averages."""
