"""Conversations (twilio-api §10): what inbound messages and the API both do to them."""
