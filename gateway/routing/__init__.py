"""Which sender a message leaves from, and all that is known of numbers. Pure."""
