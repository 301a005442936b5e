"""Accounts, services and senders as they stand, for whoever handles a message."""
