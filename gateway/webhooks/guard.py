"""Which addresses a webhook may go to.

An app's URL is input from outside: without a guard it could make the gateway call the
operator's own network (SSRF). The check happens where the name is resolved, and the
address that was checked is the one connected to, so a name cannot change in between.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver


class ForbiddenTarget(OSError):
    """The URL's host is, or resolves to, an address that webhooks may not reach."""


class Guard:
    """Public addresses pass; others only where the operator allowed them."""

    def __init__(self, *, allow_private: bool, allow_networks: Sequence[str] = ()) -> None:
        self._allow_private = allow_private
        self._networks = [ipaddress.ip_network(network) for network in allow_networks]

    def permits(self, address: str) -> bool:
        """Whether a numeric address may be called."""
        ip = ipaddress.ip_address(address.partition("%")[0])
        mapped = getattr(ip, "ipv4_mapped", None)
        ip = mapped or ip
        if self._allow_private or any(ip in network for network in self._networks):
            return True
        return ip.is_global and not ip.is_multicast

    def check_host(self, host: str) -> None:
        """Refuse a numeric host at once (a client resolves only names).

        Raises ForbiddenTarget.
        """
        try:
            allowed = self.permits(host.strip("[]"))
        except ValueError:
            return  # a name: the resolver checks what it stands for
        if not allowed:
            raise ForbiddenTarget(f"{host} is not a public address")


class GuardedResolver(AbstractResolver):
    """Resolves names, and lets through only what the guard permits."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._resolver = ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._resolver.resolve(host, port, family)
        allowed = [result for result in found if self._guard.permits(result["host"])]
        if found and not allowed:
            raise ForbiddenTarget(f"{host} resolves to no public address")
        return allowed

    async def close(self) -> None:
        await self._resolver.close()
