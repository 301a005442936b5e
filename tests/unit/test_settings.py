"""Configuration: where it comes from, and what is said when it is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.settings import ConfigurationError, load_settings

GOOD = """
port = 9000
[[carriers]]
name = "one"
hosts = ["smsc.example:2775"]
system_id = "me"
password = "secret"
"""


def written(folder: Path, text: str) -> Path:
    file = folder / "tandem.toml"
    file.write_text(text)
    return file


def test_a_file_is_read_and_the_environment_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = written(tmp_path, GOOD)
    settings = load_settings(file)
    assert settings.port == 9000
    assert settings.carriers[0].window == 100
    monkeypatch.setenv("TANDEM_PORT", "9001")
    monkeypatch.setenv("TANDEM_WEBHOOKS__ALLOW_PRIVATE", "true")
    settings = load_settings(file)
    assert settings.port == 9001
    assert settings.webhooks.allow_private is True


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("port = 70000", "port: "),
        ("prot = 1", "prot: "),
        ("[webhooks]\nallow_networks = ['nonsense']", "webhooks.allow_networks: "),
        ("[[carriers]]\nname = 'x'\nhosts = ['nohost']\nsystem_id = 'a'", "not host:port"),
        (GOOD + GOOD.replace("port = 9000", ""), "two carriers have the same name"),
        ("port = ", "tandem.toml: "),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=r"configuration|tandem\.toml") as caught:
        load_settings(written(tmp_path, text))
    assert problem in str(caught.value)


def test_a_file_that_was_asked_for_must_exist(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no such file"):
        load_settings(tmp_path / "nowhere.toml")
