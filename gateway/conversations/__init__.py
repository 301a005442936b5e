"""Conversations (docs/spec/twilio-api.md#conversations-v1): what inbound messages and the API both
do to them."""
