"""Signatures: the vectors of docs/spec/twilio-api.md#webhook-signature, and the SDK's own
validator."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twilio.request_validator import RequestValidator

from gateway.webhooks.signature import sign, signed_url

TOKEN = "gateway-test-token"
URL = "https://hooks.example.org:8443/sms/in?tenant=7"
FORM = [
    ("MessageSid", "SM" + "0" * 32),
    ("From", "+15005550101"),
    ("To", "+15005550102"),
    ("Body", "héllo & 1+1=2"),
    ("NumMedia", "0"),
]


def test_the_published_vectors() -> None:
    assert sign(TOKEN, URL, FORM) == "T9Beuw3CugRUN6xGbe8pSR0kWMs="
    get = "https://hooks.example.org/sms/in?tenant=7&Body=hi&From=%2B15005550101"
    assert sign(TOKEN, get) == "cWEoXbiRlMvlXgrGbs1nRpmtoNM="


def test_userinfo_and_fragment_are_not_signed() -> None:
    assert signed_url("https://user:pass@a.org/x#rc=2&rp=all") == "https://a.org/x"
    assert signed_url("https://a.org:443/x?y=1") == "https://a.org:443/x?y=1"


@given(st.dictionaries(st.text(min_size=1), st.text(), max_size=8), st.text(min_size=1))
def test_the_sdk_accepts_every_signature(form: dict[str, str], token: str) -> None:
    url = "https://example.org/status"
    assert RequestValidator(token).validate(url, form, sign(token, url, list(form.items())))
