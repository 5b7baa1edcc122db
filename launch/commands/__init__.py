"""The commands that queue and watch runs: their flags, their checks and what they print."""
