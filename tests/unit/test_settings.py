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
    "nameserver", ["9.9.9.9", "9.9.9.9:53", "2001:db8::1", "[2001:db8::1]:65535", "127.0.0.1:1"]
)
def test_a_nameserver_is_an_address_with_or_without_a_port(tmp_path: Path, nameserver: str) -> None:
    file = written(tmp_path, f"[webhooks]\nnameservers = ['{nameserver}']")
    assert load_settings(file).webhooks.nameservers == (nameserver,)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("port = 70000", "port: "),
        ("prot = 1", "prot: "),
        ("[webhooks]\nallow_networks = ['nonsense']", "webhooks.allow_networks: "),
        ("[webhooks]\nnameservers = ['ns.example']", "webhooks.nameservers: "),
        ("[webhooks]\nnameservers = ['9.9.9.9:0']", "webhooks.nameservers: "),
        ("[webhooks]\nnameservers = ['[2001:db8::1]:65536']", "webhooks.nameservers: "),
        ("[[carriers]]\nname = 'x'\nhosts = ['nohost']\nsystem_id = 'a'", "not host:port"),
        (GOOD + GOOD.replace("port = 9000", ""), "two carriers have the same name"),
        ("port = ", "tandem.toml: "),
        (GOOD.replace('"me"', '"mé"'), "carriers.0.system_id: "),
        (GOOD.replace('"secret"', '"sécret"'), "carriers.0.password: "),
        ("public_url = 'gateway.example'", "public_url: "),
        ("public_url = 'ftp://gateway.example'", "public_url: "),
        ("public_url = 'https://'", "public_url: "),
        ("public_url = 'https://gateway.example:x'", "public_url: "),
        ("public_url = 'https://gateway.example?x=1'", "public_url: "),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=r"configuration|tandem\.toml") as caught:
        load_settings(written(tmp_path, text))
    assert problem in str(caught.value)


def test_a_file_that_was_asked_for_must_exist(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no such file"):
        load_settings(tmp_path / "nowhere.toml")


def test_a_folder_is_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match="a folder, not a file"):
        load_settings(tmp_path)
    (tmp_path / "tandem.toml").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError, match="a folder, not a file"):
        load_settings()


def test_a_file_must_be_utf8(tmp_path: Path) -> None:
    file = tmp_path / "tandem.toml"
    file.write_bytes(b"# caf\xe9\n")
    with pytest.raises(ConfigurationError, match="not UTF-8, at octet 5"):
        load_settings(file)
    file.write_bytes("# café\n".encode())
    assert load_settings(file).port == 8080


@pytest.mark.parametrize("url", ["https://gateway.example", "http://10.0.0.1:8080/sms/"])
def test_an_origin_may_have_a_port_and_a_path(tmp_path: Path, url: str) -> None:
    assert load_settings(written(tmp_path, f"public_url = '{url}'")).public_url == url


@pytest.mark.parametrize(
    ("variable", "value", "problem"),
    [
        ("TANDEM_CARRIERS", "[{", "carriers"),
        ("TANDEM_PRT", "3", "TANDEM_PRT in the environment is not known; did you mean TANDEM_PORT"),
        ("TANDEM_WHATEVER", "3", "TANDEM_WHATEVER in the environment is not known"),
        ("tandem_prt", "3", "tandem_prt in the environment is not known"),
        ("TANDEM_WEBHOOKS__ALOW_PRIVATE", "true", "webhooks.alow_private"),
    ],
)
def test_what_is_wrong_in_the_environment_is_named(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, problem: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigurationError) as caught:
        load_settings()
    assert problem in str(caught.value)


def test_the_worlds_own_variables_are_let_through(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in (
        "TANDEM_SMSC_PORT",
        "TANDEM_SMSC_CONTROL_PORT",
        "TANDEM_CALLBACK_PORT",
        "TANDEM_SMSC_SCENARIO",
        "TANDEM_INTEROP_DIR",
    ):
        monkeypatch.setenv(variable, "9999")
    monkeypatch.setenv("TANDEM_SECRET_KEY", "x" * 16)
    assert load_settings().port == 8080


def test_the_line_of_what_is_wrong_is_told(tmp_path: Path) -> None:
    file = written(tmp_path, GOOD + GOOD.replace("port = 9000", "").replace("one", "two"))
    text = file.read_text()
    for change, line in (
        (text.replace("port = 9000", "port = 90000"), 2),
        (
            text.replace('name = "two"\nhosts = ["smsc.example:2775"]', 'name = "two"\nhosts = []'),
            12,
        ),
        (text.replace('system_id = "me"', 'system_id = "' + "x" * 65 + '"'), 6),
        (text.replace('name = "one"\n', ""), 3),
    ):
        file.write_text(change)
        with pytest.raises(ConfigurationError) as caught:
            load_settings(file)
        assert f"{file}:{line}: " in str(caught.value)
