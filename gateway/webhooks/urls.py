"""URLs of apps, as they stand in a request line: ASCII only (RFC 3986 §2.1).

An app may write `…/smş`. It is percent-encoded once, where it is taken in; from there on that form
is stored, shown, signed and sent, so that what the app verifies is what it was called with.
"""

from __future__ import annotations

from typing import Final

_PLAIN: Final = frozenset(range(0x21, 0x7F))


def ascii_url(url: str) -> str:
    """`url` with every character that can't stand in a request line as its UTF-8, in percent.

    What is encoded already stays as it is.
    """
    if url.isascii() and url.isprintable() and " " not in url:
        return url
    return "".join(
        chr(octet) if octet in _PLAIN else f"%{octet:02X}"
        for octet in url.encode("utf-8", "replace")
    )
