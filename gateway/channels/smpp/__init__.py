"""SMPP carriers: their settings, binds, what a message looks like on the wire."""
