"""The documents know every setting."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.channels.smpp.settings import BindSettings, CarrierSettings, CarrierTls, RefusalWaits
from gateway.settings import load_settings

ROOT = Path(__file__).parents[4]


@pytest.mark.parametrize("section", [CarrierSettings, BindSettings, CarrierTls, RefusalWaits])
def test_every_field_is_described(section: type[CarrierSettings]) -> None:
    text = (ROOT / "docs" / "carriers.md").read_text()
    missing = [name for name in section.model_fields if name not in text]
    assert missing == []


def test_the_example_is_a_configuration_that_works() -> None:
    settings = load_settings(ROOT / "examples" / "tandem.toml")
    simple, particular = settings.carriers
    assert simple == CarrierSettings(
        name="simple", hosts=("smsc.example:2775",), system_id="tandem", password="secret"
    )
    assert [bind.type for bind in particular.bind_plan] == ["transmitter", "receiver"]
