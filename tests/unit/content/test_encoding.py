"""Encoding choice and segmentation (docs/spec/messaging-services.md#smart-encoding,
docs/spec/messaging-services.md#encoding-and-segmentation)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gateway import data
from gateway.content.encoding import BODY_LIMIT, Encoding, body_units, encode

VECTORS = data.parse(
    (Path(__file__).parent / "segmentation_vectors.csv").read_text("utf-8").splitlines()
)
NAMES = {"GSM-7": Encoding.GSM7, "UCS-2": Encoding.UCS2}


@pytest.mark.parametrize("vector", VECTORS, ids=[vector["case"] for vector in VECTORS])
def test_the_vector_has_its_encoding_and_segments(vector: dict[str, str]) -> None:
    text = json.loads(vector["text_json"])
    content = encode(text, smart=vector["smart_encoding"] == "1")
    assert content.encoding is NAMES[vector["encoding"]]
    assert content.segments == int(vector["segments"])


def test_there_are_35_vectors() -> None:
    assert len(VECTORS) == 35


def test_one_segment_is_the_text_in_septets() -> None:
    content = encode("Hi @ [you]")
    assert content.parts == (b"Hi \x00 \x1b\x3cyou\x1b\x3e",)
    assert content.encoding is Encoding.GSM7
    assert content.text == "Hi @ [you]"


def test_an_escape_pair_is_never_torn() -> None:
    content = encode("a" * 152 + "€" + "b" * 10)
    assert [len(part) for part in content.parts] == [152, 12]
    assert content.parts[1].startswith(b"\x1be")


def test_a_surrogate_pair_is_never_torn() -> None:
    content = encode("ж" * 66 + "😱" + "ж" * 10)
    assert [len(part) // 2 for part in content.parts] == [66, 12]


@pytest.mark.parametrize(
    "sequence",
    [
        "e\u0301\u0323",  # combining marks
        "👩\u200d👩\u200d👧",  # a family
        "👍\U0001f3fd",  # a skin tone
        "🇩🇪",  # a flag
        "❤\ufe0f",  # a variation selector
        "\u1112\u1161\u11ab",  # conjoining Hangul
        "का",  # a spacing vowel sign
    ],
)
def test_a_sequence_that_fits_stays_in_one_part(sequence: str) -> None:
    units = body_units(sequence)
    for overlap in range(1, units):
        before = "中" * (67 - overlap)
        content = encode(before + sequence + "中" * 20)
        assert content.parts[0].decode("utf-16-be") == before
        assert content.parts[1].decode("utf-16-be").startswith(sequence)


def test_flags_are_paired_from_the_start_of_their_row() -> None:
    flags = "🇩🇪🇫🇷" * 10
    content = encode(flags)
    assert [len(part) // 4 for part in content.parts] == [32, 8]


def test_a_sequence_longer_than_a_part_is_torn_where_the_part_is_full() -> None:
    content = encode("中" * 10 + "e" + "\u0301" * 100)
    assert [len(part) // 2 for part in content.parts] == [67, 44]


def test_the_longest_bodies_have_the_published_numbers_of_segments() -> None:
    assert encode("a" * BODY_LIMIT).segments == 11
    assert encode("€" * BODY_LIMIT).segments == 22
    assert encode("中" * BODY_LIMIT).segments == 24


def test_an_empty_text_is_one_empty_segment() -> None:
    assert encode("").parts == (b"",)


def test_a_lone_surrogate_becomes_the_replacement_character() -> None:
    content = encode("a\ud83db")
    assert content.text == "a\ufffdb"
    assert content.parts == ("a\ufffdb".encode("utf-16-be"),)


@pytest.mark.parametrize(
    ("text", "units"), [("", 0), ("abc", 3), ("é", 1), ("😱", 2), ("a😱中", 4), ("\ud83d", 1)]
)
def test_the_body_limit_counts_utf16_units(text: str, units: int) -> None:
    assert body_units(text) == units
