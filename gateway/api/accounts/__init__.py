"""Accounts, their keys and applications."""
