"""Calls to apps' servers: connections, signatures, status callbacks."""
