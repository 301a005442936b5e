"""Several processes as one gateway: who does what, and how they speak with each other."""
