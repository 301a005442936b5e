"""In the place of `*.twilio.com`, for apps that stay as they are (twilio-api §1.3 C and D)."""
