"""Status callbacks by their layouts: octet for octet what the standard library and the SDK make of
the same parameters, whatever stands in them."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlencode

from hypothesis import example, given
from hypothesis import strategies as st
from twilio.request_validator import RequestValidator

from gateway.webhooks.callback_form import API_VERSION, FIELDS, CallbackValues, _layout
from gateway.webhooks.signature import Parameters, sign, signature_of, signed_url

TOKEN = "gateway-test-token"
URLS = st.sampled_from(
    [
        "https://hooks.example.org:8443/sms?tenant=7",
        "http://user:secret@example.org/status#rc=2",
        "http://example.org/{0}/%s?{1}={}",
    ]
)
TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
# As a place is written, in this way of filling and in others.
MARKS = st.sampled_from(["{0}", "{4}", "{}", "{", "%s", "%", "&To=", "+44", "+", "++4", "SmppTlv."])
VALUE = st.one_of(TEXT, MARKS)
CARRIERS = st.dictionaries(TEXT.map(lambda name: f"SmppTlv.{name}"), VALUE, max_size=4)


def parameters_of(values: CallbackValues) -> Parameters:
    """The parameters of an event, one by one (docs/spec/twilio-api.md#status-callbacks)."""
    pairs = [
        ("ApiVersion", API_VERSION),
        ("AccountSid", values.account_sid),
        ("MessageSid", values.message_sid),
        ("SmsSid", values.message_sid),
        ("MessageStatus", values.status),
        ("SmsStatus", values.status),
        ("To", values.recipient),
    ]
    if values.sender is not None:
        pairs.append(("From", values.sender))
    if values.service_sid is not None:
        pairs.append(("MessagingServiceSid", values.service_sid))
    if values.error_code is not None:
        pairs.append(("ErrorCode", values.error_code))
    if values.done_date is not None:
        pairs.append(("RawDlrDoneDate", values.done_date))
    pairs.extend(values.carriers)
    if values.number is not None and values.time is not None:
        pairs += [("EventNumber", values.number), ("EventTimestamp", values.time)]
    return pairs


@st.composite
def events(draw: st.DrawFn) -> CallbackValues:
    numbered = draw(st.booleans())
    return CallbackValues(
        API_VERSION,
        draw(st.from_regex(r"AC[0-9a-f]{32}", fullmatch=True)),
        draw(st.from_regex(r"(SM|MM)[0-9a-f]{32}", fullmatch=True)),
        draw(st.sampled_from(["queued", "sent", "delivered", "undelivered", "failed"])),
        draw(st.one_of(VALUE, st.from_regex(r"\+[0-9]{7,15}", fullmatch=True))),
        draw(st.none() | VALUE),
        draw(st.none() | st.from_regex(r"MG[0-9a-f]{32}", fullmatch=True)),
        draw(st.none() | st.from_regex(r"[1-9][0-9]{4}", fullmatch=True)),
        draw(st.none() | VALUE),
        list(draw(CARRIERS).items()),
        str(draw(st.integers(1, 9))) if numbered else None,
        draw(VALUE) if numbered else None,
    )


EXAMPLE = CallbackValues(
    *(API_VERSION, "AC1", "SM1", "sent", "{5}{0}%s", "{4}", None, None, "{9}"),
    *([("SmppTlv.{0}", "{1}")], "1", "{11}"),
)


@given(events(), URLS)
@example(EXAMPLE, "http://example.org/{2}")
def test_an_event_is_told_as_its_parameters_would_be(values: CallbackValues, url: str) -> None:
    parameters = parameters_of(values)
    assert values.parameters == parameters
    form, text = values.laid_out()
    assert form == urlencode(parameters)
    signature = signature_of(TOKEN, signed_url(url) + text)
    assert signature == sign(TOKEN, url, parameters)
    given = dict(parse_qsl(form, keep_blank_values=True))
    assert RequestValidator(TOKEN).validate(signed_url(url), given, signature)


@given(events())
def test_no_event_adds_a_layout(values: CallbackValues) -> None:
    """They are as many as there are choices, whatever accounts send."""
    values.laid_out()
    assert _layout.cache_info().currsize <= 2**6


def test_each_value_has_one_place() -> None:
    assert {place for _, place in FIELDS} == set(range(len(CallbackValues._fields)))
    assert len({name for name, _ in FIELDS}) == len(FIELDS)
