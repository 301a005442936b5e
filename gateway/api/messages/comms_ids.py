"""Ids of the bulk API: a name and 128 bits in Crockford's base 32
(docs/spec/twilio-api.md#bulk-messaging-api)."""

from __future__ import annotations

from typing import Final

from storage.ids import Id, id_from_bytes

ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"
_VALUES: Final = {letter: value for value, letter in enumerate(ALPHABET)}
LENGTH: Final = 26  # 130 bits, the first two of them 0


def id_of(name: str, text: str) -> Id | None:
    """The id in `name_…`; None for what is none."""
    prefix, _, code = text.rpartition("_")
    if prefix != name or len(code) != LENGTH:
        return None
    number = 0
    for letter in code.lower():
        value = _VALUES.get(letter)
        if value is None:
            return None
        number = number << 5 | value
    return id_from_bytes(number.to_bytes(17, "big")[1:]) if number < 1 << 128 else None


def text_of(name: str, id: Id) -> str:
    number = int.from_bytes(id.bytes, "big")
    code = "".join(ALPHABET[number >> shift & 31] for shift in range(5 * (LENGTH - 1), -1, -5))
    return f"{name}_{code}"
