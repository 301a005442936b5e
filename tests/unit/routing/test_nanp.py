"""The North American Numbering Plan (docs/spec/messaging-services.md#nanp-data)."""

from __future__ import annotations

from gateway.routing.nanp import NumberKind, area_code, area_codes, overlays, region


def test_there_are_454_geographic_codes_in_service() -> None:
    in_service = [
        code
        for code in area_codes().values()
        if code.in_service and code.kind is NumberKind.GEOGRAPHIC
    ]
    assert len(in_service) == 454


def test_overlay_is_symmetric() -> None:
    for code in area_codes():
        for other in overlays(code):
            assert code in overlays(other)
            assert other != code


def test_overlay_is_not_transitive() -> None:
    assert "678" in overlays("404")
    assert "678" in overlays("770")
    assert "770" not in overlays("404")


def test_917_spans_two_complexes() -> None:
    assert {"212", "718"} <= overlays("917")
    assert "718" not in overlays("212")


def test_planned_and_special_codes_do_not_match() -> None:
    assert area_code("273") is None
    assert area_code("800") is None
    assert area_code("999") is None
    assert area_code(None) is None
    assert "273" not in overlays("418")


def test_overlays_stay_inside_a_country() -> None:
    for code in area_codes():
        mine = area_code(code)
        if mine is not None:
            assert {area_codes()[other].country for other in overlays(code)} <= {mine.country}


def test_regions_are_states_and_provinces() -> None:
    assert region("415") == "CA"
    assert region("416") == "ON"
    assert region("800") == ""
