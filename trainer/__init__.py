"""Own time: steps, epochs, state and evidence."""
