"""X-Twilio-Signature: how an app knows that a webhook is ours
(docs/spec/twilio-api.md#webhook-signature)."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Sequence
from urllib.parse import urlsplit, urlunsplit

Parameters = Sequence[tuple[str, str]]


def signed_url(url: str) -> str:
    """The URL as it is signed: without userinfo and fragment, otherwise as configured."""
    if "@" not in url and "#" not in url:
        return url
    parts = urlsplit(url)
    if "@" not in parts.netloc and not parts.fragment:
        return url
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment=""))


def string_to_sign(url: str, parameters: Parameters) -> str:
    """The URL, then each name and value, by name in byte order, without separators.

    Of a repeated name each distinct value is taken once, sorted.
    """
    return signed_url(url) + text_of(parameters)


def text_of(parameters: Parameters) -> str:
    """What is signed behind the URL."""
    return "".join([f"{name}{value}" for name, value in sorted(set(parameters))])


def sign(auth_token: str, url: str, parameters: Parameters = ()) -> str:
    """The header's value for a form POST (or, without `parameters`, for a GET)."""
    return signature_of(auth_token, string_to_sign(url, parameters))


def signature_of(auth_token: str, text: str) -> str:
    """The header's value for a string to sign."""
    digest = hmac.digest(auth_token.encode(), text.encode(), hashlib.sha1)
    return base64.b64encode(digest).decode("ascii")
