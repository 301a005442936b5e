"""The stages of a message, put together, started and stopped."""
