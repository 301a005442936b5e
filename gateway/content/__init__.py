"""Texts: encodings, segments, templates, short links. Pure."""
