"""Numbers to be had: `/AvailablePhoneNumbers`, over an inventory that the operator keeps.

`/tandem/v1/Inventory` (an extension) puts numbers on offer; creating an IncomingPhoneNumber takes
one; deleting it gives the number back.
"""

from __future__ import annotations

import asyncio
import re
from typing import Any, Final

import phonenumbers
from starlette.responses import Response

from gateway.api.http.errors import ApiError, unreadable
from gateway.api.http.forms import read_flag
from gateway.api.http.render import API_VERSION
from gateway.api.http.resources import Call, Handler, change, gone, json_response
from gateway.routing.destination import Destination, parse_destination
from gateway.routing.nanp import NumberKind
from storage import inventory
from storage.database import Connection

MOST_AT_ONCE: Final = 1_000  # numbers of one request
PORTION: Final = 100  # numbers that are read without a pause: 6 ms
COLLECTIONS: Final = {"Local": "local", "Mobile": "mobile", "TollFree": "tollfree"}
CONTAINS: Final = re.compile(r"\+?[0-9*]{1,16}")
FIELDS: Final = frozenset({"numbers", "carrier_name"})
NUMBER_FIELDS: Final = frozenset(
    {"phone_number", "locality", "region", "carrier_name", "sms", "mms", "voice"}
)


def number_type(number: Destination) -> str:
    """`local`, `mobile` or `tollfree`, by the numbering plan; where nobody can tell, local."""
    if number.kind is NumberKind.TOLL_FREE:
        return "tollfree"
    parsed = phonenumbers.parse(number.e164)
    mobile = phonenumbers.number_type(parsed) == phonenumbers.PhoneNumberType.MOBILE
    return "mobile" if mobile else "local"


def national(e164: str) -> str:
    """A number as people of its country write it: the default friendly name."""
    parsed = phonenumbers.parse(e164)
    return phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.NATIONAL)


# The public side ---------------------------------------------------------------------------


def _country_uri(call: Call, country: str) -> str:
    return f"/{API_VERSION}/Accounts/{call.account.sid}/AvailablePhoneNumbers/{country}"


def _render_country(call: Call, country: str, types: list[str]) -> dict[str, Any]:
    uri = _country_uri(call, country)
    return {
        "country_code": country,
        "country": country,
        "beta": False,
        "uri": f"{uri}.json",
        "subresource_uris": {
            _snake(path): f"{uri}/{path}.json"
            for path, type in COLLECTIONS.items()
            if type in types
        },
    }


async def countries(call: Call) -> Response:
    found = await inventory.countries(call.deps.pool)
    shown = [_render_country(call, country, types) for country, types in found.items()]
    return call.page_shown("countries", shown)


async def country(call: Call) -> Response:
    wanted = call.request.path_params["country"].upper()
    types = call.found((await inventory.countries(call.deps.pool)).get(wanted))
    return json_response(_render_country(call, wanted, types))


def listing(type: str) -> Handler:
    """The handler of one collection of a country."""

    async def list_(call: Call) -> Response:
        request = call.page
        contains = call.filter("Contains")
        if contains is not None and not CONTAINS.fullmatch(contains):
            raise ApiError(20001, "Contains must be digits, with * for any one")
        async with call.listing() as lists:
            rows = await inventory.search(
                lists,
                country=call.request.path_params["country"].upper(),
                type=type,
                area_code=call.filter("AreaCode"),
                pattern=f"%{contains.replace('*', '_')}%" if contains else None,
                region=call.filter("InRegion"),
                locality=call.filter("InLocality"),
                sms=read_flag("SmsEnabled", call.filter("SmsEnabled")),
                mms=read_flag("MmsEnabled", call.filter("MmsEnabled")),
                voice=read_flag("VoiceEnabled", call.filter("VoiceEnabled")),
                after=f"+{request.key}" if request.key is not None else None,
                back=request.back,
                most=request.size + 1,
            )
        return call.listed(
            "available_phone_numbers", rows, lambda row: row["address"][1:], _render_available
        )

    return list_


def _render_available(row: inventory.InventoryRow) -> dict[str, Any]:
    return {
        "friendly_name": national(row["address"]),
        "phone_number": row["address"],
        "lata": None,
        "rate_center": None,
        "latitude": None,
        "longitude": None,
        "locality": row["locality"] or None,
        "region": row["region"] or None,
        "postal_code": None,
        "iso_country": row["country"],
        "address_requirements": "none",
        "beta": False,
        "capabilities": {"voice": row["voice"], "SMS": row["sms"], "MMS": row["mms"]},
    }


def _snake(path: str) -> str:
    return "toll_free" if path == "TollFree" else path.lower()


# The operator's side -----------------------------------------------------------------------


async def add(call: Call) -> Response:
    """`{"numbers": [{"phone_number": "+1…", "locality": …, …}], "carrier_name": …}`."""
    call.operator_only("the inventory is the operator's")
    given = call.json
    numbers = given.get("numbers")
    if set(given) - FIELDS or not isinstance(numbers, list) or not numbers:
        raise ApiError(20001, "the body must have `numbers`, a list")
    if len(numbers) > MOST_AT_ONCE:
        raise ApiError(20001, f"at most {MOST_AT_ONCE} numbers at once")
    rows = []
    for count, number in enumerate(numbers):
        if count % PORTION == 0:
            await asyncio.sleep(0)  # others have their turn
        rows.append(_row(call, number, given.get("carrier_name")))
    await change(call.deps, lambda connection: inventory.add(connection, rows))
    return json_response({"added": len(rows)}, 201)


async def list_(call: Call) -> Response:
    """What is on offer."""
    call.operator_only("the inventory is the operator's")
    request = call.page
    after = f"+{request.key}" if request.key is not None else None
    async with call.listing() as lists:
        rows = await inventory.search(lists, after=after, back=request.back, most=request.size + 1)
    names = {carrier.id: carrier.name for carrier in call.deps.directory.carriers.values()}

    def render(row: inventory.InventoryRow) -> dict[str, Any]:
        return {
            "phone_number": row["address"],
            "type": row["type"],
            "country": row["country"],
            "locality": row["locality"],
            "region": row["region"],
            "carrier_name": names.get(row["carrier_id"]),
            "sms": row["sms"],
            "mms": row["mms"],
            "voice": row["voice"],
        }

    return call.listed("numbers", rows, lambda row: row["address"][1:], render)


async def remove(call: Call) -> Response:
    call.operator_only("the inventory is the operator's")
    number = call.found(parse_destination("+" + call.request.path_params["number"].lstrip("+")))

    async def work(connection: Connection) -> None:
        if not await inventory.remove(connection, number.e164):
            raise call.missing()

    await change(call.deps, work)
    return gone()


def _row(call: Call, given: Any, carrier_name: Any) -> tuple[Any, ...]:
    """One number of the body as a row. Raises ApiError 20001, 21421."""
    if not isinstance(given, dict) or set(given) - NUMBER_FIELDS:
        raise ApiError(20001, f"a number has the fields {', '.join(sorted(NUMBER_FIELDS))}")
    text = str(given.get("phone_number") or "")
    number = parse_destination(text)
    if number is None:
        raise unreadable(21421, text, f"{text[:40]} is no phone number")
    name = given.get("carrier_name", carrier_name)
    carrier = call.deps.directory.carriers.get(str(name))
    if name is not None and carrier is None:
        raise ApiError(20001, f"there is no carrier named {str(name)[:64]}")
    return (
        number.e164,
        number_type(number),
        number.country or "US",
        number.e164[2:5] if number.calling_code == "1" else None,
        str(given.get("locality") or "")[:100],
        str(given.get("region") or "")[:100],
        carrier.id if carrier is not None else call.deps.default_carrier_id(),
        given.get("sms", True) is True,
        given.get("mms") is True,
        given.get("voice") is True,
    )
