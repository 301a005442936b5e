"""Configuration: one frozen object, built once from `tandem.toml` and the environment.

The environment wins over the file: `TANDEM_PORT=9000`, or with two underscores for what is
nested: `TANDEM_WEBHOOKS__ALLOW_PRIVATE=true`. Every field is documented in
`docs/configuration.md`; nobody reads the environment elsewhere, but for a few variables of
the demo's world.
"""

from __future__ import annotations

import difflib
import ipaddress
import os
import re
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from gateway.channels.smpp.seal import check_secrets
from gateway.channels.smpp.settings import CarrierSettings
from gateway.runtime.sections import Port, Positive, Section
from storage.safety import Danger

PREFIX: Final = "TANDEM_"
# Not settings of the gateway, but ours: of `tandem demo` and `tandem world`, and of the tests.
WORLD_VARIABLES: Final = frozenset(
    {
        "TANDEM_SMSC_PORT",
        "TANDEM_SMSC_CONTROL_PORT",
        "TANDEM_CALLBACK_PORT",
        "TANDEM_INBOX_PORT",
        "TANDEM_INBOX_TOKEN",
        "TANDEM_SMSC_SCENARIO",
        "TANDEM_INTEROP_DIR",
        "TANDEM_NODE_DIR",
        "TANDEM_SIMULATED_HOURS",
        "TANDEM_SIMULATED_LOAD",
    }
)


class ConfigurationError(Exception):
    """The configuration can't be used; the text names the field and the reason."""


class WebhookSettings(Section):
    """How we call the app."""

    allow_private: bool = Field(default=False, description="loopback, private and link-local")
    allow_networks: tuple[str, ...] = ()
    nameservers: tuple[str, ...] = Field(
        default=(), description="who is asked for apps' hosts; none: those of the system"
    )
    connections: int = Field(
        default=500, ge=1, le=50_000, description="under way to all hosts, of each kind of webhook"
    )
    connections_per_account: int = Field(default=100, ge=1, le=50_000)
    connections_per_host: int = Field(
        default=64, ge=1, le=1000, description="of one account to one host"
    )
    timeout_s: Positive = 15.0
    retry_for_s: Positive = 24 * 3600.0
    event_parameters: bool = Field(default=True, description="EventNumber, EventTimestamp")

    @field_validator("nameservers")
    @classmethod
    def _nameservers_are_addresses(cls, nameservers: tuple[str, ...]) -> tuple[str, ...]:
        for nameserver in nameservers:
            host, port = nameserver, "53"
            if nameserver[:1] == "[" or nameserver.count(":") == 1:
                host, _, port = nameserver.rpartition(":")
            ipaddress.ip_address(host.strip("[]"))
            if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
                raise ValueError(f"{nameserver!r}: {port!r} is no port")
        return nameservers

    @field_validator("allow_networks")
    @classmethod
    def _networks_parse(cls, networks: tuple[str, ...]) -> tuple[str, ...]:
        for network in networks:
            ipaddress.ip_network(network)
        return networks


class MediaSettings(Section):
    """Media of messages, and the links to them."""

    link_base: str | None = Field(
        default=None, description="what links to media begin with; null: public_url and /"
    )
    timeout_s: Positive = Field(default=15.0, description="of one try to fetch a file")
    pause_s: float = Field(default=1.0, ge=0, description="before the second of three tries")
    connections: int = Field(
        default=48, ge=1, le=1000, description="messages whose files are fetched at once"
    )
    connections_per_account: int = Field(default=16, ge=1, le=1000)
    keep_days: Positive = Field(default=400.0, description="then the files are forgotten")

    @field_validator("link_base")
    @classmethod
    def _base_is_a_url(cls, url: str | None) -> str | None:
        if url is None:
            return None
        if not re.match(r"^https?://[^\s?#]+/$", url):
            raise ValueError("must be an http or https URL that ends with a slash")
        return url


class LookupSettings(Section):
    """Which carrier a number belongs to, asked over HTTP."""

    url: str | None = Field(default=None, pattern=r"^https?://[^\s]*\{number\}[^\s]*$")
    timeout_s: Positive = Field(default=0.5, description="the longest that a message waits for it")
    keep_s: Positive = Field(default=86_400.0, description="an answer is kept so long")
    most_kept: int = Field(default=100_000, ge=1, description="answers kept at once")


class LimitSettings(Section):
    """What one account may ask of the API (429, 20429), and what may be kept for it (403, 20403).

    Most of what is counted here is in the memory of every process.
    """

    concurrent: int | None = Field(default=1_000, ge=1, description="requests under way")
    requests_per_second: Positive | None = None
    lists: int = Field(default=2, ge=1, description="lists of rows that are read at once")
    lists_waiting: int = Field(default=200, ge=0, description="lists that wait for their turn")
    list_s: Positive = Field(default=5.0, description="for one of them; then 503, 20503")
    services: int = Field(default=1_000, ge=0)
    applications: int = Field(default=1_000, ge=0)
    keys: int = Field(default=100, ge=0)
    templates: int = Field(default=1_000, ge=0)
    template_octets: int = Field(default=10_000_000, ge=0, description="of all its templates")
    opt_out_configurations: int = Field(
        default=50, ge=0, description="without a service, together with the one that is made"
    )
    opt_out_octets: int = Field(
        default=65_536, ge=0, description="keywords and replies of one configuration"
    )
    link_domains: int = Field(default=100, ge=0)
    safe_numbers: int = Field(default=10_000, ge=0)
    alphanumeric_senders: int = Field(default=1_000, ge=0, description="of all its services")
    sender_registrations: int = Field(default=1_000, ge=0)
    conversation_services: int = Field(
        default=1_000, ge=0, description="of Conversations, besides the default one"
    )
    inventory_numbers: int = Field(default=1_000, ge=0, description="taken from the inventory")


class ScheduleSettings(Section):
    """Messages with SendAt."""

    least_s: float = Field(default=300.0, ge=0, description="from now to the earliest SendAt")
    most_s: Positive = 35 * 86_400.0
    most_held: int = Field(default=500_000, ge=0, description="of one account (35125)")


class ProxySettings(Section):
    """Standing in for `*.twilio.com`; null: no such listener."""

    host: str = "127.0.0.1"
    port: Port | None = Field(default=None, description="of the CONNECT proxy")
    tls_port: Port | None = Field(default=None, description="of the TLS listener, for DNS instead")
    ca_dir: Path | None = Field(default=None, description="null: ca in the data folder")


class JournalSettings(Section):
    """What went over the wire, kept for Explain."""

    keep_hours: float = Field(default=24.0, ge=0, description="0: nothing is kept")
    most_mb: int = Field(default=1024, ge=1, description="of all files together")


class MetricsSettings(Section):
    """Who may read `/metrics`, and how much it says."""

    token: SecretStr | None = Field(
        default=None, description="also lets in whoever sends it as a Bearer token"
    )
    host: str = "127.0.0.1"
    port: Port | None = Field(
        default=None, description="of a listener of its own, open to all that reach it"
    )
    most_senders: int = Field(default=500, ge=0, description="and services, shown by themselves")


class WatchdogSettings(Section):
    """When a message that does not go is told of: nothing left its queue for so long."""

    every_s: Positive = Field(default=5.0, description="between two looks")
    stuck_s: Positive = Field(
        default=60.0, description="no bind, no window, no database, media that do not come"
    )
    slow_s: Positive = Field(
        default=600.0, description="throttled, resting, waiting for its rate or a sender"
    )
    lost_s: Positive = Field(default=30.0, description="a wake-up that was lost: nothing holds it")


class LogSettings(Section):
    level: Literal["debug", "info", "warning", "error"] = "info"
    form: Literal["text", "json"] = "text"
    pdus: bool = Field(default=False, description="one line per PDU")
    mask: bool = Field(default=True, description="numbers are cut, bodies never shown")


class AccountSettings(Section):
    """The first account, made at the first start; null: made up, and written to the data folder."""

    sid: str | None = Field(default=None, pattern=r"^AC[0-9a-f]{32}$")
    auth_token: str | None = Field(default=None, min_length=16, max_length=128)


class Settings(BaseSettings):
    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", env_prefix=PREFIX, env_nested_delimiter="__"
    )

    host: str = "127.0.0.1"
    port: Port = 8080
    public_url: str | None = Field(default=None, description="fixed origin of emitted URLs")
    base_domain: str | None = Field(default=None, description="messaging.<base_domain> and so on")
    trust_forwarded: bool = Field(default=False, description="believe X-Forwarded-Proto and -For")
    data_dir: Path = Path(".tandem")
    database_url: str | None = Field(
        default=None, description="null or empty: the embedded Postgres"
    )
    allow_unsafe: tuple[Danger, ...] = Field(
        default=(), description="ways in which the database may lose what it has confirmed"
    )
    account: AccountSettings = AccountSettings()
    carriers: tuple[CarrierSettings, ...] = ()
    secret_key: SecretStr | None = Field(
        default=None, description="encrypts carrier passwords at rest; several: comma-separated"
    )
    default_rate_per_second: Positive | None = Field(
        default=None, description="replaces the table of rates by sender kind and destination"
    )
    legacy_21606: bool = False
    # Whether what holds for equal requests is kept from one to the next.
    caches: bool = True
    generic_sender_ids: tuple[str, ...] = Field(
        default=(), description="alphanumeric IDs that say nothing, in any case (30042)"
    )
    pool_limit: int = Field(
        default=400, ge=1, le=10_000, description="numbers and short codes in one service (21714)"
    )
    subaccount_limit: int = Field(default=1_000, ge=0, description="of one account (21480)")
    test_destinations: dict[str, int] = Field(
        default={},
        description="E.164 numbers that never leave: 0 delivered, or the code they end in",
    )
    workers: int = Field(
        default=1, ge=1, le=64, description="processes that are one gateway (docs/workers.md)"
    )
    limits: LimitSettings = LimitSettings()
    scheduling: ScheduleSettings = ScheduleSettings()
    webhooks: WebhookSettings = WebhookSettings()
    media: MediaSettings = MediaSettings()
    lookup: LookupSettings = LookupSettings()
    proxy: ProxySettings = ProxySettings()
    journal: JournalSettings = JournalSettings()
    metrics: MetricsSettings = MetricsSettings()
    watchdog: WatchdogSettings = WatchdogSettings()
    log: LogSettings = LogSettings()

    @property
    def proxy_folder(self) -> Path:
        """Where the certificate authority's files are."""
        return self.proxy.ca_dir or self.data_dir / "ca"

    @field_validator("test_destinations")
    @classmethod
    def _test_destinations_are_numbers(cls, numbers: dict[str, int]) -> dict[str, int]:
        for number, code in numbers.items():
            if not re.fullmatch(r"\+[1-9][0-9]{6,14}", number):
                raise ValueError(f"{number} is not a number in E.164")
            if code and not 10_000 <= code <= 99_999:
                raise ValueError(f"{number}: {code} is neither 0 nor a code of five digits")
        return numbers

    @field_validator("database_url", mode="before")
    @classmethod
    def _empty_is_none(cls, url: str | None) -> str | None:
        # The environment has no null, and must be able to win over a file that names a server.
        return url or None

    @field_validator("public_url")
    @classmethod
    def _origin_is_one(cls, url: str | None) -> str | None:
        if url is None:
            return None
        parts = urlsplit(url)
        _ = parts.port  # raises ValueError for what is no port
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("must be an http or https URL, as https://gateway.example")
        if parts.query or parts.fragment or any(ord(character) <= 32 for character in url):
            raise ValueError("must be an origin: scheme, host, and perhaps a port and a path")
        return url

    @field_validator("secret_key")
    @classmethod
    def _secrets_are_long(cls, secret: SecretStr | None) -> SecretStr | None:
        if secret is not None:
            check_secrets(secret.get_secret_value())
        return secret

    @field_validator("carriers")
    @classmethod
    def _names_are_unique(
        cls, carriers: tuple[CarrierSettings, ...]
    ) -> tuple[CarrierSettings, ...]:
        names = [carrier.name for carrier in carriers]
        if len(set(names)) != len(names):
            raise ValueError("two carriers have the same name")
        return carriers


def load_settings(file: Path | None = None, **overrides: Any) -> Settings:
    """Read `file` (default: ./tandem.toml where it exists) and the environment.

    Raises ConfigurationError, naming each field that can't be used and why.
    """
    path = file or Path("tandem.toml")
    if file is not None and not file.exists():
        raise ConfigurationError(f"{file}: no such file")
    if path.is_dir():
        raise ConfigurationError(f"{path}: a folder, not a file")
    _refuse_unknown(os.environ)

    class FromFile(Settings):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            sources = [init_settings, env_settings]
            if path.exists():
                sources.append(TomlConfigSettingsSource(settings_cls, path))
            return tuple(sources)

    try:
        return FromFile(**overrides)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{path}: {error}") from None
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path}: not UTF-8, at octet {error.start}") from None
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror or error}") from None
    except SettingsError as error:
        raise ConfigurationError(
            f"the configuration is wrong: {error}: {error.__cause__}"
            " (in the environment, lists and tables are JSON)"
        ) from None
    except ValidationError as error:
        text = path.read_text("utf-8") if path.exists() else ""
        lines = [
            f"  {_place(path, text, problem['loc'])}: {problem['msg']}"
            for problem in error.errors()
        ]
        raise ConfigurationError("\n".join(["the configuration is wrong:", *lines])) from None


def _place(path: Path, text: str, location: tuple[int | str, ...]) -> str:
    """The field, and its line where the file has it (the environment may have it instead)."""
    name = ".".join(str(step) for step in location)
    line = _line_of(text, location)
    if line is None:
        return name or str(path)
    return f"{path}:{line}: {name}"


def _line_of(text: str, location: tuple[int | str, ...]) -> int | None:
    """The line on which a field is set: `("carriers", 1, "hosts")` in the second `[[carriers]]`.

    Of a table that lacks the field, the line of its header.
    """
    lines = text.splitlines()
    first, last, found = 0, len(lines), None
    names = [step for step in location if isinstance(step, str)]
    if len(location) > 1 and names:
        number = location[1] if isinstance(location[1], int) else 0
        header = re.compile(rf"\s*\[+\s*{re.escape(names[0])}\s*\]+\s*(#.*)?$")
        headers = [at for at, line in enumerate(lines) if header.match(line)]
        if number >= len(headers):
            return None
        first = headers[number]
        found = first + 1
        following = (at for at in range(first + 1, len(lines)) if lines[at].startswith("["))
        last = next((at for at in following if f"[{names[0]}." not in lines[at]), len(lines))
    for name in reversed(names):
        for at in range(first, last):
            if re.match(rf"\s*\[?{re.escape(name)}\s*[=\].]", lines[at]):
                return at + 1
    return found


def _refuse_unknown(environment: Iterable[str]) -> None:
    """A variable that looks like ours and isn't is a slip: it would be ignored for ever."""
    known = {PREFIX + name.upper() for name in Settings.model_fields} | WORLD_VARIABLES
    for variable in sorted(environment):
        name = variable.upper()
        if not name.startswith(PREFIX) or name.partition("__")[0] in known:
            continue
        close = difflib.get_close_matches(name, known, n=1, cutoff=0.8)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise ConfigurationError(f"{variable} in the environment is not known{hint}")
