"""Seen from outside: metrics, readiness, and the watchdog over what does not move."""
