"""A send call's way to a committed row: blocks, a sender, encoding, limits, one batch."""
