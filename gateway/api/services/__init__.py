"""Messaging Services, their pools, campaigns and links."""
