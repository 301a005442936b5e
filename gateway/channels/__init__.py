"""How messages travel: a folder for each channel."""
