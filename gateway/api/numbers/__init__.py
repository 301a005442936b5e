"""Numbers, short codes and other senders of an account."""
