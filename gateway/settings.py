"""Configuration: one frozen object, built once from `tandem.toml` and the environment.

The environment wins over the file: `TANDEM_PORT=9000`, or with two underscores for what is
nested: `TANDEM_WEBHOOKS__ALLOW_PRIVATE=true`. Every field is documented in
`docs/configuration.md`; nobody reads the environment elsewhere.
"""

from __future__ import annotations

import ipaddress
import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from gateway.carriers.seal import check_secrets
from gateway.carriers.settings import CarrierSettings
from gateway.sections import Port, Positive, Section


class ConfigurationError(Exception):
    """The configuration can't be used; the text names the field and the reason."""


class WebhookSettings(Section):
    """How we call the app."""

    allow_private: bool = Field(default=False, description="loopback, private and link-local")
    allow_networks: tuple[str, ...] = ()
    connections_per_host: int = Field(default=64, ge=1, le=1000)
    timeout_s: Positive = 15.0
    retry_for_s: Positive = 24 * 3600.0
    event_parameters: bool = Field(default=True, description="EventNumber, EventTimestamp")

    @field_validator("allow_networks")
    @classmethod
    def _networks_parse(cls, networks: tuple[str, ...]) -> tuple[str, ...]:
        for network in networks:
            ipaddress.ip_network(network)
        return networks


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
        frozen=True, extra="forbid", env_prefix="TANDEM_", env_nested_delimiter="__"
    )

    host: str = "127.0.0.1"
    port: Port = 8080
    public_url: str | None = Field(default=None, description="fixed origin of emitted URLs")
    base_domain: str | None = Field(default=None, description="messaging.<base_domain> and so on")
    trust_forwarded: bool = Field(default=False, description="believe X-Forwarded-Proto")
    data_dir: Path = Path(".tandem")
    database_url: str | None = Field(default=None, description="null: the embedded Postgres")
    account: AccountSettings = AccountSettings()
    carriers: tuple[CarrierSettings, ...] = ()
    secret_key: SecretStr | None = Field(
        default=None, description="encrypts carrier passwords at rest; several: comma-separated"
    )
    default_rate_per_second: Positive | None = Field(
        default=None, description="replaces the table of rates by sender kind and destination"
    )
    legacy_21606: bool = False
    webhooks: WebhookSettings = WebhookSettings()
    log: LogSettings = LogSettings()

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
    if file is not None and not file.exists():
        raise ConfigurationError(f"{file}: no such file")
    path = file or Path("tandem.toml")

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
    except ValidationError as error:
        lines = [
            f"  {'.'.join(str(step) for step in problem['loc']) or path}: {problem['msg']}"
            for problem in error.errors()
        ]
        raise ConfigurationError("\n".join(["the configuration is wrong:", *lines])) from None
