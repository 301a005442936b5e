"""A first account with two numbers and a messaging service, made as any app would make it:
through the API, with the official SDK.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

NAME = "Demo"
NUMBERS = 2
# Numbers that Ofcom keeps for drama, so that they belong to nobody: 07700 900000 to 900999.
FIRST_NUMBER = 447700900100
LAST_NUMBER = 447700900999
NUMBER_TAKEN = 21422
TIMEOUT_S = 20.0


@dataclass(frozen=True, slots=True)
class Provisioned:
    account_sid: str
    auth_token: str
    messaging_service_sid: str
    numbers: tuple[str, ...]


def sdk_client(base_url: str, account_sid: str, auth_token: str) -> Any:
    """The unmodified SDK, pointed at a gateway: one line per product (README, method A)."""
    from twilio.http.http_client import TwilioHttpClient
    from twilio.rest import Client

    client = Client(account_sid, auth_token, http_client=TwilioHttpClient(timeout=TIMEOUT_S))
    for product in ("api", "messaging"):
        getattr(client, product).base_url = f"{base_url}/{product}"
    return client


def provision(base_url: str, account_sid: str, auth_token: str) -> Provisioned:
    """Find the demo's account, numbers and service, or make them. Blocking."""
    main = sdk_client(base_url, account_sid, auth_token)
    accounts = main.api.accounts.list(friendly_name=NAME, status="active")
    account = accounts[0] if accounts else main.api.accounts.create(friendly_name=NAME)
    client = sdk_client(base_url, account.sid, account.auth_token)

    services = [s for s in client.messaging.v1.services.list() if s.friendly_name == NAME]
    service = services[0] if services else client.messaging.v1.services.create(NAME)
    pool = client.messaging.v1.services(service.sid).phone_numbers
    members = {member.phone_number: member for member in pool.list()}
    owned = {number.phone_number: number for number in client.incoming_phone_numbers.list()}
    candidate = FIRST_NUMBER
    while len(members) < NUMBERS and candidate < LAST_NUMBER:
        candidate += 1
        text = f"+{candidate}"
        number = owned.get(text) or _register(main.api.accounts(account.sid), text)
        if number is not None and text not in members:
            members[text] = pool.create(number.sid)
    return Provisioned(account.sid, account.auth_token, service.sid, tuple(sorted(members)))


def _register(account: Any, text: str) -> Any:
    """The number, as the operator gives it to the account; None where another one has it."""
    from twilio.base.exceptions import TwilioRestException

    try:
        return account.incoming_phone_numbers.create(phone_number=text)
    except TwilioRestException as error:
        if error.code == NUMBER_TAKEN:
            return None
        raise
