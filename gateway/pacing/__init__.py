"""When a message may go: queues, buckets, deadlines. Pure."""
