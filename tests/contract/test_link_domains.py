"""Domains of short links: made by the operator, tied and configured through the SDK."""

from __future__ import annotations

from typing import Any

import pytest
from testing import NUMBERS, TO, Sdk

from gateway.api.messages import create_message

DOMAINS = "/tandem/v1/LinkDomains"


async def make_domain(sdk: Sdk, name: str = "go.example", **more: str) -> str:
    status, body = await sdk.operate("POST", DOMAINS, data={"DomainName": name, **more})
    assert status == 201, body
    return str(body["sid"])


async def test_the_operator_makes_lists_and_deletes_domains(sdk: Sdk) -> None:
    sid = await make_domain(sdk, "Go.Example:8443", FallbackUrl="https://shop.example/")
    assert sid.startswith("DN")
    _, body = await sdk.operate("GET", f"{DOMAINS}/{sid}")
    assert body["domain_name"] == "go.example:8443"
    assert body["fallback_url"] == "https://shop.example/"
    assert (body["callback_url"], body["messaging_service_sids"]) == (None, [])
    _, body = await sdk.operate("GET", DOMAINS)
    assert [one["sid"] for one in body["domains"]] == [sid]
    again = {"DomainName": "go.example:8443"}
    status, body = await sdk.operate("POST", DOMAINS, data=again)
    assert (status, body["code"]) == (409, 20409)
    for name in ("", "-a.example", "https://a.example", "a.example/x", "a" * 254):
        status, body = await sdk.operate("POST", DOMAINS, data={"DomainName": name})
        assert (status, body["code"]) == (400, 20001), name
    for field, code in (("FallbackUrl", 30122), ("CallbackUrl", 21402)):
        form = {"DomainName": "b.example", field: "nonsense"}
        status, body = await sdk.operate("POST", DOMAINS, data=form)
        assert (status, body["code"]) == (400, code)
    assert (await sdk.operate("DELETE", f"{DOMAINS}/{sid}"))[0] == 204
    assert (await sdk.operate("GET", f"{DOMAINS}/{sid}"))[0] == 404


async def test_a_subaccount_has_its_own_domains_and_makes_none(sdk: Sdk) -> None:
    child = await sdk.call(sdk.client.api.v2010.accounts.create, friendly_name="child")
    own = await make_domain(sdk)
    theirs = await make_domain(sdk, "theirs.example", AccountSid=child.sid)
    credentials = {"user": child.sid, "secret": child.auth_token}
    _, body = await sdk.operate("GET", DOMAINS, **credentials)
    assert [one["sid"] for one in body["domains"]] == [theirs]
    assert (await sdk.operate("GET", f"{DOMAINS}/{own}", **credentials))[0] == 404
    status, body = await sdk.operate(
        "POST", DOMAINS, data={"DomainName": "mine.example"}, **credentials
    )
    assert (status, body["code"]) == (403, 20403)
    # A service has a domain of its own account only.
    tie = sdk.client.messaging.v1.linkshortening_messaging_service(theirs, sdk.service_sid)
    await sdk.refused(20404, 404, tie.create)


async def test_a_domain_is_configured_and_tied_to_services(sdk: Sdk) -> None:
    sid = await make_domain(sdk)
    v1: Any = sdk.client.messaging.v1
    config = v1.domain_config(sid)
    assert (await sdk.call(config.fetch)).callback_url is None
    changed = await sdk.call(
        config.update,
        fallback_url="https://shop.example/",
        callback_url="https://app.example/clicks",
        continue_on_failure=True,
        disable_https=True,
    )
    assert (changed.domain_sid, changed.fallback_url) == (sid, "https://shop.example/")
    assert (changed.continue_on_failure, changed.disable_https) == (True, True)
    assert changed.config_sid == (await sdk.call(config.fetch)).config_sid
    await sdk.refused(30122, 400, config.update, fallback_url="nonsense")
    assert (await sdk.call(config.update, fallback_url="")).fallback_url is None

    tie = v1.linkshortening_messaging_service(sid, sdk.service_sid)
    association = v1.linkshortening_messaging_service_domain_association(sdk.service_sid)
    of_service = v1.domain_config_messaging_service(sdk.service_sid)
    for call in (association.fetch, of_service.fetch, tie.delete):
        await sdk.refused(20404, 404, call)
    tied = await sdk.call(tie.create)
    assert (tied.domain_sid, tied.messaging_service_sid) == (sid, sdk.service_sid)
    path = "/messaging" + tied.url.partition("/messaging")[2]
    assert (await sdk.operate("GET", path))[1]["url"] == tied.url
    assert (await sdk.call(association.fetch)).domain_sid == sid
    seen = await sdk.call(of_service.fetch)
    assert (seen.domain_sid, seen.callback_url) == (sid, "https://app.example/clicks")
    assert await sdk.call(tie.delete)
    assert (await sdk.operate("GET", path))[0] == 404
    await sdk.refused(20404, 404, association.fetch)
    await sdk.refused(20404, 404, v1.domain_config("DN" + "0" * 32).fetch)
    await sdk.refused(20404, 404, v1.domain_certs(sid).fetch)


async def test_links_are_shortened_for_a_service_with_a_domain_only(
    sdk: Sdk, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = sdk.client.messages.create
    named = {"to": TO, "body": "https://a.example", "shorten_urls": True}
    await sdk.refused(30124, 400, create, from_=NUMBERS[0], **named)
    await sdk.refused(30106, 400, create, messaging_service_sid=sdk.service_sid, **named)
    sid = await make_domain(sdk)
    tie = sdk.client.messaging.v1.linkshortening_messaging_service(sid, sdk.service_sid)
    await sdk.call(tie.create)
    await sdk.call(create, messaging_service_sid=sdk.service_sid, **named)
    # The limit is that of the text as it was given
    # (docs/spec/messaging-services.md#smart-encoding): a link may grow.
    in_service = {"to": TO, "messaging_service_sid": sdk.service_sid, "shorten_urls": True}
    longest = "x" * (1600 - 9) + " http://a"
    await sdk.refused(21617, 400, create, body="x" + longest, **in_service)
    message = await sdk.call(create, body=longest, **in_service)
    sent = await sdk.reaches(message.sid, "delivered")
    assert len(sent.body) > 1600
    # All parts together hold so much, and no more.
    monkeypatch.setattr(create_message, "SENT_LIMIT", len(sent.body))
    await sdk.call(create, body=longest, **in_service)
    monkeypatch.setattr(create_message, "SENT_LIMIT", len(sent.body) - 1)
    await sdk.refused(21617, 400, create, body=longest, **in_service)
    # The domain goes: the service has none.
    assert (await sdk.operate("DELETE", f"{DOMAINS}/{sid}"))[0] == 204
    await sdk.refused(30106, 400, create, messaging_service_sid=sdk.service_sid, **named)
