"""One HTTP request to an app: guarded, signed, bounded in time and size
(docs/spec/twilio-api.md#our-http-client)."""

from __future__ import annotations

import asyncio
import logging
import re
import ssl
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from hashlib import sha256
from types import TracebackType
from typing import Any, Final, NamedTuple
from urllib.parse import unquote, urlencode, urlsplit

import aiohttp
from yarl import URL

from gateway.observe.alerts import storable
from gateway.observe.wall import described
from gateway.webhooks.connections import AppServer, Connections
from gateway.webhooks.cookies import Cookies, NumberPair
from gateway.webhooks.guard import ForbiddenTarget, Guard, GuardedResolver, on_behalf_of
from gateway.webhooks.host_names import HostNames
from gateway.webhooks.keepalive import KeepAliveClient, KeepAliveResponse, SplitUrl, place_of
from gateway.webhooks.overrides import (
    CLIENT_ERROR,
    CONNECT,
    DEFAULT,
    READ,
    SERVER_ERROR,
    Overrides,
    overrides_of,
)
from gateway.webhooks.session import WithSession
from gateway.webhooks.signature import Parameters, sign, signed_url
from gateway.webhooks.urls import ascii_url

log = logging.getLogger(__name__)

USER_AGENT: Final = "Tandem/0.1"
CONNECT_TIMEOUT_S: Final = 5.0
MOST_REDIRECTS: Final = 10
REDIRECTS: Final = (301, 302, 303, 307, 308)
FORM: Final = {"Content-Type": "application/x-www-form-urlencoded; charset=UTF-8"}
JSON: Final = {"Content-Type": "application/json"}
BODY_LIMIT: Final = 64 * 1024  # bytes of an answer that are read; TwiML may be no larger (11750)
MOST_KEPT: Final = 250  # servers whose connections may be kept for another request
KEPT_S: Final = 30.0
MOST_CHALLENGERS: Final = 10_000  # origins known to ask for credentials

# Why there was no good answer (docs/spec/twilio-api.md#failure-handling).
MALFORMED_URL: Final = 11100
NOT_OK: Final = 11200
CONNECT_TIMEOUT: Final = 11201
REFUSED: Final = 11202
TOO_SLOW: Final = 11203
NOT_CONNECTED: Final = 11205
NOT_HTTP: Final = 11206
UNRESOLVED: Final = 11210
TOO_MANY_REDIRECTS: Final = 11215
BAD_REDIRECT: Final = 11216
TLS_HANDSHAKE: Final = 11220
TLS_NAME: Final = 11235
TLS_EXPIRED: Final = 11236
TLS_UNTRUSTED: Final = 11237
SILENCE: Final = frozenset({CONNECT_TIMEOUT, TOO_SLOW})  # nothing came for as long as we wait
_QUOTED: Final = re.compile(r"b?['\"]")  # where octets of the answer begin
_EXPIRED, _WRONG_NAME, _WRONG_ADDRESS = 10, 62, 64  # X509_V_ERR_… of OpenSSL


@dataclass(frozen=True, slots=True)
class WebhookRequest:
    """One event to be told to an app."""

    url: str
    parameters: Parameters
    auth_token: str  # signs it
    method: str = "POST"
    idempotency_token: str = ""  # the same on every retry of one event
    cookies: Cookies | None = None
    pair: NumberPair = ("", "")  # whose cookies
    overridable: bool = True  # the URL's fragment counts
    json: bytes | None = None  # sent in place of the parameters, which are none
    account_id: int = 0  # whose it is

    @property
    def target(self) -> str:
        """The URL that is requested and signed: of a GET with the parameters in its query, of JSON
        with the digest of it (docs/spec/twilio-api.md#webhook-signature).
        """
        url = signed_url(self.url)
        if self.json is not None:
            digest = sha256(self.json).hexdigest()
            return f"{url}{'&' if '?' in url else '?'}bodySHA256={digest}"
        if self.method != "GET":
            return url
        query = urlencode(self.parameters)
        return f"{url}{'&' if '?' in url else '?'}{query}" if query else url


class SignedForm(NamedTuple):
    """A POST as it goes to a server that is known to be plain."""

    url: str
    account_id: int  # whose it is
    signature: str
    idempotency_token: str
    form: str
    message_sid: str
    told: str  # the status


@dataclass(frozen=True, slots=True)
class WebhookResponse:
    """What came back: a status, or why there is none (`error_code` of
    docs/spec/twilio-api.md#failure-handling)."""

    status: int
    body: bytes = b""
    content_type: str = ""
    error_code: int = 0
    reason: str = ""
    quotes: bool = False  # the reason may have words of the other side
    headers: tuple[tuple[str, str], ...] = ()
    url: str = ""  # where it came from: the hook's own, or where redirects led
    truncated: bool = False  # there was more than BODY_LIMIT
    failure: str = ""  # what a retry policy calls it
    problem: int = 0  # the code of what is wrong with the URL's overrides
    sent: tuple[tuple[str, str], ...] = ()  # our headers, without secrets

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    @property
    def plain_reason(self) -> str:
        """The reason as the log takes it, where nothing is erased."""
        return f"error {self.error_code}" if self.quotes else self.reason


def _failed(
    code: int, reason: object, failure: str = "", *, quotes: bool = False
) -> WebhookResponse:
    text = storable(str(reason))
    return WebhookResponse(0, error_code=code, reason=text, quotes=quotes, failure=failure)


class MessageCall(NamedTuple):
    """A call about a message."""

    message_sid: str
    told: str  # its status, or `inbound`
    method: str
    url: str
    answer: WebhookResponse
    took_s: float


class WebhookClient(WithSession):
    """Keep-alive connections to the apps' servers."""

    def __init__(
        self,
        guard: Guard,
        names: HostNames,
        connections: Connections,
        *,
        timeout_s: float,
        counts: bool = False,
    ) -> None:
        """`counts`: each call counts among the connections by itself, or waits for one; else who
        calls has one.
        """
        self._guard = guard
        self._names = names
        self._connections = connections
        self._timeout_s = timeout_s
        self._counts = counts
        self._brief: aiohttp.ClientSession | None = None  # keeps no connections
        self._kept: dict[URL, float] = {}  # when connections were last kept, oldest first
        # Hears of every call about a message.
        self.called: Callable[[MessageCall], object] | None = None
        self._keepalive = KeepAliveClient(guard, names, USER_AGENT)
        self._challengers: set[URL] = set()  # they asked for Basic credentials before

    def _make(self) -> aiohttp.ClientSession:
        return self._make_with(keepalive_timeout=KEPT_S)

    def _make_with(self, **keeping: Any) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0,
                limit_per_host=0,
                resolver=GuardedResolver(self._guard, self._names),
                use_dns_cache=False,  # it would make one account wait for another's lookup
                **keeping,
            ),
            headers={"User-Agent": USER_AGENT, "Accept": "*/*"},
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=True,
        )

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._keepalive.close()
        if self._brief is not None:
            await self._brief.close()
        await super().__aexit__(kind, error, trace)

    async def call(self, hook: WebhookRequest) -> WebhookResponse:
        """Tell the app. Never raises for what the other side does: the answer says it.

        All attempts and redirects share one budget of time.
        """
        given = hook.url
        try:
            if not given.isascii():  # an app's own answer named it, or an older version kept it
                hook = replace(hook, url=ascii_url(given))
            with on_behalf_of(hook.account_id):
                answer = await (self._counted(hook) if self._counts else self._call(hook))
            self._heard(hook.account_id, given, answer)
            return answer
        except Exception as error:  # a way to misbehave that nobody thought of
            log.exception("a webhook could not be called")
            return _failed(NOT_CONNECTED, described(error))

    async def tell(
        self, form: SignedForm, request: Callable[[], WebhookRequest]
    ) -> WebhookResponse:
        """Tell the app what only the status of its answer counts for; as `call`.

        A server that answered plainly before is told by the short way. `request` is the same for
        any other.
        """
        place = place_of(form.url)
        if place is not None and self._keepalive.knows(place):
            try:
                quick = await self._post(form, place)
            except Exception as error:
                log.exception("a webhook could not be called")
                return _failed(NOT_CONNECTED, described(error))
            if quick is not None:
                return quick
        answer = await self.call(request())
        if place is not None and answer.ok and answer.url == form.url:
            self._keepalive.plain(place)
        return answer

    def _heard(self, account_id: int, url: str, answer: WebhookResponse) -> None:
        """Whether its server let us wait in vain."""
        waited = answer.error_code in SILENCE
        if waited or self._connections.silent:
            self._connections.heard(AppServer(account_id, urlsplit(url).netloc), not waited)

    def _session_for(self, origin: URL) -> aiohttp.ClientSession:
        """The one that keeps connections, unless it keeps those of too many servers already."""
        now = asyncio.get_running_loop().time()
        kept = self._kept
        while kept and (oldest := next(iter(kept))) and kept[oldest] + KEPT_S < now:
            del kept[oldest]
        if kept.pop(origin, None) is None and len(kept) >= MOST_KEPT:
            if self._brief is None:
                self._brief = self._make_with(force_close=True)
            return self._brief
        kept[origin] = now
        return self.session

    async def _counted(self, hook: WebhookRequest) -> WebhookResponse:
        """Call as soon as there is a connection for it."""
        try:
            async with asyncio.timeout(self._timeout_s) as patience:
                async with self._connections.one(hook.account_id):
                    patience.reschedule(None)
                    return await self._call(hook)
        except TimeoutError:
            return _failed(NOT_CONNECTED, "too many connections of the account are under way")

    async def _call(self, hook: WebhookRequest) -> WebhookResponse:
        overrides = overrides_of(hook.url) if hook.overridable else DEFAULT
        clock = asyncio.get_running_loop().time
        began = clock()
        deadline = began + (overrides.total_s or self._timeout_s)
        for attempt in range(overrides.retries + 1):
            answer = await self._attempt(hook, overrides, deadline - clock())
            last = attempt == overrides.retries or clock() >= deadline
            if last or answer.failure not in overrides.retried:
                break
        if self.called is not None:
            told = dict(hook.parameters)
            if (sid := told.get("MessageSid")) is not None:
                status, url = told.get("MessageStatus") or "inbound", signed_url(hook.url)
                took_s = clock() - began
                self.called(MessageCall(sid, status, hook.method, url, answer, took_s))
        return replace(answer, problem=overrides.problem) if overrides.problem else answer

    async def _post(self, form: SignedForm, place: SplitUrl) -> WebhookResponse | None:
        """Tell a server that is known to be plain; None: by the ordinary way, after all."""
        clock = asyncio.get_running_loop().time
        began = clock()
        headers = (
            f"X-Twilio-Signature: {form.signature}\r\n"
            f"I-Twilio-Idempotency-Token: {form.idempotency_token}\r\n"
        )
        reply = await self._keepalive.post(
            place, form.account_id, headers.encode(), form.form.encode(), self._timeout_s
        )
        if reply is None:
            return None
        answer = _answer_of(form, reply)
        self._heard(form.account_id, form.url, answer)
        if self.called is not None:
            took_s = clock() - began
            call = MessageCall(form.message_sid, form.told, "POST", form.url, answer, took_s)
            self.called(call)
        return answer

    async def _attempt(
        self, hook: WebhookRequest, overrides: Overrides, budget_s: float
    ) -> WebhookResponse:
        timeout = aiohttp.ClientTimeout(
            total=None,
            sock_connect=overrides.connect_s or min(CONNECT_TIMEOUT_S, self._timeout_s),
            sock_read=overrides.read_s,
        )
        try:
            async with asyncio.timeout(budget_s):
                return await self._follow(hook, timeout)
        except ForbiddenTarget as error:
            return _failed(NOT_CONNECTED, error, quotes=True)
        except aiohttp.InvalidURL:  # which would say all of it: of a GET the parameters, too
            return _failed(MALFORMED_URL, f"malformed URL: {signed_url(hook.url)}", quotes=True)
        except aiohttp.ConnectionTimeoutError:
            return _failed(CONNECT_TIMEOUT, "no connection in time", CONNECT)
        except aiohttp.SocketTimeoutError:
            return _failed(TOO_SLOW, "no answer in time", READ)
        except TimeoutError:
            return _failed(TOO_SLOW, "no answer in time")
        except aiohttp.ClientConnectorCertificateError as error:
            code = _certificate_code(error.certificate_error)
            return _failed(code, error, CONNECT, quotes=True)
        except aiohttp.ClientConnectorError as error:
            return _unconnected(error, quotes=error.host != urlsplit(hook.url).hostname)
        except (aiohttp.ClientResponseError, aiohttp.ClientPayloadError) as error:
            return _failed(NOT_HTTP, _unquoted(error))
        except ValueError as error:  # no host name at all, or none that IDNA can write
            return _failed(MALFORMED_URL, f"malformed URL: {error}", quotes=True)
        except (aiohttp.ClientError, OSError) as error:
            return _failed(NOT_CONNECTED, f"{type(error).__name__}: {error}", quotes=True)

    async def _follow(
        self, hook: WebhookRequest, timeout: aiohttp.ClientTimeout
    ) -> WebhookResponse:
        """Send, and follow redirects by hand: each hop's host passes the guard."""
        url = URL(hook.target, encoded=True)
        parameters: Parameters = hook.parameters if hook.method != "GET" else ()
        data, form = hook.json, FORM
        if data is not None:
            form = JSON
        elif hook.method != "GET":
            data = urlencode(hook.parameters).encode()
        origin, signed = url.origin(), hook.target
        credentials = _credentials(hook.url)
        authorized = False
        digest: tuple[aiohttp.DigestAuthMiddleware, ...] = ()
        hops = 0
        while hops <= MOST_REDIRECTS:
            if url.host is None:
                raise aiohttp.InvalidURL(url)
            self._guard.check_host(url.host)
            headers = {"X-Twilio-Signature": sign(hook.auth_token, signed, parameters)}
            if hook.idempotency_token:
                headers["I-Twilio-Idempotency-Token"] = hook.idempotency_token
            if data is not None:
                headers |= form
            sent = tuple(headers.items())
            own = credentials is not None and url.origin() == origin  # meant for that host only
            if own and credentials is not None and (authorized or origin in self._challengers):
                headers["Authorization"] = aiohttp.encode_basic_auth(*credentials)
                authorized = True
            if hook.cookies is not None and (cookie := hook.cookies.header(hook.pair, url)):
                headers["Cookie"] = cookie
            async with self._session_for(url.origin()).request(
                "GET" if data is None else hook.method,
                url,
                data=data,
                headers=headers,
                allow_redirects=False,
                timeout=timeout,
                middlewares=digest if url.origin() == origin else (),
            ) as response:
                if hook.cookies is not None:
                    hook.cookies.keep(hook.pair, response.cookies, url)
                if response.status == 401 and own and credentials is not None:
                    if _asks_for_digest(response):
                        digest = (aiohttp.DigestAuthMiddleware(*credentials),)
                        credentials = None
                        continue
                    if not authorized:
                        authorized = True
                        if len(self._challengers) < MOST_CHALLENGERS:
                            self._challengers.add(origin)
                        continue
                location = response.headers.get("Location")
                if location and response.status in REDIRECTS:
                    hops += 1
                    if response.status in (301, 302, 303):
                        data, parameters = None, ()
                    next_url = _joined(url, location)
                    if next_url is None:
                        where = location.partition("?")[0][:200]
                        return _failed(BAD_REDIRECT, f"redirected to {where}", quotes=True)
                    url, signed = next_url, str(next_url)
                    continue
                return await _answer(response, sent, str(url) if hops else hook.url)
        return _failed(TOO_MANY_REDIRECTS, f"more than {MOST_REDIRECTS} redirects")


@cache
def _taken(status: int) -> WebhookResponse:
    """A plain answer of 200 to 299: nobody reads more of it."""
    return WebhookResponse(status)


def _answer_of(form: SignedForm, reply: KeepAliveResponse) -> WebhookResponse:
    status = reply.status
    if 200 <= status < 300:
        return _taken(status)
    if not status:
        return _failed(TOO_SLOW, "no answer in time")
    return WebhookResponse(
        status,
        reply.body,
        reply.content_type,
        error_code=NOT_OK,
        reason=f"HTTP {status}",
        headers=reply.headers,
        url=form.url,
        truncated=reply.truncated,
        failure=SERVER_ERROR if status >= 500 else CLIENT_ERROR,
        sent=(
            ("X-Twilio-Signature", form.signature),
            ("I-Twilio-Idempotency-Token", form.idempotency_token),
        ),
    )


async def _answer(
    response: aiohttp.ClientResponse, sent: tuple[tuple[str, str], ...], url: str
) -> WebhookResponse:
    """The answer, with as much of its body as we read. What breaks off in the middle is final."""
    body = bytearray()
    try:
        while len(body) <= BODY_LIMIT:
            chunk = await response.content.read(BODY_LIMIT + 1 - len(body))
            if not chunk:
                break
            body += chunk
    except aiohttp.SocketTimeoutError:
        return _failed(TOO_SLOW, "the answer stopped in the middle")
    status, failure = response.status, ""
    if 400 <= status < 500:
        failure = CLIENT_ERROR
    elif status >= 500:
        failure = SERVER_ERROR
    ok = 200 <= status < 300
    return WebhookResponse(
        status,
        bytes(body[:BODY_LIMIT]),
        response.headers.get("Content-Type", ""),
        error_code=0 if ok else NOT_OK,
        reason="" if ok else f"HTTP {status}",
        headers=tuple(response.headers.items()),
        url=url,
        truncated=len(body) > BODY_LIMIT,
        failure=failure,
        sent=sent,
    )


def _unconnected(error: aiohttp.ClientConnectorError, *, quotes: bool) -> WebhookResponse:
    """`quotes`: a redirect named the host that could not be reached."""
    if isinstance(error, aiohttp.ClientConnectorSSLError):
        return _failed(TLS_HANDSHAKE, error, CONNECT, quotes=quotes)
    cause = error.os_error
    if isinstance(cause, ForbiddenTarget):
        return _failed(NOT_CONNECTED, cause, quotes=quotes)
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return _failed(UNRESOLVED, error, CONNECT, quotes=quotes)
    refused = isinstance(cause, ConnectionRefusedError)
    return _failed(REFUSED if refused else NOT_CONNECTED, error, CONNECT, quotes=quotes)


def _unquoted(error: aiohttp.ClientResponseError | aiohttp.ClientPayloadError) -> str:
    """What was wrong, without the octets that were: an app may send back what it was told."""
    message = error.message if isinstance(error, aiohttp.ClientResponseError) else str(error)
    what = _QUOTED.split(" ".join(message.split()), maxsplit=1)[0].strip(" :,")
    return f"{type(error).__name__}: {what}"


def _asks_for_digest(response: aiohttp.ClientResponse) -> bool:
    challenge = response.headers.get("WWW-Authenticate", "")
    return challenge[:6].lower() == "digest"


def _credentials(url: str) -> tuple[str, str] | None:
    parts = urlsplit(url)
    if parts.username is None:
        return None
    return unquote(parts.username), unquote(parts.password or "")


def _joined(url: URL, location: str) -> URL | None:
    """Where a redirect leads; None for what is no http(s) URL."""
    try:
        target = url.join(URL(location))
    except ValueError:
        return None
    return target if target.scheme in ("http", "https") and target.host else None


def _certificate_code(error: Exception) -> int:
    code = error.verify_code if isinstance(error, ssl.SSLCertVerificationError) else 0
    if code == _EXPIRED:
        return TLS_EXPIRED
    return TLS_NAME if code in (_WRONG_NAME, _WRONG_ADDRESS) else TLS_UNTRUSTED
