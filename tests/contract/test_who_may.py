"""Who may do what: every operation of every route, with every kind of credential.

`ROWS` says of each route whose it is: `own` (whoever has an account, for that account), `manager`
(an account's token or Main key, which a Standard key is not), `operator` (a parent account's token
or Main key). A route without a row fails the first test.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import aiohttp
import pytest
from testing import CAMPAIGN, NUMBERS, GatewayUnderTest, Sdk, basic, sdk_client

from gateway.api.routes import RESOURCES

_ACCOUNT = "/api/2010-04-01/Accounts/{account}"
_SERVICE = "/messaging/v1/Services/{service}"
_CHAT = "/conversations/v1/Conversations/{conversation}"

# Route → operations by whose they are; those that are not named are everybody's own.
ROWS: dict[str, dict[str, str]] = {
    "/api/2010-04-01/Accounts.json": {"manager": "GET", "operator": "POST"},
    "/api/2010-04-01/Accounts/{target}.json": {"manager": "GET POST"},
    f"{_ACCOUNT}/Balance.json": {},
    f"{_ACCOUNT}/Keys.json": {"manager": "GET POST"},
    f"{_ACCOUNT}/Keys/{{sid}}.json": {"manager": "GET POST DELETE"},
    "/accounts/v1/AuthTokens/Secondary": {"manager": "POST DELETE"},
    "/accounts/v1/AuthTokens/Promote": {"manager": "POST"},
    f"{_ACCOUNT}/SMS/ShortCodes.json": {"operator": "POST"},
    f"{_ACCOUNT}/SMS/ShortCodes/{{sid}}.json": {"operator": "DELETE"},
    "/tandem/v1/LinkDomains": {"operator": "POST"},
    "/tandem/v1/LinkDomains/{domain}": {"operator": "DELETE"},
    "/tandem/v1/OptOuts/Recipients": {"operator": "GET POST"},
    "/tandem/v1/OptOuts/Recipients/{recipient}": {"operator": "GET DELETE"},
    "/tandem/v1/OptOuts/Log": {"operator": "GET"},
    "/tandem/v1/OptOuts/Import": {"operator": "POST"},
    "/tandem/v1/OptOuts/Export": {"operator": "GET"},
    "/tandem/v1/OptOuts/{sid}/Disable": {"operator": "POST"},
    "/tandem/v1/ChannelSenders": {"operator": "POST"},
    "/tandem/v1/ChannelSenders/{sid}": {"operator": "DELETE"},
    "/tandem/v1/Deactivations": {"operator": "POST"},
    "/tandem/v1/TestCredentials": {"manager": "GET POST"},
    "/tandem/v1/Inventory": {"operator": "GET POST"},
    "/tandem/v1/Inventory/{number}": {"operator": "DELETE"},
    "/tandem/v1/Tables": {"operator": "GET"},
    "/tandem/v1/Tables/{table}": {"operator": "GET POST PUT DELETE"},
    "/tandem/v1/GeoPermissions": {"manager": "POST"},
    "/tandem/v1/Carriers": {"operator": "GET POST"},
    "/tandem/v1/Carriers/{carrier}": {"operator": "GET POST DELETE"},
    "/tandem/v1/Carriers/{carrier}/Deliveries": {"operator": "GET"},
}
OWN = (
    *(f"{_ACCOUNT}/Applications.json", f"{_ACCOUNT}/Applications/{{sid}}.json"),
    *(f"{_ACCOUNT}/Messages.json", f"{_ACCOUNT}/Webhooks/Replay.json"),
    *(f"{_ACCOUNT}/Messages/DryRun.json", f"{_ACCOUNT}/Messages/{{sid}}/Explain.json"),
    *(f"{_ACCOUNT}/Messages/{{sid}}.json", f"{_ACCOUNT}/Messages/{{sid}}/Feedback.json"),
    f"{_ACCOUNT}/Messages/{{sid}}/Media.json",
    f"{_ACCOUNT}/Messages/{{sid}}/Media/{{media}}.json",
    f"{_ACCOUNT}/Messages/{{sid}}/Media/{{media}}",
    f"{_ACCOUNT}/IncomingPhoneNumbers.json",
    *(f"{_ACCOUNT}/IncomingPhoneNumbers/{kind}.json" for kind in ("Local", "Mobile")),
    f"{_ACCOUNT}/IncomingPhoneNumbers/TollFree.json",
    f"{_ACCOUNT}/IncomingPhoneNumbers/{{sid}}.json",
    f"{_ACCOUNT}/AvailablePhoneNumbers.json",
    f"{_ACCOUNT}/AvailablePhoneNumbers/{{country}}.json",
    *(
        f"{_ACCOUNT}/AvailablePhoneNumbers/{{country}}/{kind}.json"
        for kind in ("Local", "Mobile", "TollFree")
    ),
    *("/messaging/v1/Services", "/messaging/v1/Services/Usecases", _SERVICE),
    *(
        f"{_SERVICE}/{kind}{one}"
        for kind in ("PhoneNumbers", "ShortCodes", "AlphaSenders")
        for one in ("", "/{sid}")
    ),
    *(
        f"{_SERVICE}/{kind}{one}"
        for kind in ("DestinationAlphaSenders", "ChannelSenders")
        for one in ("", "/{sid}")
    ),
    "/messaging/v1/a2p/BrandRegistrations",
    "/messaging/v1/Tollfree/Verifications",
    *(f"{_SERVICE}/StickySenders", f"{_SERVICE}/StickySenders/Move"),
    f"{_SERVICE}/StickySenders/{{recipient}}",
    f"{_SERVICE}/Messages",
    *(f"{_SERVICE}/Compliance/Usa2p", f"{_SERVICE}/Compliance/Usa2p/Usecases"),
    f"{_SERVICE}/Compliance/Usa2p/{{sid}}",
    "/messaging/v1/LinkShortening/Domains/{domain}/Config",
    "/messaging/v1/LinkShortening/Domains/{domain}/MessagingServices/{service}",
    "/messaging/v1/LinkShortening/MessagingServices/{service}/Domain",
    "/messaging/v1/LinkShortening/MessagingService/{service}/DomainConfig",
    *("/messaging/v3/OptOuts", "/messaging/v3/OptOuts/{sid}"),
    "/messaging/v3/OptOuts/DefaultKeywordsMessages",
    *(f"/messaging/v3/OptOuts/Configurations/{kind}" for kind in ("Languages",)),
    "/messaging/v3/OptOuts/Configurations/MessageTypes",
    *(f"/messaging/v3/OptOuts/{{sid}}/{kind}" for kind in ("Keywords", "Messages", "MessageTypes")),
    *("/accounts/v1/Consents/Bulk", "/accounts/v1/Contacts/Bulk"),
    *("/monitor/v1/Alerts", "/monitor/v1/Alerts/{sid}", "/messaging/v1/Deactivations"),
    "/accounts/v1/SafeList/Numbers",
    *("/content/v1/Content", "/content/v1/Content/{sid}"),
    *("/tandem/v1/SenderRegistrations", "/tandem/v1/SenderRegistrations/{sid}"),
    *("/comms/v1/Messages", "/comms/v1/Messages/{message}"),
    "/comms/v1/Messages/{message}/Receipts",
    "/comms/v1/Messages/Operations/{operation}",
    *(f"/comms/v1/Messages/Operations/{{operation}}/{kind}" for kind in ("Errors",)),
    "/comms/v1/Messages/Operations/{operation}/Cancel",
    "/preview/v1/Messages",
    *("/conversations/v1/Configuration", "/conversations/v1/Configuration/Webhooks"),
    "/conversations/v1/Configuration/Addresses",
    "/conversations/v1/Configuration/Addresses/{sid}",
    *("/conversations/v1/Services", "/conversations/v1/Services/{sid}"),
    "/conversations/v1/ParticipantConversations",
    *("/conversations/v1/Conversations", _CHAT),
    *(f"{_CHAT}/Participants", f"{_CHAT}/Participants/{{sid}}"),
    *(f"{_CHAT}/Messages", f"{_CHAT}/Messages/{{message}}"),
    f"{_CHAT}/Messages/{{message}}/Receipts",
    f"{_CHAT}/Messages/{{message}}/Receipts/{{sid}}",
    *(f"{_CHAT}/Webhooks", f"{_CHAT}/Webhooks/{{sid}}"),
)
ROWS.update((path, {}) for path in OWN)


class Who(NamedTuple):
    """A kind of credential, and what it may do."""

    name: str
    user: str
    secret: str
    account: str
    manages: bool
    operates: bool


def whose(path: str, method: str) -> str:
    row = ROWS[path]
    return next((who for who, methods in row.items() if method in methods.split()), "own")


def operations() -> Iterator[tuple[str, str]]:
    for resource in RESOURCES:
        for method in resource.handlers:
            yield method, resource.path


def test_every_route_has_a_row_and_every_row_a_route() -> None:
    assert {path for _, path in operations()} == set(ROWS)


async def keyed(sdk: Sdk, account: str, user: str, secret: str, main: bool) -> tuple[str, str]:
    path = f"/2010-04-01/Accounts/{account}/Keys.json"
    form = {"FriendlyName": "x", **({"KeyType": "main"} if main else {})}
    status, key = await sdk.operate("POST", path, user, secret, data=form)
    assert status == 201, key
    return key["sid"], key["secret"]


class World(NamedTuple):
    everybody: list[Who]
    values: dict[str, str]  # of the parent's, for the places in paths


@pytest.fixture
async def world(gateway: GatewayUnderTest, sdk: Sdk) -> World:
    parent, token = sdk.account_sid, sdk.auth_token
    child = await sdk.call(sdk.client.api.v2010.accounts.create, friendly_name="customer")
    everybody = []
    for name, account, secret, operates in (
        ("parent", parent, token, True),
        ("customer", child.sid, child.auth_token, False),
    ):
        everybody.append(Who(f"{name}'s token", account, secret, account, True, operates))
        for main in (True, False):
            user, key = await keyed(sdk, account, account, secret, main)
            kind = "Main" if main else "Standard"
            who = Who(f"{name}'s {kind} key", user, key, account, main, operates and main)
            everybody.append(who)
    message = await sdk.send()
    await sdk.reaches(message.sid, "delivered")
    status, domain = await sdk.operate(
        "POST", "/tandem/v1/LinkDomains", data={"DomainName": "go.example.com"}
    )
    assert status == 201, domain
    conversation = await sdk.call(sdk.client.conversations.v1.conversations.create)
    [number] = await sdk.call(sdk.client.incoming_phone_numbers.list, phone_number=NUMBERS[0])
    values = {
        "account": parent,
        "target": parent,
        "service": sdk.service_sid,
        "domain": domain["sid"],
        "conversation": conversation.sid,
        "carrier": "simulator",
        "table": "alpha_sender_countries",
        "recipient": "+441632960675",
        "country": "GB",
        "number": NUMBERS[0],
        "IncomingPhoneNumbers": number.sid,
        "Messages": message.sid,
    }
    return World(everybody, values)


def filled(path: str, values: dict[str, str], account: str | None = None) -> str:
    """The path with the parent's resources, or those of `account` for its own place."""
    words = path.split("/")
    for at, word in enumerate(words):
        if "{" not in word:
            continue
        name = word[word.index("{") + 1 : word.index("}")]
        value = values.get(name) or values.get(words[at - 1]) or "XX" + "0" * 32
        if name in ("account", "target") and account is not None:
            value = account
        words[at] = word.replace("{" + name + "}", value)
    return "/".join(words)


async def asked(
    http: aiohttp.ClientSession, url: str, method: str, path: str, who: Who | None
) -> tuple[int, int]:
    """Status and error code of an operation that says nothing: no body that could change much."""
    headers = {"Authorization": basic(who.user, who.secret)} if who is not None else {}
    json = path.startswith(("/comms", "/preview", "/content", "/tandem/v1/Carriers"))
    if json or path == "/tandem/v1/ChannelSenders":
        headers["Content-Type"] = "application/json"
        data = b"{}"
    else:
        headers["Content-Type"] = "application/x-www-form-urlencoded"
        data = b""
    async with http.request(
        method,
        url + path,
        headers=headers,
        data=data if method in ("POST", "PUT") else None,
        allow_redirects=False,
    ) as response:
        body: Any = {}
        if response.status >= 400:
            body = await response.json()
        return response.status, body.get("code", 0)


# What would take the ground from under the test: the account's own tokens, and its state.
LAST = ("/accounts/v1/AuthTokens", "/api/2010-04-01/Accounts/{target}")
REFUSED = {(403, 20403), (401, 20003), (404, 20404)}


async def test_each_operation_is_whose_the_table_says(
    gateway: GatewayUnderTest, world: World
) -> None:
    wrong: list[str] = []
    async with aiohttp.ClientSession() as http:
        for method, path in operations():
            kind = whose(path, method)
            url = filled(path, world.values)
            status, _ = await asked(http, gateway.base_url, method, url, None)
            if status != 401:
                wrong.append(f"nobody: {method} {path}: {status}")
            if method in ("DELETE", "PUT") or path.startswith(LAST):
                rest = [who for who in world.everybody if not who.operates]
            else:
                rest = world.everybody
            for who in rest:
                own = filled(path, world.values, who.account)
                found = await asked(http, gateway.base_url, method, own, who)
                needs = {"operator": who.operates, "manager": who.manages, "own": True}[kind]
                if kind == "manager" and path.startswith(LAST) and who.manages:
                    continue  # it would change its own credentials
                if not needs and found not in REFUSED:
                    wrong.append(f"{who.name}: {method} {path} is the {kind}'s: {found}")
                if needs and found == (403, 20403):
                    wrong.append(f"{who.name}: {method} {path} is its own: {found}")
    assert not wrong, "\n".join(wrong)


async def test_nobody_acts_on_anothers_resources(gateway: GatewayUnderTest, world: World) -> None:
    """Of the parent's resources a customer sees none; nor does the parent's Standard key of his."""
    places = ("{account}", "{service}", "{conversation}", "{domain}", "{target}")
    wrong: list[str] = []
    async with aiohttp.ClientSession() as http:
        for method, path in operations():
            if not any(place in path for place in places):
                continue
            for who in world.everybody:
                if who.account == world.values["account"]:
                    continue
                url = filled(path, world.values)
                found = await asked(http, gateway.base_url, method, url, who)
                if found[0] not in (401, 403, 404):
                    wrong.append(f"{who.name}: {method} {path}: {found}")
            standard = next(who for who in world.everybody if who.name == "parent's Standard key")
            customer = next(who for who in world.everybody if who.name == "customer's token")
            if "{account}" in path:
                url = filled(path, world.values, customer.account)
                found = await asked(http, gateway.base_url, method, url, standard)
                if found[0] not in (401, 403):
                    wrong.append(f"{standard.name}: {method} {path} of a customer: {found}")
    assert not wrong, "\n".join(wrong)


async def test_a_standard_key_of_the_operators_has_nothing_of_the_operators(
    gateway: GatewayUnderTest, sdk: Sdk, world: World
) -> None:
    """The three that were found: another's link domain, a number in no inventory, its alerts."""
    standard = next(who for who in world.everybody if who.name == "parent's Standard key")
    customer = next(who for who in world.everybody if who.name == "customer's token")
    given = {"DomainName": "go2.example.com", "AccountSid": customer.account}
    status, domain = await sdk.operate("POST", "/tandem/v1/LinkDomains", data=given)
    assert status == 201
    path = f"/messaging/v1/LinkShortening/Domains/{domain['sid']}/Config"
    form = {"FallbackUrl": "https://evil.example/"}
    mine = standard.user, standard.secret
    assert (await sdk.operate("POST", path, *mine, data=form))[0] == 404
    status, listed = await sdk.operate("GET", "/tandem/v1/LinkDomains", *mine)
    assert domain["sid"] not in str(listed)
    status, _ = await sdk.operate("POST", path, data=form)
    assert status == 200  # with the token
    numbers = f"/2010-04-01/Accounts/{sdk.account_sid}/IncomingPhoneNumbers.json"
    form = {"PhoneNumber": "+447700900889"}
    status, answer = await sdk.operate("POST", numbers, *mine, data=form)
    assert (status, answer["code"]) == (400, 21422)
    gateway.pipeline.runtime.alerts.alert(99001, "of the operator's")
    gateway.pipeline.runtime.alerts.alert(12100, "of the account", account_id=1)
    while "12100" not in str(await sdk.operate("GET", "/monitor/v1/Alerts")):
        pass
    for credential, seen in ((mine, False), (("", ""), True)):
        _, alerts = await sdk.operate("GET", "/monitor/v1/Alerts", *credential)
        codes = {alert["error_code"] for alert in alerts["alerts"]}
        assert "12100" in codes
        assert ("99001" in codes) is seen


async def test_of_a_customers_registration_the_operator_says_what_became(
    sdk: Sdk, world: World
) -> None:
    """By SID, with the token or a Main key; another customer doesn't see it."""
    path = "/tandem/v1/SenderRegistrations"
    customers = [who for who in world.everybody if who.name.startswith("customer")]
    customer = customers[0]
    draft = {"AlphaSender": "Acme", "IsoCountryCode": "AE"}
    status, made = await sdk.operate("POST", path, customer.user, customer.secret, data=draft)
    assert (status, made["status"], made["account_sid"]) == (201, "draft", customer.account)
    other = await sdk.call(sdk.client.api.v2010.accounts.create, friendly_name="another")
    stranger = Who("another customer", other.sid, other.auth_token, other.sid, True, False)
    for who in (*world.everybody, stranger):
        mine = who.user, who.secret
        sees = who.operates or who in customers
        status, shown = await sdk.operate("GET", f"{path}/{made['sid']}", *mine)
        assert status == (200 if sees else 404), who.name
        status, listed = await sdk.operate("GET", path, *mine)
        found = [registration["sid"] for registration in listed["sender_registrations"]]
        assert found == ([made["sid"]] if sees else []), who.name
        form = {"Status": "approved"}
        status, shown = await sdk.operate("POST", f"{path}/{made['sid']}", *mine, data=form)
        assert status == (200 if who.operates else 403 if sees else 404), who.name
        if who.operates:
            assert (shown["status"], shown["account_sid"]) == ("approved", customer.account)
            status, shown = await sdk.operate(
                "POST", f"{path}/{made['sid']}", *mine, data={"Status": "draft"}
            )
            assert status == 200


async def test_the_operator_registers_and_lists_for_an_account(sdk: Sdk, world: World) -> None:
    path = "/tandem/v1/SenderRegistrations"
    customer = next(who for who in world.everybody if who.name == "customer's token")
    standard = next(who for who in world.everybody if who.name == "parent's Standard key")

    async def sids(query: str, *mine: str) -> list[str]:
        status, listed = await sdk.operate("GET", path + query, *mine)
        assert status == 200, listed
        return [registration["sid"] for registration in listed["sender_registrations"]]

    made = []
    for more in ({}, {"AccountSid": customer.account, "Status": "approved"}):
        form = {"AlphaSender": "Acme", "IsoCountryCode": "AE", **more}
        status, registration = await sdk.operate("POST", path, data=form)
        assert status == 201, registration
        made.append(registration["sid"])
    assert registration["account_sid"] == customer.account
    assert await sids("") == made
    assert await sids(f"?AccountSid={sdk.account_sid}") == made[:1]
    assert await sids(f"?AccountSid={customer.account}") == made[1:]
    assert await sids("", customer.user, customer.secret) == made[1:]
    for account, who in (
        ("AC" + "f" * 32, ("", "")),
        (customer.account, (standard.user, standard.secret)),
        (sdk.account_sid, (customer.user, customer.secret)),
    ):
        status, body = await sdk.operate("GET", f"{path}?AccountSid={account}", *who)
        assert (status, body["code"]) == (400, 20001)
        form = {"AlphaSender": "Other", "IsoCountryCode": "AE", "AccountSid": account}
        status, body = await sdk.operate("POST", path, *who, data=form)
        assert (status, body["code"]) == (400, 20001)


async def test_the_operator_closes_a_country_for_the_account_that_he_names(
    sdk: Sdk, world: World
) -> None:
    path = "/tandem/v1/GeoPermissions"
    customer = next(who for who in world.everybody if who.name == "customer's token")
    theirs = customer.user, customer.secret
    form = {"IsoCountryCode": "FR", "Enabled": "false", "AccountSid": customer.account}
    closed = {"account_sid": customer.account, "closed_countries": ["FR"]}
    assert await sdk.operate("POST", path, data=form) == (200, closed)
    assert await sdk.operate("GET", f"{path}?AccountSid={customer.account}") == (200, closed)
    assert await sdk.operate("GET", path, *theirs) == (200, closed)
    own = {"account_sid": sdk.account_sid, "closed_countries": []}
    assert await sdk.operate("GET", path) == (200, own)
    form["AccountSid"] = sdk.account_sid
    for status, body in (
        await sdk.operate("POST", path, *theirs, data=form),
        await sdk.operate("GET", f"{path}?AccountSid={sdk.account_sid}", *theirs),
    ):
        assert (status, body["code"]) == (400, 20001)
    assert await sdk.operate("GET", path) == (200, own)


async def test_what_came_of_a_customers_campaign_is_the_operators_to_say(
    sdk: Sdk, world: World
) -> None:
    customer = next(who for who in world.everybody if who.name == "customer's token")
    other = await sdk.call(sdk.client.api.v2010.accounts.create, friendly_name="another")
    client = sdk_client(sdk.base_url, customer.user, customer.secret)
    service = await sdk.call(client.messaging.v1.services.create, "Theirs")
    campaigns = client.messaging.v1.services(service.sid).us_app_to_person
    made = await sdk.call(campaigns.create, **CAMPAIGN)
    path = f"/messaging/v1/Services/{service.sid}/Compliance/Usa2p"
    form = {"CampaignStatus": "VERIFIED", "CampaignMps": "4.5"}
    for who in (*world.everybody, Who("another", other.sid, other.auth_token, "", True, False)):
        mine = who.user, who.secret
        sees = who.operates or who.account == customer.account
        status, _ = await sdk.operate("GET", f"{path}/{made.sid}", *mine)
        assert status == (200 if sees else 404), who.name
        assert (await sdk.operate("GET", path, *mine))[0] == status, who.name
        status, body = await sdk.operate("POST", f"{path}/{made.sid}", *mine, data=form)
        assert status == (200 if who.operates else 403 if sees else 404), who.name
        if who.operates:
            assert (body["account_sid"], body["mps"]) == (customer.account, 4.5)
    assert (await sdk.call(campaigns(made.sid).fetch)).campaign_status == "VERIFIED"
