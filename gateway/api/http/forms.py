"""Form bodies and their typed fields.

A parser of our own for one reason: it is on the hot path, and `urllib.parse.parse_qsl` costs
several times the rest of a request.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import SplitResult, unquote_to_bytes, urlsplit

from yarl import URL

from gateway.api.http.errors import ApiError
from gateway.api.http.values import read_whole
from gateway.webhooks.urls import ascii_url

FORM_TYPE: Final = b"application/x-www-form-urlencoded"
URL_LIMIT: Final = 4000
HOST_LIMIT: Final = 253  # characters, and of each label (RFC 1035 §2.3.4)
LABEL_LIMIT: Final = 63
_HOST = re.compile(r"[A-Za-z0-9.\-:\[\]]+")


class Form:
    """Parameters by name; a repeated name keeps every value."""

    __slots__ = ("_values",)

    # Of a send: the octets of all but To and Body, where each of these is there once.
    shape: bytes | None = None
    to = ""
    body = ""

    def __init__(self, values: dict[str, list[str]]) -> None:
        self._values = values

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def get(self, name: str) -> str | None:
        """The (last) value as it came; None when the parameter is absent."""
        values = self._values.get(name)
        return values[-1] if values else None

    def starting(self, prefix: str) -> list[tuple[str, str]]:
        """Parameters whose name begins so: the rest of the name, and the (last) value."""
        return [
            (name[len(prefix) :], values[-1])
            for name, values in self._values.items()
            if name.startswith(prefix)
        ]

    def lacks(self, names: frozenset[str]) -> bool:
        """Whether none of these parameters was given."""
        return names.isdisjoint(self._values)

    def items(self) -> Iterable[tuple[str, list[str]]]:
        return self._values.items()

    def all(self, name: str) -> list[str]:
        return self._values.get(name, [])

    def flag(self, name: str) -> bool | None:
        """A boolean: true/false in any case, 1/0. Raises ApiError 20001."""
        return read_flag(name, self.get(name))

    def integer(self, name: str, low: int, high: int, code: int) -> int | None:
        """A whole number in [low, high]. Raises ApiError `code`."""
        value = self.get(name)
        if value is None:
            return None
        number = read_whole(value, low, high)
        if number is None:
            raise ApiError(code, f"{name} must be a whole number from {low} to {high}")
        return number

    def url(self, name: str, code: int) -> str | None:
        """An absolute http(s) URL; "" is a value of its own (it clears). Raises ApiError."""
        value = self.get(name)
        if value is None or value == "":
            return value
        return check_url(value, name, code)


class SendForm(Form):
    """The form of a send, which is read whole only where its shape is not known."""

    __slots__ = ("_octets", "_read", "body", "shape", "to")

    def __init__(self, octets: bytes) -> None:
        """Raises ApiError 20001 when To or Body are not UTF-8."""
        self._octets = octets
        self._read: dict[str, list[str]] | None = None
        self.shape = None
        to = body = None
        rest = []
        for pair in octets.split(b"&"):
            if pair[:3] == b"To=" and to is None:
                to = pair[3:]
            elif pair[:5] == b"Body=" and body is None:
                body = pair[5:]
            else:
                rest.append(pair)
        if to and body is not None:
            try:
                self.to, self.body = _decode(to), _decode(body)
            except UnicodeDecodeError:
                raise _no_utf8() from None
            self.shape = b"&".join(rest)

    @property
    def _values(self) -> dict[str, list[str]]:  # type: ignore[override]
        if self._read is None:
            self._read = read_pairs(self._octets)
        return self._read

    @property
    def is_shaped(self) -> bool:
        """Whether what makes its shape is all that there is beside one To and one Body."""
        return self.all("To") == [self.to] and self.all("Body") == [self.body]


_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}


def read_flag(name: str, value: str | None) -> bool | None:
    """A boolean: true/false in any case, 1/0; None where it is not given. Raises ApiError 20001."""
    if value is None:
        return None
    known = _BOOLEANS.get(value.lower())
    if known is None:
        raise ApiError(20001, f"{name} must be true or false")
    return known


def check_url(value: str, name: str, code: int) -> str:
    """`value` as it is called, percent-encoded where it must be.

    Raises ApiError `code` unless it is an absolute http(s) URL that could be called.
    """
    if len(value) > URL_LIMIT:
        raise ApiError(code, f"{name} is longer than {URL_LIMIT} characters")
    value = value.strip(" ")
    try:
        parts = urlsplit(value)
        host, _ = parts.hostname, parts.port
        if host is not None and not host.isascii():
            value, host = _with_ascii_host(parts)
    except ValueError:
        raise ApiError(code, f"{name} is not a valid URL") from None
    if parts.scheme not in ("http", "https") or not host:
        raise ApiError(code, f"{name} must be an absolute http or https URL")
    if not _HOST.fullmatch(host) or not _has_length(host):
        raise ApiError(code, f"{name} names a host that there can't be: {host[:HOST_LIMIT]}")
    if any(ord(character) < 32 for character in value):
        raise ApiError(code, f"{name} is not a valid URL")
    if value.endswith("?") and not parts.query and not parts.fragment:
        value = value[:-1]  # nobody who is called can tell it from one without
    return ascii_url(value)


def _has_length(host: str) -> bool:
    return len(host) <= LABEL_LIMIT or (
        len(host) <= HOST_LIMIT and max(map(len, host.split("."))) <= LABEL_LIMIT
    )


def _with_ascii_host(parts: SplitResult) -> tuple[str, str]:
    """The URL and the host as the network knows it (RFC 5891). Raises ValueError."""
    before, at, place = parts.netloc.rpartition("@")
    name, colon, port = place.partition(":")
    host = URL.build(scheme="http", host=name).raw_host or ""
    return parts._replace(netloc=f"{before}{at}{host}{colon}{port}").geturl(), host


def parse_form(body: bytes) -> Form:
    """Decode a form body. Raises ApiError 20001 when it is not UTF-8."""
    return Form(read_pairs(body))


def read_pairs(body: bytes) -> dict[str, list[str]]:
    """The parameters of a form body. Raises ApiError 20001 when it is not UTF-8."""
    values: dict[str, list[str]] = {}
    if not body:
        return values
    try:
        for pair in body.split(b"&"):
            name, _, value = pair.partition(b"=")
            if name:
                values.setdefault(_decode(name), []).append(_decode(value))
    except UnicodeDecodeError:
        raise _no_utf8() from None
    return values


def _no_utf8() -> ApiError:
    return ApiError(20001, "the body is not valid UTF-8")


def _decode(data: bytes) -> str:
    if data[:3] == b"%2B" and data[3:].isalnum():  # a number
        return "+" + data[3:].decode()
    if b"+" in data:
        data = data.replace(b"+", b" ")
    if b"%" in data:
        data = unquote_to_bytes(data)
    return data.decode()


def check_form_type(content_type: bytes) -> None:
    """Raises ApiError 20415 (HTTP 415) unless the body says it is a form."""
    if content_type == FORM_TYPE:
        return
    if content_type.partition(b";")[0].strip().lower() != FORM_TYPE:
        raise ApiError(20415)
