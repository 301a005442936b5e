"""A message: its fields, its life, its row."""
