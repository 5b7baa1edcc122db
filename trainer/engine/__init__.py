"""The run itself: its steps, its epochs, and what they need."""
