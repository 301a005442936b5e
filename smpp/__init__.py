"""SMPP 3.4: codec, session, binds that stay up, and a carrier simulator."""
