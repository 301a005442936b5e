"""Conversations v1 (twilio-api §10)."""
