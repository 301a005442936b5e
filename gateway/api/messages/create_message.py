"""`POST …/Messages.json`: from a form to an accepted draft
(docs/spec/twilio-api.md#create-parameters, docs/spec/twilio-api.md#synchronous-errors).

A plain function: both lanes, the fast one and Starlette's, validate with it and answer with
it, so they cannot differ.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol, TypeAlias

from gateway.acceptance.acceptor import (
    Acceptor,
    OptedOut,
    Overloaded,
    Rejected,
    Repeated,
    Unavailable,
)
from gateway.acceptance.committer import Client
from gateway.acceptance.draft import Draft
from gateway.acceptance.forecast import Forecast, Outlook
from gateway.acceptance.media_conversion import COUNTRY_CLOSED, NO_MMS_HERE
from gateway.acceptance.router import Router
from gateway.api.http.errors import REPEATED, RETRY_AFTER_S, ApiError, unreadable
from gateway.api.http.forms import Form, SendForm, check_url
from gateway.api.http.render import created_message
from gateway.api.messages.addresses import (
    check_channels,
    is_sender,
    normal_sender,
    read_destination,
)
from gateway.api.messages.message_options import Options, read_options, send_time
from gateway.api.messages.template_variables import read_variables
from gateway.api.messages.tlvs import tlv_parameters
from gateway.content.encoding import BODY_LIMIT, SENT_LIMIT, body_units
from gateway.content.filling import TooLong
from gateway.content.shortening import ShortLink, shorten
from gateway.content.templates import TemplateError, say
from gateway.directory.directory import Account, Directory, SenderRecord, Service
from gateway.messages.message import Flag, Message, Tlvs
from gateway.routing.destination import Destination
from gateway.routing.question import (
    NO_SENDER,
    QUEUES_FULL,
    UNREACHABLE,
    UNUSABLE_FROM,
    Needs,
)
from gateway.routing.sender_pool import SenderKind
from gateway.runtime.clock import Clock
from gateway.runtime.second_sight import SecondSight
from storage.idempotency import IdempotencyKey
from storage.ids import Id

SERVICE_SID: Final = re.compile(r"MG[0-9a-fA-F]{32}")
MOST_MEDIA: Final = 10
VALIDITY_S: Final = (1, 36_000)


# The body of a 201 and what its queue says, or an error.
OnAccepted: TypeAlias = Callable[[bytes | None, ApiError | None, Outlook | None], object]


@dataclass(frozen=True, slots=True)
class ScheduleRules:
    """When a message may be scheduled for, and how many may wait
    (docs/spec/twilio-api.md#scheduling-and-cancel)."""

    least_s: float
    most_s: float
    most_held: int  # per account
    held: Callable[[int], int]  # of an account, now


class Who(NamedTuple):
    """`From` and `MessagingServiceSid`, as they came."""

    sender: str | None
    service: str | None


class Text(NamedTuple):
    """What is said."""

    body: str
    media: list[str]


@dataclass(frozen=True, slots=True)
class CheckedRequest:
    """A checked request without its recipient."""

    account: Account
    sender: str | None  # `From` as it came
    from_address: str | None  # … and as senders are filed
    service: Service | None
    options: Options
    smart: bool | None
    callback: str | None
    send_at: float
    validity_s: int
    tlvs: list[tuple[str, int, bytes]]
    media: bool


class SendForwarding(Protocol):
    """Sends for the pools of other workers."""

    def place(self, account: Account, form: Form) -> int | None:
        """The worker that a send with these parameters is for; None: this one."""

    def send(
        self,
        slot: int,
        account: Account,
        form: Form,
        answer: OnAccepted,
        idempotency: tuple[str, bytes] | None,
    ) -> None:
        """Create the message there; `answer` hears of it."""


@dataclass(frozen=True, slots=True)
class Creation:
    """What creating a message needs of the process."""

    directory: Directory
    acceptor: Acceptor
    router: Router
    next_id: Callable[[], Id]
    clock: Clock
    legacy_21606: bool
    schedule: ScheduleRules
    forecast: Forecast
    new_code: Callable[[], str]  # of a short link
    shapes: SecondSight[tuple[int, bytes], CheckedRequest]  # account, all but To and Body
    forwarded: SendForwarding

    def draft(self, account: Account, form: Form) -> Draft:
        """Validate a form in the order of docs/spec/twilio-api.md#validation-order. Raises
        ApiError."""
        if form.shape is not None and "\x00" not in form.body:
            shared = self.shapes.get((account.id, form.shape), self.directory.epoch)
            if shared is not None:
                body = check_body(form.body, with_media=False)
                destination = read_destination(form.to, shared.sender)
                return self.addressed(shared, form.to, destination, body)
        recipient_text = form.get("To")
        if not recipient_text:
            raise ApiError(21604)
        who = read_who(form)
        text = self.text(account, form)
        destination = read_destination(recipient_text, who.sender)
        shared = self.shared(account, form, who, text)
        self._learn(account, form, shared)
        return self.addressed(shared, recipient_text, destination, text.body)

    def _learn(self, account: Account, form: Form, shared: CheckedRequest) -> None:
        """Keep what all sends of this shape share, unless it depends on their text or the time."""
        shape = form.shape
        if shape is None or not isinstance(form, SendForm) or not form.is_shaped:
            return
        if shared.media or shared.options.scheduled or "ContentSid" in form:
            return
        key, epoch = (account.id, shape), self.directory.epoch
        self.shapes.offer(account.id, key, len(shape), epoch, shared)

    def text(self, account: Account, form: Form) -> Text:
        """Body and media of a form, or of the template that it names. Raises ApiError."""
        if content_sid := form.get("ContentSid"):
            return Text(*self._said(account, content_sid, form))
        return Text(self._body(form), read_media(form))

    def _body(self, form: Form) -> str:
        """The text. A NUL is dropped where Smart Encoding is on, whose table has it.

        Raises ApiError 21602, 21617 to 21619.
        """
        body = form.get("Body")
        if body is not None and "\x00" in body and self._is_smart(form):
            body = body.replace("\x00", "")
        return check_body(body, bool(form.all("MediaUrl")))

    def _is_smart(self, form: Form) -> bool:
        """Whether Smart Encoding is on: by the request, else by its service. Raises ApiError."""
        smart = form.flag("SmartEncoded")
        if smart is None:
            service = self.directory.services.get("MG" + (read_who(form).service or "")[2:].lower())
            smart = service is not None and service.pool.settings.smart_encoding
        return smart

    def shared(self, account: Account, form: Form, who: Who, text: Text) -> CheckedRequest:
        """All of a form that is not its recipient's: the same for every one of a bulk send.

        Raises ApiError.
        """
        if who.sender and not is_sender(who.sender):
            raise unreadable(21212, who.sender)
        if who.service and not SERVICE_SID.fullmatch(who.service):
            raise ApiError(21705)
        callback = form.get("StatusCallback")
        if callback:
            callback = check_url(callback, "StatusCallback", 21609)
        validity = form.integer("ValidityPeriod", *VALIDITY_S, code=21624)
        smart = form.flag("SmartEncoded")
        options = read_options(form)
        if text.media:
            options = options.with_media(text.media, smart)
        service: Service | None = None
        if who.service:
            service = self.directory.services.get("MG" + who.service[2:].lower())
            if service is None or service.account_id != account.id:
                raise ApiError(21701)
            if service.pool.empty and not options.scheduled:
                raise ApiError(21704, status=400)
        send_at = self._send_at(options, account, service) if options.scheduled else 0.0
        if options.application_sid is not None:
            application = self.directory.application(account.id, options.application_sid)
            if application is None:
                raise ApiError(21420)
            callback = callback or application.status_callback
        if validity is None:
            validity = service.validity_s if service is not None else VALIDITY_S[1]
        return CheckedRequest(
            account,
            who.sender,
            normal_sender(who.sender) if who.sender else None,
            service,
            options,
            smart,
            callback or (service.status_callback if service is not None else None),
            send_at,
            validity,
            tlv_parameters(form),
            bool(text.media),
        )

    def addressed(
        self, shared: CheckedRequest, recipient_text: str, destination: Destination, body: str
    ) -> Draft:
        """A message to one recipient. Raises ApiError for what is wrong with just that."""
        account, service, options = shared.account, shared.service, shared.options
        from_address = shared.from_address
        channel = check_channels(recipient_text, shared.sender)
        long_body: str | None = None
        links: list[ShortLink] = []
        if options.shorten_urls:
            long_body = body
            body, links = self._shortened(body, service)
        if channel:  # nothing carries another channel yet
            raise ApiError(21703 if service is not None else 63007)
        if from_address == destination.e164:
            raise ApiError(21266)
        record: SenderRecord | None = None
        if from_address is not None:
            record = self._sender(account, from_address, destination, service)
        if service is None:
            assert record is not None
            self._check_route(destination, record, mms=bool(options.flags & Flag.MEDIA))
        awaited = self.router.awaited
        if awaited.full and (shared.media or awaited.ahead_of(account.id, destination.e164)):
            raise accept_error(Overloaded())
        message = Message(
            self.next_id(),
            account.id,
            destination.e164,
            body,
            service_id=service.id if service is not None else None,
            callback_url=shared.callback,
            valid_until=(shared.send_at or self.clock.wall()) + shared.validity_s,
            flags=options.flags,
            send_at=shared.send_at,
            extras=_extras(options, from_address),
            tlvs=self._tlvs(shared.tlvs, service, record) if shared.tlvs else (),
        )
        return Draft(
            message,
            destination,
            from_record=record,
            from_address=from_address,
            smart=shared.smart,
            links=links,
            link_domain=service.link_domain.domain_name if service and service.link_domain else "",
            long_body=long_body,
            told_at_once=service is None,
        )

    def submit(
        self,
        account: Account,
        form: Form,
        answer: OnAccepted,
        idempotency: tuple[str, bytes] | None = None,
        client: Client | None = None,
    ) -> None:
        """Validate and accept, here or where its pool is; `answer` gets the 201 after the commit,
        or an error.

        `idempotency` is the request's key with the digest of its parameters; a key that was used
        before is answered with REPEATED. Raises ApiError for what can be said at once.
        """
        slot = self.forwarded.place(account, form)
        if slot is not None:
            self.forwarded.send(slot, account, form, answer, idempotency)
        else:
            self.submit_here(account, form, answer, idempotency, client)

    def submit_here(
        self,
        account: Account,
        form: Form,
        answer: OnAccepted,
        idempotency: tuple[str, bytes] | None = None,
        client: Client | None = None,
    ) -> None:
        """The same, in this process."""
        draft = self.draft(account, form)
        message = draft.message
        service = self.directory.services_by_id.get(message.service_id or 0)
        service_sid = service.sid if service is not None else None

        def done(error: Exception | None) -> None:
            if error is None:
                body = created_message(message, account.sid, service_sid, draft.long_body)
                answer(body, None, self.forecast.of(draft, self.clock.wall()))
            else:
                answer(None, accept_error(error), None)

        try:
            key = (
                IdempotencyKey(account.id, *idempotency, message.id)
                if idempotency is not None
                else None
            )
            self.acceptor.submit((draft,), done, key=key, client=client)
        except (Overloaded, Unavailable) as error:
            raise accept_error(error) from None

    def _said(self, account: Account, content_sid: str, form: Form) -> tuple[str, list[str]]:
        """Text and media of a template. Raises ApiError 21655, 21656, and what texts raise."""
        template = self.directory.templates.get(content_sid[:2].upper() + content_sid[2:].lower())
        if template is None or template.account_id != account.id:
            raise ApiError(21655)
        variables = read_variables(form.get("ContentVariables"))
        try:
            said = say(template.types, template.variables, variables)
        except TemplateError as error:
            raise ApiError(21656, str(error)) from None
        except TooLong:
            raise ApiError(21617) from None
        as_given = Form({"Body": [said.body], "MediaUrl": said.media})
        return read_body(as_given), read_media(as_given)

    def _shortened(self, body: str, service: Service | None) -> tuple[str, list[ShortLink]]:
        """The text with short links, and these. Raises ApiError 30124, 30106, 21617."""
        if service is None:
            raise ApiError(30124)
        if service.link_domain is None:
            raise ApiError(30106)
        text, links = shorten(body, service.link_domain.base, self.new_code)
        if body_units(text) > SENT_LIMIT:  # a link may become longer than it was
            raise ApiError(21617)
        return text, links

    def _send_at(self, options: Options, account: Account, service: Service | None) -> float:
        """When a scheduled message is due. Raises ApiError 35118, 35114, 35125."""
        if service is None:
            raise ApiError(35118)
        rules = self.schedule
        send_at, now = send_time(options.send_at or ""), self.clock.wall()
        # A second of grace: SDKs drop the fraction.
        if not now + rules.least_s - 1 < send_at <= now + rules.most_s:
            raise ApiError(
                35114,
                f"SendAt must be from {rules.least_s:.0f} s to {rules.most_s / 86_400:.0f} days"
                " from now",
            )
        if rules.held(account.id) >= rules.most_held:
            raise ApiError(35125)
        return send_at

    def _sender(
        self, account: Account, address: str, destination: Destination, service: Service | None
    ) -> SenderRecord | None:
        """The sender of an explicit From.

        With a service a wrong one fails later, as everything that depends on the pool does
        (docs/spec/messaging-services.md#order-of-work-for-one-outbound-message); without one it is
        told at once. An alphanumeric ID may be used without a service by an account that has it in
        any of its services.
        """
        record = self.directory.senders_by_address.get(address)
        if service is not None:
            return record
        if record is None:
            record = self.directory.alphanumeric(account.id, address, destination.country)
        if record is None:
            raise ApiError(21606 if self.legacy_21606 else 21659)
        if record.account_id != account.id:
            raise ApiError(21606 if self.legacy_21606 else 21660)
        if not record.sender.sms:
            raise ApiError(21606 if self.legacy_21606 else 21661)
        return record

    def _tlvs(
        self,
        given: Sequence[tuple[str, int, bytes]],
        service: Service | None,
        record: SenderRecord | None,
    ) -> Tlvs:
        """SMPP parameters of this message (an extension): `SmppTlv.0x1400`, `DltEntityId`.

        Each must be on the list of a carrier that could take the message; a carrier is given
        only those on its own list.
        """
        senders = [record.sender] if record is not None else service.pool.senders if service else ()
        allowed: set[int] = set()
        for carrier_id in {sender.carrier_id for sender in senders}:
            ways = self.router.ways(carrier_id)
            if ways is not None:
                allowed |= ways.message_tlvs
        for parameter, tag, _ in given:
            if tag not in allowed:
                raise ApiError(
                    20001,
                    f"{parameter}: TLV 0x{tag:04x} is not on the list (message_tlvs, presets)"
                    " of the sender's carrier",
                )
        return tuple((tag, value) for _, tag, value in given)

    def _check_route(self, destination: Destination, record: SenderRecord, *, mms: bool) -> None:
        """Whether a plain From reaches the destination, and has room for it now."""
        account = self.directory.accounts_by_id[record.account_id]
        if destination.country in account.closed_countries:
            raise ApiError(COUNTRY_CLOSED)
        if mms and not record.sender.mms:
            raise ApiError(NO_MMS_HERE)
        choice = self.router.decider.reach(destination, record.sender, Needs(media=mms))
        if choice.sender is not None:
            return
        code = choice.code
        if mms and code == NO_SENDER:
            code = UNREACHABLE  # a country without MMS
        if code == QUEUES_FULL:
            code = 21611
        elif code == UNUSABLE_FROM and not self.legacy_21606:
            code = 21659  # a short code of another country
        elif code == UNREACHABLE and record.sender.kind is SenderKind.ALPHA:
            code = 21657
        raise ApiError(code)


def read_who(form: Form) -> Who:
    """From whom. A service may stand in `From`. Raises ApiError 21603."""
    sender, service = form.get("From"), form.get("MessagingServiceSid")
    if sender and SERVICE_SID.fullmatch(sender) and not service:
        sender, service = None, sender
    if not sender and not service:
        raise ApiError(21603)
    return Who(sender, service)


def read_body(form: Form) -> str:
    """The text of a form, as `check_body`."""
    return check_body(form.get("Body"), bool(form.all("MediaUrl")))


def check_body(body: str | None, with_media: bool) -> str:
    """The text, which may be empty where there are media. Raises ApiError 21602, 21617 to 21619."""
    if body is None and not with_media:
        raise ApiError(21619)
    body = body or ""
    if not body.strip() and not with_media:
        raise ApiError(21602)
    if body_units(body) > BODY_LIMIT:
        raise ApiError(
            21617, f"The concatenated message body exceeds the {BODY_LIMIT} character limit."
        )
    if "\x00" in body:
        raise ApiError(21618, "the body contains a NUL character")
    return body


def read_media(form: Form) -> list[str]:
    """The URLs of media. Raises ApiError 21620, 21623."""
    media = form.all("MediaUrl")
    if len(media) > MOST_MEDIA:
        raise ApiError(21623)
    return [check_url(url, "MediaUrl", 21620) for url in media]


def _extras(options: Options, from_address: str | None) -> dict[str, Any] | None:
    """What is kept beside the message; the From of one whose sender is chosen later."""
    if from_address is not None and (options.scheduled or options.flags & Flag.AWAITS_MEDIA):
        return {**(options.kept or {}), "from": from_address}
    return options.kept


def accept_error(error: Exception) -> ApiError:
    if isinstance(error, Overloaded):
        return ApiError(20429, "more messages wait than can be stored soon", headers=RETRY_AFTER_S)
    if isinstance(error, Unavailable):
        return ApiError(20503, headers=RETRY_AFTER_S)
    if isinstance(error, Repeated):
        return ApiError(REPEATED, "a request with this idempotency key was accepted before")
    if isinstance(error, OptedOut):
        return ApiError(21610)
    if isinstance(error, Rejected):
        return ApiError(20500, "the message could not be stored")
    return ApiError(20500)
