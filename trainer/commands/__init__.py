"""The commands: their flags, their checks and what they print. What computes lies in the libraries below."""
