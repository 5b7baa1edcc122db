"""The commands: one module for each verb, with its flags, its checks and what it says."""
