"""Short links in texts (docs/spec/messaging-services.md#further-features): which parts of a text
are links, and what stands in their place."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, NamedTuple

LENGTH: Final = 10
LIFE_S: Final = 90 * 86_400.0
CODE: Final = re.compile(rf"[A-Za-z0-9]{{{LENGTH}}}")
_URL: Final = re.compile(r"https?://[^\s<>\"\x00-\x1f]+", re.IGNORECASE)
_AFTER: Final = ".,;:!?'’”»*"  # what follows a link in a sentence rather than ends it
_PAIRS: Final = {")": "(", "]": "[", "}": "{"}


class ShortLink(NamedTuple):
    code: str
    url: str


def shorten(text: str, base: str, new_code: Callable[[], str]) -> tuple[str, list[ShortLink]]:
    """`text` with each http(s) URL replaced by `base` and a code of its own, and those links.

    What begins with `base` is short already.
    """
    links: list[ShortLink] = []

    def short(found: re.Match[str]) -> str:
        url = _without_sentence(found[0])
        host = url.partition("://")[2]
        if not host or host[0] in "/?#:" or url.startswith(base):
            return found[0]
        link = ShortLink(new_code(), url)
        links.append(link)
        return base + link.code + found[0][len(url) :]

    return _URL.sub(short, text), links


def codes_in(text: str, base: str) -> list[str]:
    """The codes of the short links in a text."""
    return re.findall(rf"{re.escape(base)}([A-Za-z0-9]{{{LENGTH}}})(?![A-Za-z0-9])", text)


def _without_sentence(url: str) -> str:
    """Without the punctuation of the sentence around it; brackets stay where they are a pair."""
    while url:
        last = url[-1]
        unpaired = last in _PAIRS and url.count(last) > url.count(_PAIRS[last])
        if last not in _AFTER and not unpaired:
            break
        url = url[:-1]
    return url
