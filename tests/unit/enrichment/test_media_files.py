"""What media are taken, and how their links look
(docs/spec/messaging-services.md#mms-and-mms-converter)."""

from __future__ import annotations

from random import Random

import pytest

from gateway.enrichment.media_fetch import begins_like, mms_types
from gateway.enrichment.media_links import CODE, new_code


def test_the_types_are_those_of_the_table() -> None:
    assert {"image/png", "audio/l24", "text/vcard"} <= mms_types()
    assert "image/webp" not in mms_types()
    assert "text/html" not in mms_types()


@pytest.mark.parametrize(
    ("content_type", "octets", "good"),
    [
        ("image/png", b"\x89PNG\r\n\x1a\n", True),
        ("image/png", b"\xff\xd8\xff", False),
        ("image/gif", b"GIF89a", True),
        ("image/gif", b"GIF90a", False),
        ("application/pdf", b"%PDF-1.7", True),
        ("text/csv", b"anything", True),
    ],
)
def test_a_file_must_begin_like_its_type(content_type: str, octets: bytes, good: bool) -> None:
    assert begins_like(content_type, octets) is good


def test_codes_have_seven_characters_and_are_no_words() -> None:
    random = Random(1)
    codes = {new_code(random) for _ in range(2_000)}
    assert len(codes) == 2_000
    assert all(CODE.match(code) and not (code.islower() and code.isalpha()) for code in codes)
    assert len(new_code(random, 10)) == 10
