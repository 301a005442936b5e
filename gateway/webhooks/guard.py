"""Which addresses a webhook may go to.

An app's URL is input from outside: without a guard it could make the gateway call the
operator's own network (SSRF). The check happens where the name is resolved, and the
address that was checked is the one connected to, so a name cannot change in between.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

from aiohttp.abc import AbstractResolver, ResolveResult

from gateway.webhooks.host_names import Address, HostNames


class ForbiddenTarget(OSError):
    """The URL's host is, or resolves to, an address that webhooks may not reach."""


def _networks(*texts: str) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
    return tuple(map(ipaddress.ip_network, texts))


# An IPv6 address in these stands for an IPv4 one: its last four octets. Translators use the first
# (NAT64) and the second (SIIT); the third is no longer in use and still understood by some.
_LAST_OCTETS = _networks("64:ff9b::/96", "::ffff:0:0:0/96", "::/96")
# So does one of any network with this before those (ISATAP, RFC 5214 §6.1): the bit of the
# first octet says whether the IPv4 address is unique.
_ISATAP = (0x00005EFE, 0x02005EFE)
# What is given out to be reached from everywhere: a new block of special use is in none of them.
_GLOBAL = _networks("0.0.0.0/0", "2000::/3", "64:ff9b::/96")
# Within those, and not so (IANA's registries of special purpose): Python knows some only of late.
_SPECIAL = _networks("192.0.0.0/24", "192.88.99.0/24", "3fff::/20")

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


def stands_for(ip: IpAddress) -> list[IpAddress]:
    """The addresses that a packet to `ip` may end at: itself, and IPv4 ones inside it.

    Mapped, translated (NAT64, SIIT), ISATAP, 6to4, Teredo: by any of them a host in the operator's
    own network can be written as an address that looks public.
    """
    if isinstance(ip, ipaddress.IPv4Address):
        return [ip]
    if ip.ipv4_mapped is not None:
        return [ip.ipv4_mapped]
    found: list[IpAddress] = [ip]
    if _in(ip, _LAST_OCTETS) or int(ip) >> 32 & 0xFFFFFFFF in _ISATAP:
        found.append(ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF))
    if ip.sixtofour is not None:
        found.append(ip.sixtofour)
    if ip.teredo is not None:
        found.extend(ip.teredo)  # its server and its client
    return found


class Guard:
    """Public addresses pass; others only where the operator allowed them."""

    def __init__(self, *, allow_private: bool, allow_networks: Sequence[str] = ()) -> None:
        self._allow_private = allow_private
        self._networks = [ipaddress.ip_network(network) for network in allow_networks]

    def permits(self, address: str) -> bool:
        """Whether a numeric address may be called."""
        ip = ipaddress.ip_address(address.partition("%")[0])
        if self._allow_private or self._listed(ip):
            return True
        return all(self._listed(address) or _public(address) for address in stands_for(ip))

    def _listed(self, ip: IpAddress) -> bool:
        return _in(ip, self._networks)

    def check_host(self, host: str) -> None:
        """Refuse a numeric host at once (a client resolves only names).

        Raises ForbiddenTarget.
        """
        numeric = _numeric(host.strip("[]").rstrip("."))
        if numeric is None:
            return  # a name: the resolver checks what it stands for
        allowed = self.permits(numeric)
        if not allowed:
            raise ForbiddenTarget(f"{host} is not a public address")


def _numeric(host: str) -> str | None:
    """The address that a host is, in its usual spelling; None for a name.

    Also those spellings that resolvers of the system take: `2130706433`, `127.1`, `0x7f.1`,
    `0177.0.0.1` (inet_aton).
    """
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        pass
    last = host.rpartition(".")[2]
    if not last[:1].isdigit():  # no name ends in a number (RFC 3696 §2)
        return None
    try:
        return socket.inet_ntoa(socket.inet_aton(host))
    except (OSError, UnicodeError):
        raise ForbiddenTarget(f"{host} is neither a name nor an address") from None


def _public(ip: IpAddress) -> bool:
    if ip.is_multicast or not ip.is_global:
        return False
    return _in(ip, _GLOBAL) and not _in(ip, _SPECIAL)


def _in(ip: IpAddress, networks: Iterable[ipaddress.IPv4Network | ipaddress.IPv6Network]) -> bool:
    return any(ip in network for network in networks)


# Whose names are looked up: aiohttp asks its resolver from the task that has the request, and has
# no other way to hand it on.
_account_id: ContextVar[int] = ContextVar("account_id", default=0)
_NUMERIC: Final = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV


@contextmanager
def on_behalf_of(account_id: int) -> Iterator[None]:
    """Names that are looked up within are this account's."""
    token = _account_id.set(account_id)
    try:
        yield
    finally:
        _account_id.reset(token)


class GuardedResolver(AbstractResolver):
    """Resolves names, and lets through only what the guard permits."""

    def __init__(self, guard: Guard, names: HostNames) -> None:
        self._guard = guard
        self._names = names

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Raises ForbiddenTarget, and as `HostNames.addresses`."""
        numeric = _numeric(host.rstrip("."))
        if numeric is not None:
            found: Sequence[Address] = (Address(numeric, _family(numeric)),)
        else:
            found = await self._names.addresses(host, family, _account_id.get())
        allowed = [address for address in found if self._guard.permits(address.host)]
        if not allowed:
            raise ForbiddenTarget(f"{host} resolves to no public address")
        return [
            ResolveResult(
                hostname=host,
                host=address.host,
                port=port,
                family=address.family,
                proto=0,
                flags=_NUMERIC,
            )
            for address in allowed
        ]

    async def close(self) -> None:
        """Nothing is its own."""


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET
