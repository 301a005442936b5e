"""Conversations v1 (docs/spec/twilio-api.md#conversations-v1)."""
