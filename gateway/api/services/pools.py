"""The pools of messaging services: who may send for one
(docs/spec/twilio-api.md#sender-sub-resources, docs/spec/messaging-services.md#pool-resources).

Numbers, short codes and channel senders exist before they join, and stay when they leave. An
alphanumeric ID exists only in its service: one for all countries (`AlphaSenders`, and country ""
of `DestinationAlphaSenders`), and one more for each country that wants another.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any, ClassVar, Final

from starlette.responses import Response

from gateway.api.http.errors import ApiError, unreadable
from gateway.api.http.render import iso8601
from gateway.api.http.resources import Call, adding, change, gone, json_response
from gateway.api.numbers import sender_fields
from gateway.api.services.services import service_of
from gateway.directory.directory import SenderRecord, Service
from gateway.routing import alpha
from gateway.routing.sender_pool import Sender, SenderKind
from storage import config as config_rows
from storage.database import UniqueViolation

# What the size of a pool counts (21714).
COUNTED: Final = (SenderKind.LONG_CODE, SenderKind.TOLL_FREE, SenderKind.SHORT_CODE)
SEVERAL_TOLL_FREE: Final = 99005  # an alert of ours
CHANNEL_NAMES: Final = {SenderKind.WHATSAPP: "WhatsApp", SenderKind.RCS: "RCS"}


class Members(ABC):
    """One collection of a pool; the sender is an existing one, named by its SID."""

    path: ClassVar[str]
    key: ClassVar[str]
    prefix: ClassVar[str]
    parameter: ClassVar[str]
    kinds: ClassVar[tuple[SenderKind, ...]]
    service_field: ClassVar[str] = "service_sid"

    @abstractmethod
    def fields(self, record: SenderRecord) -> dict[str, Any]:
        """What this collection shows beside what all of them show."""

    def holds(self, sender: Sender) -> bool:
        return sender.kind in self.kinds

    async def create(self, call: Call) -> Response:
        service = service_of(call)
        record = self._given(call)
        if record.service_id is not None:
            raise ApiError(21710 if record.service_id == service.id else 21712)
        if not (record.sender.sms or record.sender.mms):
            raise ApiError(21715)
        counted = COUNTED if record.sender.kind in COUNTED else ()
        try:
            await change(
                call.deps,
                lambda connection: config_rows.add_member(
                    connection, service.id, record.sender.id, counted, call.deps.pool_limit
                ),
            )
        except UniqueViolation:
            raise ApiError(21712) from None
        except config_rows.PoolFull:
            raise ApiError(
                21714, f"a service holds at most {call.deps.pool_limit} numbers and short codes"
            ) from None
        if record.sender.kind is SenderKind.TOLL_FREE:
            _warn_of_toll_free(call, service)
        return self._answer(call, service, record.sid, 201)

    async def list_(self, call: Call) -> Response:
        service = service_of(call)
        records = [call.deps.directory.senders_by_id[member.id] for member in self._members(call)]
        return call.listed_by_sid(
            self.key, records, lambda record: self._render(call, record, service)
        )

    async def fetch(self, call: Call) -> Response:
        return self._answer(call, service_of(call), self._member(call).sid)

    async def delete(self, call: Call) -> Response:
        """The sender leaves the pool, and stays the account's."""
        service, sender_id = service_of(call), self._member(call).sender.id
        await change(
            call.deps,
            lambda connection: config_rows.remove_member(connection, service.id, sender_id),
        )
        return gone()

    def _given(self, call: Call) -> SenderRecord:
        """The sender named by the form. Raises ApiError 20001 or 20404."""
        sid = call.form.get(self.parameter)
        if not sid:
            raise ApiError(20001, f"Missing required parameter {self.parameter} in the post body")
        record = call.deps.directory.senders.get(sid[:2].upper() + sid[2:].lower())
        if (
            record is None
            or record.account_id != call.account.id
            or record.sender.kind not in self.kinds
        ):
            raise ApiError(20404, f"The requested resource {sid[:64]} was not found")
        return record

    def _members(self, call: Call) -> Iterable[Sender]:
        return (sender for sender in service_of(call).pool.senders if self.holds(sender))

    def _member(self, call: Call) -> SenderRecord:
        """The sender of the path, in this collection. Raises ApiError 21711 (404)."""
        service = service_of(call)
        sid = self.prefix + call.request.path_params["sid"][2:].lower()
        record = call.deps.directory.senders.get(sid)
        if record is None or record.service_id != service.id or not self.holds(record.sender):
            raise ApiError(21711, status=404)
        return record

    def _render(self, call: Call, record: SenderRecord, service: Service) -> dict[str, Any]:
        joined = iso8601(record.joined_at or record.created_at)
        return {
            "sid": record.sid,
            "account_sid": call.account.sid,
            self.service_field: service.sid,
            **self.fields(record),
            "date_created": joined,
            "date_updated": joined,
            "url": f"{call.origin}/v1/Services/{service.sid}/{self.path}/{record.sid}",
        }

    def _answer(self, call: Call, service: Service, sid: str, status: int = 200) -> Response:
        record = call.deps.directory.senders[sid]
        return json_response(self._render(call, record, service), status)


def _warn_of_toll_free(call: Call, service: Service) -> None:
    """Several toll-free numbers in a pool are allowed; carriers may block them for it
    (docs/spec/messaging-services.md#pool-resources)."""
    pool = call.deps.directory.services_by_id[service.id].pool
    count = sum(sender.kind is SenderKind.TOLL_FREE for sender in pool.senders)
    if count > 1:
        call.deps.alerts.alert(
            SEVERAL_TOLL_FREE,
            f"{service.friendly_name} has {count} toll-free numbers: carriers may take that for"
            " evasion, and block them",
            resource=service.sid,
            account_id=call.account.id,
            service=service.sid,
        )


class PhoneNumbers(Members):
    path, key, prefix, parameter = "PhoneNumbers", "phone_numbers", "PN", "PhoneNumberSid"
    kinds = (SenderKind.LONG_CODE, SenderKind.TOLL_FREE)

    def fields(self, record: SenderRecord) -> dict[str, Any]:
        return {
            "phone_number": record.sender.address,
            "country_code": record.sender.country,
            "capabilities": [*(["Voice"] if record.voice else []), *_carries(record.sender)],
        }


class ShortCodes(Members):
    path, key, prefix, parameter = "ShortCodes", "short_codes", "SC", "ShortCodeSid"
    kinds = (SenderKind.SHORT_CODE,)

    def fields(self, record: SenderRecord) -> dict[str, Any]:
        return {
            "short_code": record.sender.address,
            "country_code": record.sender.country,
            "capabilities": _carries(record.sender),
        }


class ChannelSenders(Members):
    path, key, prefix, parameter = "ChannelSenders", "senders", "XE", "Sid"
    kinds = (SenderKind.WHATSAPP, SenderKind.RCS)
    service_field = "messaging_service_sid"

    def fields(self, record: SenderRecord) -> dict[str, Any]:
        return {
            "sender": record.sender.address,
            "sender_type": CHANNEL_NAMES[record.sender.kind],
            "country_code": record.sender.country or None,
        }


class DestinationAlphaSenders(Members):
    """Alphanumeric IDs by destination country."""

    path, key, prefix = "DestinationAlphaSenders", "alpha_senders", "AI"
    parameter = "AlphaSender"
    kinds = (SenderKind.ALPHA,)

    def fields(self, record: SenderRecord) -> dict[str, Any]:
        return {
            "alpha_sender": record.sender.address,
            "capabilities": _carries(record.sender),
            "iso_country_code": record.sender.destination_country,
        }

    async def create(self, call: Call) -> Response:
        service = service_of(call)
        text = call.form.get("AlphaSender")
        if not text:
            raise ApiError(21708)
        if not alpha.is_alpha_sender(text):
            raise unreadable(21709, text)
        country = self._country(call)
        for sender in service.pool.senders:
            if sender.kind is SenderKind.ALPHA and sender.destination_country == country:
                raise ApiError(21710 if sender.address == text else 21714, _ONE_EACH)
        sid = call.new_sid("AI")
        columns = sender_fields.changed_columns(call)
        values = {
            "sid": sid,
            "account_id": call.account.id,
            "carrier_id": sender_fields.carrier_id(call),
            "kind": SenderKind.ALPHA.value,
            "address": text,
            "country": "",
            "friendly_name": text,
            "rate": columns.get("rate"),
            "service_id": service.id,
            "destination_country": country,
        }
        add = adding(
            call.deps,
            lambda c: config_rows.insert_sender(c, values),
            call.account.id,
            "alphanumeric_senders",
        )
        try:
            await change(call.deps, add)
        except UniqueViolation:
            raise ApiError(21714, _ONE_EACH) from None
        return self._answer(call, service, sid, 201)

    async def delete(self, call: Call) -> Response:
        sender_id = self._member(call).sender.id
        await change(call.deps, lambda c: config_rows.delete_sender(c, sender_id))
        return gone()

    def _members(self, call: Call) -> Iterable[Sender]:
        wanted = call.filter("IsoCountryCode")
        return (
            member
            for member in super()._members(call)
            if wanted is None or member.destination_country == wanted.upper()
        )

    def _country(self, call: Call) -> str:
        """The destination country; "" for all. Raises ApiError 20001, 21709."""
        country = (call.form.get("IsoCountryCode") or "").upper()
        if country:
            treatment = alpha.packaged().get(country)
            if treatment is None:
                raise ApiError(20001, f"{country[:8]} is not an ISO country code")
            if not treatment.supported:
                raise ApiError(21709, f"{country} does not take alphanumeric sender IDs")
        return country


class AlphaSenders(DestinationAlphaSenders):
    """The one alphanumeric ID for every country that has none of its own."""

    path = "AlphaSenders"

    def fields(self, record: SenderRecord) -> dict[str, Any]:
        return {
            "alpha_sender": record.sender.address,
            "capabilities": _carries(record.sender),
        }

    def holds(self, sender: Sender) -> bool:
        return super().holds(sender) and not sender.destination_country

    def _country(self, call: Call) -> str:
        return ""


_ONE_EACH: Final = "a service has one alphanumeric sender ID per country, and one for all others"


def _carries(sender: Sender) -> list[str]:
    return [name for name, has in (("SMS", sender.sms), ("MMS", sender.mms)) if has]


COLLECTIONS: Final = (
    PhoneNumbers(),
    ShortCodes(),
    AlphaSenders(),
    DestinationAlphaSenders(),
    ChannelSenders(),
)
