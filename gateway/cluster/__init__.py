"""Several processes as one gateway: who owns what, how they speak, who holds the lock."""
