"""Replies to inbound messages: from TwiML to drafts, and into the same path as any message."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final
from urllib.parse import urljoin, urlsplit

from gateway.acceptance.acceptor import Acceptor, Overloaded, Rejected, Repeated, Unavailable
from gateway.acceptance.committer import Also
from gateway.acceptance.draft import Draft
from gateway.acceptance.router import Router
from gateway.content.encoding import BODY_LIMIT, body_units
from gateway.directory.directory import SenderRecord
from gateway.inbound.loops import LoopGuard
from gateway.inbound.twiml import MessageVerb
from gateway.messages.message import Direction, Flag, Message
from gateway.routing.destination import Destination, parse_destination
from gateway.routing.hidden import naming_hidden
from gateway.routing.selector import Needs
from gateway.stage_runtime import Runtime
from storage.idempotency import IdempotencyKey

MOST_REPLIES: Final = 10
MOST_MEDIA: Final = 10  # in one reply
RETRY_S: Final = 0.5
LONGEST_VALIDITY_S: Final = 36_000

BAD_TO: Final = 14101
BAD_FROM: Final = 14102
BAD_BODY: Final = 14103
BAD_CALLBACK: Final = 14105
LOOP: Final = 14107
NOT_CAPABLE: Final = 14108
TOO_MANY: Final = 14109
NOT_STORED: Final = 30020


class _Refused(Exception):
    """This reply can't be sent; `code` is the alert's.

    With `quotes` the text has words of the app.
    """

    def __init__(self, code: int, text: str, *, quotes: bool = False) -> None:
        super().__init__(text)
        self.code = code
        self.quotes = quotes


class Replies:
    """Makes drafts of replies, and stores them together with a mark on what led to them."""

    def __init__(self, runtime: Runtime, router: Router, acceptor: Acceptor) -> None:
        self._directory = runtime.directory
        self._router = router
        self._acceptor = acceptor
        self._next_id = runtime.next_id
        self._clock = runtime.clock
        self._alerts = runtime.alerts
        self._guard = LoopGuard()
        self._raised = 0

    def drafts(
        self, inbound: Message, found: Sequence[tuple[MessageVerb, str]]
    ) -> tuple[list[Draft], bool]:
        """Drafts of the replies that can be sent; each that can't is an alert. Whether one was."""
        drafts, before = [], self._raised
        for reply, document in found[:MOST_REPLIES]:
            try:
                drafts.append(self._draft(inbound, reply, document))
            except _Refused as refused:
                self._alert(inbound, refused.code, str(refused), quotes=refused.quotes)
        if len(found) > MOST_REPLIES:
            text = f"{len(found)} replies; {MOST_REPLIES} were sent"
            self._alert(inbound, TOO_MANY, text, level="warning")
        return drafts, self._raised > before

    async def store(self, inbound: Message, drafts: Sequence[Draft], also: Also) -> bool:
        """Store replies (at least one) and run `also` in one transaction, however long that takes.

        An inbound message has its replies once: two processes may have told its app, and the
        second to come here stores nothing. False: no table takes them; neither happened.
        """
        key = IdempotencyKey(
            inbound.account_id, f"inbound/{inbound.sid}", b"", drafts[0].message.id
        )
        while True:
            error = await self._submit(drafts, also, key)
            if error is None or isinstance(error, Repeated):
                return True
            if isinstance(error, Rejected):
                text = f"the replies could not be stored: {error}"
                self._alert(inbound, NOT_STORED, text, quotes=True)
                return False
            await asyncio.sleep(RETRY_S)

    async def _submit(
        self, drafts: Sequence[Draft], also: Also, key: IdempotencyKey
    ) -> Exception | None:
        outcome: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()

        def done(error: Exception | None) -> None:
            if not outcome.done():
                outcome.set_result(error)

        try:
            self._acceptor.submit(drafts, done, also, key)
        except (Overloaded, Unavailable) as error:
            return error
        return await outcome

    def _draft(self, inbound: Message, reply: MessageVerb, document: str) -> Draft:
        destination = parse_destination(reply.to or inbound.sender_address or "")
        if destination is None:
            to = reply.to or inbound.sender_address or ""
            problem = naming_hidden(f"{to} is not a number to reply to", to)
            raise _Refused(BAD_TO, problem, quotes=True)
        record = self._sender(inbound, reply.sender)
        if record.sender.address == destination.e164:
            raise _Refused(BAD_TO, "a reply would go to the number it comes from")
        media = self._media(inbound, reply, document) if record.sender.mms else []
        body = self._body(inbound, reply, with_media=bool(media))
        service = self._directory.services_by_id.get(record.service_id or 0)
        if service is None:
            self._check_route(destination, record, mms=bool(media))
        callback = self._callback(inbound, reply, document)
        if callback is None and service is not None:
            callback = service.status_callback
        now = self._clock.monotonic()
        if not self._guard.allows(record.sender.address, destination.e164, now):
            raise _Refused(LOOP, "too many replies between two numbers without a pause")
        message = Message(
            self._next_id(),
            inbound.account_id,
            destination.e164,
            body,
            service_id=service.id if service is not None else None,
            direction=Direction.OUTBOUND_REPLY,
            callback_url=callback,
            valid_until=self._clock.wall()
            + (service.validity_s if service is not None else LONGEST_VALIDITY_S),
            flags=Flag.MEDIA | Flag.AWAITS_MEDIA if media else 0,
            extras={"media_urls": media, "from": record.sender.address} if media else None,
        )
        return Draft(message, destination, from_record=record, from_address=record.sender.address)

    def _sender(self, inbound: Message, text: str | None) -> SenderRecord:
        """The number that was written to, or another one of the account."""
        if text is None:
            record = self._directory.senders_by_id.get(inbound.sender_id)
        else:
            number = parse_destination(text)
            address = number.e164 if number is not None else text
            record = self._directory.senders_by_address.get(address)
        if record is None or record.account_id != inbound.account_id:
            sender = text or inbound.recipient
            problem = f"{sender} is not a number of the account"
            raise _Refused(BAD_FROM, naming_hidden(problem, sender), quotes=True)
        if not record.sender.sms:
            raise _Refused(NOT_CAPABLE, f"{record.sender.address} can't send SMS")
        return record

    def _media(self, inbound: Message, reply: MessageVerb, document: str) -> list[str]:
        """The URLs of its media; those in the document may be relative to it."""
        urls = []
        for text in reply.media:
            url = _absolute(document, text)
            if url is None:
                self._alert(inbound, BAD_BODY, f"{text[:200]} is not a URL", quotes=True)
            else:
                urls.append(url)
        if len(urls) > MOST_MEDIA:
            raise _Refused(BAD_BODY, f"more than {MOST_MEDIA} media in one message")
        return urls

    def _body(self, inbound: Message, reply: MessageVerb, *, with_media: bool) -> str:
        body = reply.body
        if reply.media and not with_media:
            if not body:
                raise _Refused(BAD_BODY, "the number carries no media, and there is no text")
            self._alert(inbound, BAD_BODY, "the number carries no media; the text was sent alone")
        if not body and not with_media:
            raise _Refused(BAD_BODY, "a reply without a text")
        if body_units(body) > BODY_LIMIT:
            raise _Refused(BAD_BODY, f"a text of more than {BODY_LIMIT} characters")
        if "\x00" in body:
            raise _Refused(BAD_BODY, "a text with a NUL character")
        return body

    def _callback(self, inbound: Message, reply: MessageVerb, document: str) -> str | None:
        if not reply.callback:
            return None
        url = _absolute(document, reply.callback)
        if url is not None:
            return url
        self._alert(inbound, BAD_CALLBACK, f"{reply.callback[:200]} is not a URL", quotes=True)
        return None

    def _check_route(self, destination: Destination, record: SenderRecord, *, mms: bool) -> None:
        """Whether a number in no service reaches the destination, as for any plain From."""
        choice = self._router.decider.reach(destination, record.sender, Needs(media=mms))
        if choice.sender is None:
            raise _Refused(choice.code, f"{record.sender.address} does not reach this number")

    def _alert(
        self,
        inbound: Message,
        code: int,
        text: str,
        *,
        level: str = "error",
        quotes: bool = False,
    ) -> None:
        self._raised += 1
        service = self._directory.services_by_id.get(inbound.service_id or 0)
        self._alerts.alert(
            code,
            text,
            level=level,
            resource=inbound.sid,
            account_id=inbound.account_id,
            service=service.sid if service is not None else None,
            messages=(inbound.id,),
            log_text=f"a reply to {inbound.sid}" if quotes else None,
            logged_as=inbound.recipient,
        )


def _absolute(document: str, text: str) -> str | None:
    """A URL in a document, which may be relative to it; None for what is none."""
    try:
        url = urljoin(document, text.strip())
        parts = urlsplit(url)
    except ValueError:
        return None
    return url if parts.scheme in ("http", "https") and parts.hostname and " " not in url else None
