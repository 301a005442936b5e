"""Microseconds per text made ready to send. Target: 3 us for one segment of GSM-7.

Run as ``python -m bench.micro.encode``. The PyPI libraries gsm0338 and smsutil are measured too
when they are installed (``pip install gsm0338 smsutil``); see
docs/decisions/0003-own-gsm7-encoder.md.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from timeit import repeat
from typing import Any

from gateway.content.encoding import encode
from gateway.content.national import LANGUAGES
from smpp.alphabet import decode_gsm7

_CALLS = 5_000

TEXTS = {
    "one segment, 38 characters": "Your code is 123456. Do not share it.",
    "one segment, 160 characters": "a" * 160,
    "two segments with extensions": "Hello @ [you], it costs €5. " * 7,
    "1,600 characters": "Lorem ipsum dolor sit amet. " * 57,
    "UCS-2, one segment": "Ваш код 123456",
    "UCS-2, 160 characters": "中" * 160,
    "Smart Encoding": "“Thank you” — see you soon…",
    "emoji, four segments": "Thank you 👩‍👩‍👧 for coming! " * 9,
}

TARGET_US = 3


def _measure(call: Callable[[], object]) -> float:
    return min(repeat(call, number=_CALLS, repeat=5)) / _CALLS * 1e6


def _libraries() -> dict[str, Callable[[str], object]]:
    """What other encoders do with the same text, where they are installed."""
    found: dict[str, Callable[[str], object]] = {}
    try:
        smsutil: Any = importlib.import_module("smsutil")
        found["smsutil.split"] = smsutil.split
    except ImportError:
        pass
    try:
        codec: Any = importlib.import_module("gsm0338").Codec()
        found["gsm0338"] = codec.encode
    except ImportError:
        pass
    return found


def main() -> None:
    """Print the table."""
    libraries = _libraries()
    print(f"{'us per text':34}{'ours':>8}" + "".join(f"{name:>15}" for name in libraries))
    for name, text in TEXTS.items():
        row = f"{name:34}{_measure(lambda text=text: encode(text, smart=True)):8.2f}"  # type: ignore[misc]
        for call in libraries.values():
            try:
                row += f"{_measure(lambda call=call, text=text: call(text)):15.2f}"  # type: ignore[misc]
            except UnicodeError:
                row += f"{'-':>15}"
        print(row)
    small = _measure(lambda: encode(TEXTS["one segment, 38 characters"], smart=True))
    verdict = "met" if small <= TARGET_US else "missed"
    print(f"target for one segment of GSM-7: {TARGET_US} us, {verdict}")
    turkish = "ş" * 75
    languages = tuple(LANGUAGES)
    print(
        f"{'national tables, all listed':34}"
        f"{_measure(lambda: encode(turkish, national_tables=languages)):8.2f}"
    )
    septets = b"Your code is 123456. Do not share it."
    print(f"{'decode, 38 characters':34}{_measure(lambda: decode_gsm7(septets)):8.2f}")


if __name__ == "__main__":
    main()
