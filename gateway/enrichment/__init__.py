"""What a message needs from outside before it gets a sender: media, the recipient's network."""
