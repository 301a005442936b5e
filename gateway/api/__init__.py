"""The HTTP surface: Twilio's shapes outside, drafts and directory inside (twilio-api.md)."""
