"""What waits in rows, and its way back into acceptance: overflow, schedule, recovery."""
