"""One HTTP request to an app: guarded, signed by the caller, bounded in time and size."""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType
from typing import Self
from urllib.parse import unquote, urlencode, urlsplit

import aiohttp
from yarl import URL

from gateway.webhooks.guard import ForbiddenTarget, Guard, GuardedResolver
from gateway.webhooks.signature import Parameters, signed_url

USER_AGENT = "Tandem/0.1"
CONNECT_TIMEOUT_S = 5.0
MOST_REDIRECTS = 10
FORM = {"Content-Type": "application/x-www-form-urlencoded; charset=UTF-8"}
BODY_LIMIT = 64 * 1024  # bytes of an answer that are read; TwiML may be no larger (11750)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: a status, or why there is none (`error_code` of twilio-api §7.5)."""

    status: int
    body: bytes = b""
    content_type: str = ""
    error_code: int = 0
    reason: str = ""

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300


class WebhookClient:
    """Keep-alive connections to the apps' servers, so many per host."""

    def __init__(self, guard: Guard, *, per_host: int, timeout_s: float) -> None:
        self._guard = guard
        self._per_host = per_host
        self._timeout = aiohttp.ClientTimeout(
            total=timeout_s, sock_connect=min(CONNECT_TIMEOUT_S, timeout_s)
        )
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0,
                limit_per_host=self._per_host,
                resolver=GuardedResolver(self._guard),
                keepalive_timeout=30,
            ),
            timeout=self._timeout,
            headers={"User-Agent": USER_AGENT, "Accept": "*/*"},
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=True,
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def post(self, url: str, parameters: Parameters, headers: dict[str, str]) -> Answer:
        """POST a form. Never raises for what the other side does: the answer says it."""
        assert self._session is not None, "use the client as a context manager"
        headers = dict(headers)
        try:
            parts = urlsplit(url)
            if parts.username is not None:
                headers["Authorization"] = aiohttp.encode_basic_auth(
                    unquote(parts.username), unquote(parts.password or "")
                )
            target = URL(signed_url(url), encoded=True)
            return await self._follow(target, urlencode(parameters).encode(), headers)
        except ForbiddenTarget as error:
            return Answer(0, error_code=11205, reason=str(error))
        except aiohttp.InvalidURL as error:
            return Answer(0, error_code=11100, reason=f"malformed URL: {error}")
        except TimeoutError:
            return Answer(0, error_code=11203, reason="no answer in time")
        except aiohttp.ClientConnectorCertificateError as error:
            return Answer(0, error_code=11237, reason=str(error))
        except aiohttp.ClientConnectorError as error:
            cause = error.os_error
            if isinstance(cause, ForbiddenTarget):
                return Answer(0, error_code=11205, reason=str(cause))
            return Answer(0, error_code=11202, reason=str(error))
        except ValueError as error:  # no host name at all, or none that IDNA can write
            return Answer(0, error_code=11100, reason=f"malformed URL: {error}")
        except (aiohttp.ClientError, OSError) as error:
            return Answer(0, error_code=11200, reason=f"{type(error).__name__}: {error}")

    async def _follow(self, url: URL, body: bytes, headers: dict[str, str]) -> Answer:
        """Send, and follow redirects by hand: each hop's host passes the guard."""
        assert self._session is not None
        data: bytes | None = body
        origin = url.origin()
        for _ in range(MOST_REDIRECTS + 1):
            if url.host is None:
                raise aiohttp.InvalidURL(url)
            self._guard.check_host(url.host)
            if url.origin() != origin:
                headers.pop("Authorization", None)  # meant for the first host only
            async with self._session.request(
                "GET" if data is None else "POST",
                url,
                data=data,
                headers=headers if data is None else headers | FORM,
                allow_redirects=False,
            ) as response:
                location = response.headers.get("Location")
                if location and response.status in (301, 302, 303, 307, 308):
                    if response.status in (301, 302, 303):
                        data = None
                    url = url.join(URL(location))
                    continue
                content = await response.content.read(BODY_LIMIT + 1)
                return Answer(response.status, content[:BODY_LIMIT], response.content_type)
        return Answer(0, error_code=11215, reason=f"more than {MOST_REDIRECTS} redirects")
