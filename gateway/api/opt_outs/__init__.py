"""Who is not to be written to, and how that is said."""
