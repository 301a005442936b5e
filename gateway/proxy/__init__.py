"""In the place of `*.twilio.com`, for apps that stay as they are
(docs/spec/twilio-api.md#four-ways-to-point-an-sdk-at-the-gateway C and D)."""
