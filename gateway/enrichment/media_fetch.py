"""One file from an app's server: guarded, bounded in time and size, of a type that MMS takes.

Anything may be at the other end of a `MediaUrl` (docs/spec/messaging-services.md#limits-of-media):
each host that is connected to passes the webhooks' guard, redirects are followed by hand, and
reading stops at the limit whatever the headers promise.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from functools import cache
from typing import Final

import aiohttp
from yarl import URL

from gateway import data
from gateway.webhooks.client import CONNECT_TIMEOUT_S, MOST_REDIRECTS, REDIRECTS, USER_AGENT
from gateway.webhooks.guard import Guard, GuardedResolver, on_behalf_of
from gateway.webhooks.host_names import HostNames
from gateway.webhooks.session import WithSession

MOST_OCTETS: Final = 5 * 1024 * 1024  # of all media of one MMS
MOST_OCTETS_OTHER: Final = 600 * 1024  # of one file that is no image: carriers take no more

UNREACHABLE: Final = 11200
TOO_LARGE: Final = 11751
WRONG_TYPE: Final = 12300
TOO_LARGE_FOR_CARRIERS: Final = 30019

# How files of a type begin, by media type; others are believed.
_BEGINNINGS: Final = {
    "image/jpeg": (b"\xff\xd8\xff",),
    "image/jpg": (b"\xff\xd8\xff",),
    "image/png": (b"\x89PNG\r\n\x1a\n",),
    "image/gif": (b"GIF87a", b"GIF89a"),
    "image/bmp": (b"BM",),
    "image/tiff": (b"II*\x00", b"MM\x00*"),
    "application/pdf": (b"%PDF",),
}


_USERINFO: Final = re.compile(r"//[^/\s]*@")


class Unusable(Exception):
    """The file cannot be sent. `code` is Twilio's.

    Why is told in an Alert and in the log, with the URL: a name and password in it are masked.
    """

    def __init__(self, code: int, why: str, *, again: bool = False) -> None:
        super().__init__(_USERINFO.sub("//***@", why))
        self.code = code
        self.again = again  # another try may do better


@dataclass(frozen=True, slots=True)
class File:
    content_type: str
    octets: bytes


@cache
def mms_types() -> frozenset[str]:
    """The media types that MMS takes, in lower case."""
    return frozenset(
        row["mime_type"].lower()
        for row in data.rows("media_types.csv")
        if row["mms_accepted"] == "yes"
    )


def begins_like(content_type: str, octets: bytes) -> bool:
    """Whether a file can be of the type that it is said to be."""
    beginnings = _BEGINNINGS.get(content_type)
    return beginnings is None or octets.startswith(beginnings)


class Fetcher(WithSession):
    """Fetches media, each in so many seconds."""

    def __init__(self, guard: Guard, names: HostNames, *, timeout_s: float) -> None:
        self._guard = guard
        self._names = names
        self._timeout_s = timeout_s

    def _make(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0,  # who fetches has a connection
                force_close=True,
                resolver=GuardedResolver(self._guard, self._names),
                use_dns_cache=False,  # it would make one account wait for another's lookup
            ),
            headers={"User-Agent": USER_AGENT, "Accept": "*/*"},
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def file(self, url: str, room: int, account_id: int) -> File:
        """The file behind `url`, of at most `room` octets, for an account. Raises Unusable."""
        try:
            with on_behalf_of(account_id):
                async with asyncio.timeout(self._timeout_s):
                    return await self._follow(URL(url), room)
        except Unusable:
            raise
        except TimeoutError:
            raise Unusable(UNREACHABLE, f"{url}: no answer in time", again=True) from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise Unusable(UNREACHABLE, f"{url}: {error}", again=True) from error

    async def _follow(self, url: URL, room: int) -> File:
        for _ in range(MOST_REDIRECTS + 1):
            if url.scheme not in ("http", "https") or url.host is None:
                raise Unusable(UNREACHABLE, f"{url} is no http or https URL")
            self._guard.check_host(url.host)
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S)
            async with self.session.get(url, allow_redirects=False, timeout=timeout) as response:
                location = response.headers.get("Location")
                if location and response.status in REDIRECTS:
                    url = url.join(URL(location))
                    continue
                if response.status != 200:
                    raise Unusable(UNREACHABLE, f"{url}: HTTP {response.status}", again=True)
                return await _read(response, room)
        raise Unusable(UNREACHABLE, f"more than {MOST_REDIRECTS} redirects")


async def _read(response: aiohttp.ClientResponse, room: int) -> File:
    """Raises Unusable as soon as it is known that the file is of no use."""
    content_type = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if content_type not in mms_types():
        raise Unusable(WRONG_TYPE, f"{response.url}: {content_type or 'no Content-Type'}")
    octets = bytearray()
    async for chunk in response.content.iter_any():
        octets += chunk
        if len(octets) > room:
            raise Unusable(TOO_LARGE, f"{response.url}: more than {MOST_OCTETS} octets together")
        if len(octets) > MOST_OCTETS_OTHER and not content_type.startswith("image/"):
            raise Unusable(
                TOO_LARGE_FOR_CARRIERS, f"{response.url}: more than {MOST_OCTETS_OTHER} octets"
            )
    if not octets or not begins_like(content_type, bytes(octets[:16])):
        raise Unusable(WRONG_TYPE, f"{response.url}: it is not {content_type}")
    return File(content_type, bytes(octets))
