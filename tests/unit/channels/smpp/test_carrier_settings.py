"""A wrong carrier is refused with the field and the reason."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any, cast

import pytest
from pydantic import ValidationError

from gateway.channels.smpp.binds import bind_configs
from gateway.channels.smpp.connector import SmppConnector
from gateway.channels.smpp.settings import CarrierSettings
from gateway.channels.smpp.tlvs import parse_tag, parse_value
from gateway.runtime.clock import SystemClock
from gateway.settings import ConfigurationError, load_settings
from smpp.states import BindType


def settings(**options: Any) -> CarrierSettings:
    return CarrierSettings(
        **{"name": "one", "hosts": ("smsc.example:2775",), "system_id": "me", **options}
    )


@pytest.mark.parametrize(
    ("options", "field", "reason"),
    [
        ({"name": "a/b"}, "name", "pattern"),
        ({"hosts": ()}, "hosts", "at least 1"),
        ({"hosts": ("smsc",)}, "hosts", "'smsc' is not host:port"),
        ({"system_id": "x" * 65}, "system_id", "at most 64"),
        ({"password": "x" * 65}, "password", "at most 64"),
        ({"system_id": "nul\0"}, "system_id", "pattern"),
        ({"password": "pässword"}, "password", "pattern"),
        ({"service_type": "\n"}, "service_type", "pattern"),
        ({"binds": 0}, "binds.count", "greater than or equal to 1"),
        ({"binds": 65}, "binds.count", "less than or equal to 64"),
        ({"binds": []}, "", "binds are 1 to 64 together"),
        ({"binds": [{"type": "both"}]}, "binds.list.0.type", "'transceiver'"),
        ({"binds": [{"hosts": ["x"]}]}, "binds.list.0.hosts", "not host:port"),
        ({"binds": [{"count": 40}, {"count": 40}]}, "", "binds are 1 to 64 together"),
        ({"window": 0}, "window", "greater than or equal to 1"),
        ({"long_code": {"ton": 8, "npi": 1}}, "long_code.ton", "less than or equal to 7"),
        ({"long_code": {"ton": 1}}, "long_code.npi", "required"),
        ({"default_alphabet": "ucs2"}, "default_alphabet", "'gsm7', 'packed'"),
        ({"national_tables": (14,)}, "national_tables", "14 is no language; 1 to 13 are"),
        ({"national_tables": (1,), "default_alphabet": "ascii"}, "", "'ascii' has none"),
        ({"concatenation": "udh"}, "concatenation", "'udh8'"),
        ({"service_type": "x" * 6}, "service_type", "at most 5"),
        ({"tlvs": {"0x14000": "x"}}, "tlvs", "not between 0x0001 and 0xffff"),
        ({"tlvs": {"nonsense": "x"}}, "tlvs", "is no TLV tag"),
        ({"tlvs": {"0x0424": "x"}}, "tlvs", "set by the gateway itself"),
        ({"tlvs": {"0x1400": "x" * 256}}, "tlvs", "at most 255 octets"),
        ({"message_tlvs": ("0",)}, "message_tlvs", "not between"),
        ({"presets": ("mars",)}, "presets.0", "'india_dlt'"),
        ({"registered_delivery": 32}, "registered_delivery", "less than or equal to 31"),
        ({"receipts": "none"}, "receipts", "'all', 'first' or 'last'"),
        ({"receipt_pattern": "("}, "receipt_pattern", "not a regular expression"),
        ({"receipt_pattern": "(" * 490 + ")" * 490}, "receipt_pattern", "not a regular expression"),
        ({"receipt_pattern": "x{99999999999}"}, "receipt_pattern", "not a regular expression"),
        ({"receipt_pattern": "x" * 1_001}, "receipt_pattern", "more than 1,000 characters"),
        ({"receipt_pattern": "x" * 1_000}, "receipt_pattern", "no group"),
        ({"receipt_pattern": "(?P<stat>x)"}, "receipt_pattern", "no group (?P<message_id>"),
        ({"receipt_utc_offset_minutes": 841}, "receipt_utc_offset_minutes", "840"),
        ({"tls": {"pinned_sha256": ["ab"]}}, "tls", "64 hex digits"),
        ({"tls": {"key_file": "k.pem"}}, "tls", "key_file without certificate_file"),
        ({"refusal_waits": {"first_s": 90}}, "refusal_waits", "longer than most_s"),
        ({"colour": "red"}, "colour", "not permitted"),
    ],
)
def test_what_is_wrong_is_named(options: dict[str, Any], field: str, reason: str) -> None:
    with pytest.raises(ValidationError) as caught:
        settings(**options)
    [problem] = caught.value.errors()
    assert ".".join(str(step) for step in problem["loc"]) == field
    assert reason in problem["msg"]


def test_the_limits_themselves_are_taken() -> None:
    settings(
        name="x" * 64,
        system_id="x" * 15,
        password="x" * 8,
        binds=64,
        window=10_000,
        national_tables=(1, 13),
        tlvs={"0xffff": "x" * 255, "0x0001": ""},
        registered_delivery=31,
        receipt_utc_offset_minutes=-840,
        receipt_pattern="(?P<message_id>.*),(?P<stat>.*)",
    )


def test_a_file_names_the_carrier_and_the_field(tmp_path: Path) -> None:
    file = tmp_path / "tandem.toml"
    file.write_text(
        """
        [[carriers]]
        name = "good"
        hosts = ["smsc.example:2775"]
        system_id = "me"
        [[carriers]]
        name = "bad"
        hosts = ["smsc.example:2775"]
        system_id = "me"
        concatenation = "glue"
        """
    )
    with pytest.raises(ConfigurationError, match=r"carriers\.1\.concatenation: "):
        load_settings(file)


def test_the_simple_form_is_so_many_binds_of_one_type() -> None:
    configs = bind_configs(settings(bind="transmitter", binds=3, window=7))
    assert [config.name for config in configs] == ["one/1", "one/2", "one/3"]
    assert {config.session.bind_type for config in configs} == {BindType.TRANSMITTER}
    assert {config.session.window for config in configs} == {7}


def test_the_long_form_mixes_types_hosts_and_windows() -> None:
    configs = bind_configs(
        settings(
            window=7,
            binds=[
                {"type": "transmitter", "count": 2, "window": 50},
                {"type": "receiver", "hosts": ["[::1]:2776", "other.example:2777"]},
            ],
        )
    )
    assert [(config.session.bind_type.name, config.session.window) for config in configs] == [
        ("TRANSMITTER", 50),
        ("TRANSMITTER", 50),
        ("RECEIVER", 7),
    ]
    assert configs[0].hosts == (("smsc.example", 2775),)
    assert configs[2].hosts == (("::1", 2776), ("other.example", 2777))


def test_the_waits_after_a_refusal_and_tls_reach_every_bind() -> None:
    [config] = bind_configs(
        settings(
            refusal_waits={"already_bound_s": 90, "credentials_s": 600},
            tls={"server_name": "smsc.example", "pinned_sha256": ["ab" * 32]},
        )
    )
    assert config.backoff.already_bound_s == 90
    assert config.backoff.credentials_s == 600
    assert config.tls is not None
    assert config.tls.verify
    assert config.tls.server_name == "smsc.example"


def test_a_bind_keeps_its_configuration_when_more_are_added() -> None:
    before, after = bind_configs(settings(binds=2)), bind_configs(settings(binds=3))
    assert after[:2] == before


def test_tags_and_values_are_read_as_people_write_them() -> None:
    assert parse_tag("0x1400") == parse_tag("5120") == 0x1400
    for wrong in ("\u0663", "5_120", " 5120 ", "0x0001_4", "+5120", "0x", ""):
        with pytest.raises(ValueError, match="no TLV tag"):
            parse_tag(wrong)
    assert parse_tag("dest_addr_subunit") == parse_tag("Dest_Addr_Subunit") == 0x0005
    assert parse_value("0x00ff") == b"\x00\xff"
    assert parse_value("0x") == b""
    assert parse_value("0x0") == b"0x0"
    assert parse_value("1101xyz") == b"1101xyz"
    assert parse_value("é") == "é".encode()


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("inbound_country", "XX", "country"),
        ("inbound_country", "Spain", "country"),
        ("inbound_prefix", "020", "calling code"),
        ("inbound_prefix", "one", "pattern"),
        ("delivers_for", "mine", "own"),
        ("delivers_for", ["+44"], "no number"),
        ("delivers_for", [""], "at least 1 character"),
    ],
)
def test_what_says_nothing_of_inbound_numbers_is_refused(
    field: str, value: object, reason: str
) -> None:
    with pytest.raises(ValidationError, match=reason):
        CarrierSettings(name="a", hosts=("a:1",), system_id="a", **{field: value})


def test_countries_and_numbers_are_kept_in_one_spelling() -> None:
    settings = CarrierSettings(
        name="a",
        hosts=("a:1",),
        system_id="a",
        inbound_country="gb",
        inbound_prefix="+1202",
        delivers_for=("+44 7700 900101", "12345", "backup"),
    )
    assert settings.inbound_country == "GB"
    assert settings.inbound_prefix == "1202"
    assert settings.delivers_for == ("+447700900101", "12345", "backup")


@pytest.mark.parametrize(
    ("system_id", "password", "warned"), [("s" * 15, "p" * 8, 0), ("s" * 64, "p" * 64, 2)]
)
def test_credentials_beyond_the_standard_are_taken_with_a_warning(
    system_id: str, password: str, warned: int, caplog: pytest.LogCaptureFixture
) -> None:
    given = settings(system_id=system_id, password=password)
    connector: SmppConnector[Any] = SmppConnector(
        1, given, cast(Any, None), SystemClock(), Random(1)
    )
    said = [record.message for record in caplog.records if "and the standard" in record.message]
    assert len(said) == warned
    assert not any(password in text for text in said)
    assert connector.name == given.name


@pytest.mark.parametrize("field", ["system_id", "password"])
def test_credentials_of_more_than_64_characters_are_refused(field: str) -> None:
    with pytest.raises(ValidationError, match="64"):
        settings(**{field: "x" * 65})
