"""What waits in rows, and its way back to a queue or a sender: overflow, schedule, recovery."""
