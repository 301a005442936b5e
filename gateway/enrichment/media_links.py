"""Links to media that work without credentials: seven characters nobody guesses
(docs/spec/messaging-services.md#converter)."""

from __future__ import annotations

import re
import string
from random import Random
from typing import Final

from gateway.messages.message import Message

ALPHABET: Final = string.ascii_letters + string.digits
LENGTH: Final = 7
LIFE_S: Final = 365 * 86_400.0
CODE: Final = re.compile(rf"[A-Za-z0-9]{{{LENGTH}}}")


def new_code(random: Random, length: int = LENGTH) -> str:
    """A code that has a capital or a digit: no word of a path looks like it."""
    while True:
        code = "".join(random.choice(ALPHABET) for _ in range(length))
        if not code.islower() or not code.isalpha():
            return code


def media_urls(message: Message) -> list[str]:
    """The URLs that the app gave."""
    return list((message.extras or {}).get("media_urls", ()))
