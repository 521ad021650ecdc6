"""Commands, and nothing else: a function of the command's name in each module."""
