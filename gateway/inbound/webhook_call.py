"""One inbound message told to its app: the webhook, its redirects, its fallback
(docs/spec/twilio-api.md#inbound-requests)."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Final
from urllib.parse import urljoin, urlsplit

from gateway.directory.directory import Directory
from gateway.inbound.owed_webhook import WebhookTarget
from gateway.inbound.request import parameters_of
from gateway.inbound.twiml import NOT_XML, MessageVerb, Redirect, TwimlError, outline, parse
from gateway.messages.message import Message
from gateway.observe.alerts import Alerts
from gateway.webhooks.client import MALFORMED_URL, WebhookClient, WebhookRequest, WebhookResponse
from gateway.webhooks.cookies import Cookies
from gateway.webhooks.report import exchange_of
from gateway.webhooks.signature import Parameters, signed_url

log = logging.getLogger(__name__)

MOST_DOCUMENTS: Final = 50
TOO_MANY_DOCUMENTS: Final = 14106
TOO_LARGE: Final = 11750


@dataclass(frozen=True, slots=True)
class DocumentFailure:
    """Why a document was not run, as the fallback is told."""

    code: int
    url: str


@dataclass(slots=True)
class Run:
    """What an app said: replies, each with the URL of the document that it stood in."""

    message: Message
    # It failed before. Then what goes wrong is one alert a minute for a host, not one for each
    # message: a receiver that is down for a day must not fill the table.
    again: bool = False
    replies: list[tuple[MessageVerb, str]] = field(default_factory=list)
    failure: DocumentFailure | None = None
    # Some document was answered with 2xx: the app has the message.
    taken: bool = False
    # Something about it is in an alert, with what the app answered.
    alerted: bool = False
    # A document named the next: its URL is the app's own words.
    redirected: bool = False

    @property
    def hopeless(self) -> bool:
        return self.failure is not None and self.failure.code == MALFORMED_URL


class Runner:
    """Tells apps. What goes wrong is an alert of the message's account."""

    def __init__(
        self, client: WebhookClient, directory: Directory, cookies: Cookies, alerts: Alerts
    ) -> None:
        self._client = client
        self._directory = directory
        self._cookies = cookies
        self._alerts = alerts

    async def run(self, message: Message, target: WebhookTarget, *, again: bool = False) -> Run:
        """The primary URL and, if that fails, the fallback at once. Never raises for an app."""
        parameters = parameters_of(message, self._directory)
        run = Run(message, again)
        await self._documents(run, target.url, target.method, parameters, "")
        if run.failure is None or not target.fallback_url:
            return run
        told = [*parameters, ("ErrorCode", str(run.failure.code)), ("ErrorUrl", run.failure.url)]
        fallback = Run(message, again, replies=run.replies, taken=run.taken, alerted=True)
        await self._documents(
            fallback, target.fallback_url, target.fallback_method, told, "fallback"
        )
        if fallback.hopeless:
            fallback.failure = run.failure  # it says whether another try can help
        return fallback

    async def _documents(
        self, run: Run, url: str, method: str, parameters: Parameters, role: str
    ) -> None:
        """Run a document, and those it redirects to."""
        message = run.message
        account = self._directory.accounts_by_id[message.account_id]
        for number in range(MOST_DOCUMENTS):
            token = sha256(f"{message.sid}/{role}/{number}".encode()).hexdigest()[:32]
            hook = WebhookRequest(
                url,
                parameters,
                account.auth_token,
                method=method,
                idempotency_token=token,
                cookies=self._cookies,
                pair=(message.sender_address or "", message.recipient),
                account_id=message.account_id,
            )
            answer = await self._client.call(hook)
            if answer.problem:
                self._alert(run, answer.problem, "a wrong override in the URL", hook, answer)
            redirect = self._read(run, hook, answer)
            if redirect is None:
                return
            try:
                url, method = urljoin(_base(answer, hook), redirect.url), redirect.method
                run.redirected = True
            except ValueError:  # such as http://[
                self._fail(run, MALFORMED_URL, "a <Redirect> to no URL", hook, answer)
                return
        self._fail(run, TOO_MANY_DOCUMENTS, f"more than {MOST_DOCUMENTS} documents", hook, answer)

    def _read(self, run: Run, hook: WebhookRequest, answer: WebhookResponse) -> Redirect | None:
        """Take the verbs of one answer; the redirect that ends it, or None."""
        if not answer.ok:
            quotes = answer.quotes or run.redirected
            self._fail(run, answer.error_code, answer.reason, hook, answer, quotes=quotes)
            return None
        run.taken = True
        if answer.truncated:
            self._fail(run, TOO_LARGE, "the answer is larger than 64 kB", hook, answer)
            return None
        try:
            document = parse(answer.status, answer.content_type, answer.body)
        except TwimlError as error:
            self._fail(run, error.code, error.text, hook, answer, quotes=True)
            return None
        except Exception as error:  # the fallback is asked, whatever the document did
            log.exception("an answer of an app could not be read")
            self._fail(run, NOT_XML, f"not readable: {type(error).__name__}", hook, answer)
            return None
        for warning in document.warnings:
            self._alert(
                *(run, warning.code, warning.text, hook, answer), quotes=True, level="warning"
            )
        for verb in document.verbs:
            if isinstance(verb, Redirect):
                return verb
            run.replies.append((verb, _base(answer, hook)))
        return None

    def _fail(
        self,
        run: Run,
        code: int,
        text: str,
        hook: WebhookRequest,
        answer: WebhookResponse,
        *,
        quotes: bool = False,
    ) -> None:
        run.failure = DocumentFailure(code, signed_url(hook.url))
        self._alert(run, code, text, hook, answer, quotes=quotes)

    def _alert(
        self,
        run: Run,
        code: int,
        text: str,
        hook: WebhookRequest,
        answer: WebhookResponse,
        *,
        level: str = "error",
        quotes: bool = False,
    ) -> None:
        message = run.message
        run.alerted = True
        service = self._directory.services_by_id.get(message.service_id or 0)
        host = urlsplit(hook.url).netloc.rpartition("@")[2]
        self._alerts.alert(
            code,
            text,
            level=level,
            resource=message.sid,
            account_id=message.account_id,
            service=service.sid if service is not None else None,
            exchange=exchange_of(hook, _without_replies(answer)),
            messages=(message.id,),
            subject=host if run.again else None,
            log_text=f"an answer to {message.sid}" if quotes else None,
            logged_as=host,
        )


def _without_replies(answer: WebhookResponse) -> WebhookResponse:
    """An answer that can be run, as an alert keeps it: of each text its length."""
    if not answer.ok or answer.truncated:
        return answer
    try:
        parse(answer.status, answer.content_type, answer.body)
    except Exception:  # nothing of it is sent
        return answer
    return replace(answer, body=outline(answer.content_type, answer.body).encode())


def _base(answer: WebhookResponse, hook: WebhookRequest) -> str:
    """What relative URLs in a document are relative to: with credentials, without overrides."""
    return (answer.url or hook.url).partition("#")[0]
