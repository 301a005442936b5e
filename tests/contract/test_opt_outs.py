"""`/v3/OptOuts`: configurations of Advanced Opt-Out
(docs/spec/twilio-api.md#opt-out-configuration), which the SDK lacks."""

from __future__ import annotations

from typing import Any

from testing import Sdk

from gateway.opt_out.keywords import form as normal_form

OPT_OUTS = "/messaging/v3/OptOuts"


async def made(sdk: Sdk, **form: str) -> dict[str, Any]:
    given = {"FriendlyName": "Ours", "MessagingServiceSid": sdk.service_sid} | form
    status, body = await sdk.operate("POST", OPT_OUTS, data=given)
    assert status == 201, body
    return dict(body)


async def says(sdk: Sdk, method: str, path: str, **request: Any) -> Any:
    status, body = await sdk.operate(method, OPT_OUTS + path, **request)
    assert status == 200, body
    return body


async def refuses(sdk: Sdk, status: int, code: int, method: str, path: str, **request: Any) -> None:
    answer = await sdk.operate(method, OPT_OUTS + path, **request)
    assert (answer[0], answer[1]["code"]) == (status, code), answer


async def test_a_configuration_has_its_life(sdk: Sdk) -> None:
    made_one = await made(sdk)
    sid = made_one["opt_out_sid"]
    assert sid.startswith("OO")
    assert len(sid) == 34
    assert made_one["account_sid"] == sdk.account_sid
    assert made_one["enabled"] is False
    assert await says(sdk, "GET", f"/{sid}") == made_one
    renamed = await says(sdk, "POST", f"/{sid}", data={"FriendlyName": "Theirs"})
    assert renamed["friendly_name"] == "Theirs"
    other, _ = (await made(sdk, FriendlyName="B", MessagingServiceSid=""), None)
    page = await says(sdk, "GET", "?PageSize=1")
    assert [one["opt_out_sid"] for one in page["opt_outs"]] == [sid]
    _, rest = await sdk.operate("GET", page["meta"]["next_page_url"].removeprefix(sdk.base_url))
    assert [one["opt_out_sid"] for one in rest["opt_outs"]] == [other["opt_out_sid"]]
    assert await sdk.operate("DELETE", f"{OPT_OUTS}/{sid}") == (204, None)
    await refuses(sdk, 404, 20404, "GET", f"/{sid}")


async def test_a_service_has_one_and_shows_it(sdk: Sdk) -> None:
    sid = (await made(sdk))["opt_out_sid"]
    form = {"FriendlyName": "Second", "MessagingServiceSid": sdk.service_sid}
    await refuses(sdk, 409, 20409, "POST", "", data=form)
    path = f"/messaging/v1/Services/{sdk.service_sid}"
    assert (await sdk.operate("GET", path))[1]["advanced_opt_out"] == {
        "sid": sid,
        "enabled": False,
    }
    await says(sdk, "POST", f"/{sid}", data={"Enabled": "true"})
    assert (await sdk.operate("GET", path))[1]["advanced_opt_out"]["enabled"] is True


async def test_once_on_only_an_operator_turns_it_off(sdk: Sdk) -> None:
    account = await sdk.call(sdk.client.api.accounts.create)
    user = (account.sid, account.auth_token)
    status, service = await sdk.operate(
        "POST", "/messaging/v1/Services", *user, data={"FriendlyName": "Theirs"}
    )
    assert status == 201
    form = {"FriendlyName": "x", "MessagingServiceSid": service["sid"], "Enabled": "true"}
    status, config = await sdk.operate("POST", OPT_OUTS, *user, data=form)
    assert (status, config["enabled"]) == (201, True)
    path = f"{OPT_OUTS}/{config['opt_out_sid']}"
    for method, given in (("POST", {"Enabled": "false"}), ("DELETE", {})):
        answer = await sdk.operate(method, path, *user, data=given)
        assert (answer[0], answer[1]["code"]) == (403, 20403)
    off = f"/tandem/v1/OptOuts/{config['opt_out_sid']}/Disable"
    assert (await sdk.operate("POST", off, *user, data={}))[0] == 403
    status, disabled = await sdk.operate("POST", off, data={})
    assert (status, disabled["enabled"], disabled["account_sid"]) == (200, False, account.sid)
    assert await sdk.operate("DELETE", path, *user) == (204, None)


async def test_keywords_are_put_whole_or_posted_one_by_one(sdk: Sdk) -> None:
    sid = (await made(sdk))["opt_out_sid"]
    mexico = {"keyword_type": "STOP.SPANISH", "message_type": "MX", "keywords": ["ALTO"]}
    put = await says(sdk, "PUT", f"/{sid}/Keywords", json={"keywords": [mexico]})
    assert put == {"opt_out_sid": sid, "keywords": [mexico | {"reserved": []}]}
    # What is shown may be put back.
    await says(sdk, "PUT", f"/{sid}/Keywords", json={"keywords": put["keywords"]})
    form = [("KeywordType", "STOP.ALL"), ("Keywords", "STOP"), ("Keywords", "BASTA")]
    posted = await says(sdk, "POST", f"/{sid}/Keywords", data=form)
    assert posted["keywords"][1] == {
        "keyword_type": "STOP.ALL",
        "message_type": "ALL",
        "keywords": ["STOP", "BASTA"],
        "reserved": ["STOP"],
    }
    gone = [("KeywordType", "STOP.SPANISH"), ("MessageType", "MX"), ("Keywords", "")]
    left = await says(sdk, "POST", f"/{sid}/Keywords", data=gone)
    assert [one["keyword_type"] for one in left["keywords"]] == ["STOP.ALL"]
    for bad in (
        {"keywords": "ALTO"},
        {"keywords": [mexico, mexico]},
        {"keywords": [mexico | {"colour": "red"}]},
        {"keywords": [mexico | {"message_type": "XX"}]},
        {"keywords": [mexico | {"keyword_type": "STOP.KLINGON"}]},
        {"keywords": [mexico | {"keyword_type": "STOP.ALL", "message_type": "ALL"}]},
        {"messages": []},
    ):
        await refuses(sdk, 400, 20001, "PUT", f"/{sid}/Keywords", json=bad)
    assert await says(sdk, "GET", f"/{sid}/Keywords") == left


async def test_replies_and_countries(sdk: Sdk) -> None:
    sid = (await made(sdk))["opt_out_sid"]
    reply = {"keyword_type": "STOP.SPANISH", "message_type": "MX", "message": "Adiós"}
    put = await says(sdk, "PUT", f"/{sid}/Messages", json={"messages": [reply]})
    assert put["messages"] == [reply]
    form = {"KeywordType": "STOP.ALL", "Message": "Bye"}
    posted = await says(sdk, "POST", f"/{sid}/Messages", data=form)
    assert len(posted["messages"]) == 2
    form["Message"] = ""
    assert (await says(sdk, "POST", f"/{sid}/Messages", data=form))["messages"] == [reply]
    too_long = {"messages": [reply | {"message": "x" * 321}]}
    await refuses(sdk, 400, 20001, "PUT", f"/{sid}/Messages", json=too_long)

    wanted = [{"message_type": "MX", "languages": ["SPANISH"]}]
    put = await says(sdk, "PUT", f"/{sid}/MessageTypes", json={"message_types": wanted})
    assert put["message_types"] == [{"message_type": "ALL", "languages": ["ALL"]}, *wanted]
    form = [("MessageType", "CA"), ("Languages", "FRENCH"), ("Languages", "ENGLISH")]
    posted = await says(sdk, "POST", f"/{sid}/MessageTypes", data=form)
    assert posted["message_types"][1] == {
        "message_type": "CA",
        "languages": ["ENGLISH", "FRENCH"],
    }
    posted = await says(sdk, "POST", f"/{sid}/MessageTypes", data={"MessageType": "CA"})
    assert [one["message_type"] for one in posted["message_types"]] == ["ALL", "MX"]
    await refuses(sdk, 400, 20001, "POST", f"/{sid}/MessageTypes", data={"MessageType": "XX"})


async def test_what_there_is_to_choose_from(sdk: Sdk) -> None:
    languages = await says(sdk, "GET", "/Configurations/Languages")
    assert {"ALL", "SPANISH"} <= set(languages["languages"])
    types = await says(sdk, "GET", "/Configurations/MessageTypes")
    assert {"ALL", "MX", "CA", "US"} <= set(types["message_types"])
    defaults = await says(sdk, "GET", "/DefaultKeywordsMessages")
    assert {default["keyword_type"] for default in defaults["keywords"]} == {
        default["keyword_type"] for default in defaults["messages"]
    }
    stop = next(
        default for default in defaults["keywords"] if default["keyword_type"] == "STOP.ALL"
    )
    assert stop["reserved"] == ["STOP"]
    assert "REVOKE" in stop["keywords"]


async def test_bad_requests_and_strangers(sdk: Sdk) -> None:
    await refuses(sdk, 400, 20001, "POST", "", data={})
    await refuses(sdk, 400, 20001, "POST", "", data={"FriendlyName": "x" * 65})
    await refuses(sdk, 400, 20001, "POST", "", data={"FriendlyName": "x", "Enabled": "true"})
    await made(sdk, FriendlyName="x" * 64)
    stranger = {"FriendlyName": "x", "MessagingServiceSid": "MG" + "0" * 32}
    await refuses(sdk, 404, 21701, "POST", "", data=stranger)
    account = await sdk.call(sdk.client.api.accounts.create)
    [say] = (await says(sdk, "GET", ""))["opt_outs"]
    status, body = await sdk.operate(
        "GET", f"{OPT_OUTS}/{say['opt_out_sid']}", account.sid, account.auth_token
    )
    assert (status, body["code"]) == (404, 20404)


async def test_a_write_of_keywords_normalises_those_that_it_brings(sdk: Sdk) -> None:
    """However many entries there are beside them."""
    countries = (await says(sdk, "GET", "/Configurations/MessageTypes"))["message_types"][1:]
    for number, others in enumerate((3, 200)):
        sid = (await made(sdk, MessagingServiceSid=""))["opt_out_sid"]
        wanted = [
            {
                "keyword_type": "STOP.SPANISH",
                "message_type": country,
                "keywords": [f"ÑANDÚ{number}X{country}", f"ALTO{number}X{country}"],
            }
            for country in countries[:others]
        ]
        put = await says(sdk, "PUT", f"/{sid}/Keywords", json={"keywords": wanted})
        assert len(put["keywords"]) == others
        form = [("KeywordType", "STOP.FRENCH"), ("MessageType", "MX")]
        words = [("Keywords", f"ARRÊT{number}X{word}") for word in range(5)]
        for brought in (5, 0):  # what it said already costs nothing
            before = normal_form.cache_info().misses
            await says(sdk, "POST", f"/{sid}/Keywords", data=[*form, *words])
            assert normal_form.cache_info().misses - before == brought
        before = normal_form.cache_info().misses
        assert len((await says(sdk, "GET", f"/{sid}/Keywords"))["keywords"]) == others + 1
        assert normal_form.cache_info().misses == before
