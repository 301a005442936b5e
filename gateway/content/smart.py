"""Smart Encoding: typographic characters to their GSM-7 look-alikes
(docs/spec/messaging-services.md#smart-encoding).

All or nothing: a text that keeps one character outside GSM-7 after replacement is left as
it was submitted, because it goes out as UCS-2 anyway and would only lose its typography.
"""

from __future__ import annotations

import re
from functools import cache

from gateway import data
from smpp.alphabet import BASIC, EXTENSION, is_gsm7


@cache
def replacements() -> dict[int, str]:
    """Code point to replacement, from ``smart_encoding.csv`` (271 rows)."""
    return {
        int(row["codepoint"].removeprefix("U+"), 16): row["replacement"]
        for row in data.rows("smart_encoding.csv")
    }


@cache
def _beyond_help() -> re.Pattern[str]:
    """One character that is neither GSM-7 nor replaceable; most UCS-2 texts begin with one."""
    helped = [*BASIC.replace("\x1b", ""), *EXTENSION.values(), *map(chr, replacements())]
    return re.compile(f"[^{re.escape(''.join(helped))}]")


def smarten(text: str) -> str:
    """`text` with every replaceable character replaced, or as it is.

    As it is when it already is GSM-7, when replacing would not make it so, and when nothing would
    be left: a text of zero-width characters only goes as it was submitted. One pass,
    code point by code point, without normalisation: a decomposed accent stays UCS-2.
    """
    if is_gsm7(text) or _beyond_help().search(text):
        return text
    return text.translate(replacements()) or text
