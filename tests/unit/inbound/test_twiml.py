"""TwiML: what is run, what is skipped with a warning, what is refused."""

from __future__ import annotations

from contextlib import suppress
from encodings.aliases import aliases

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twilio.twiml.messaging_response import MessagingResponse

from gateway.inbound.twiml import Document, MessageVerb, Redirect, TwimlError, outline, parse


def xml(text: str, content_type: str = "text/xml") -> Document:
    return parse(200, content_type, text.encode())


def codes(document: Document) -> list[int]:
    return [warning.code for warning in document.warnings]


def refused(text: str | bytes, content_type: str = "text/xml", status: int = 200) -> int:
    body = text.encode() if isinstance(text, str) else text
    with pytest.raises(TwimlError) as caught:
        parse(status, content_type, body)
    return caught.value.code


def test_the_sdks_own_output_is_read() -> None:
    response = MessagingResponse()
    message = response.message(
        to="+15005550001", from_="+15005550002", action="/done", method="GET"
    )
    message.body("Hello & ")
    message.body("goodbye")
    message.media("https://app.example/a.png")
    response.message("plain", status_callback="/status")
    response.redirect("/more", method="GET")
    assert xml(str(response)) == Document(
        (
            MessageVerb(
                "Hello & goodbye",
                ("https://app.example/a.png",),
                "+15005550001",
                "+15005550002",
                "/done",
            ),
            MessageVerb("plain", callback="/status"),
            Redirect("/more", "GET"),
        )
    )


def test_an_empty_response_says_nothing() -> None:
    assert xml("<Response/>") == Document()
    assert xml("") == Document()
    assert xml(" \n ") == Document()
    assert parse(204, "", b"") == Document()
    assert parse(200, "", b"") == Document()


@pytest.mark.parametrize("kind", ["text/xml", "application/xml", "text/html", "TEXT/XML; a=b"])
def test_the_types_that_are_run(kind: str) -> None:
    assert xml("<Response><Message>hi</Message></Response>", kind).verbs == (MessageVerb("hi"),)


def test_plain_text_is_sent_back() -> None:
    assert xml(" <b>hi\n", "text/plain; charset=utf-8").verbs == (MessageVerb("<b>hi"),)


@pytest.mark.parametrize("kind", ["application/json", "image/png", "", "application/octet-stream"])
def test_other_types_are_12300(kind: str) -> None:
    assert refused('{"a": 1}', kind) == 12300


@pytest.mark.parametrize(
    "text",
    [
        "<Response>",
        "<Response><Message>hi</Response>",
        "<Response><Message>a & b</Message></Response>",
        "Hello",
        "<Response/><Response/>",
        "<Response>\x00</Response>",
        "<!doctype html><html><body>Hello</body></html>",
    ],
)
def test_what_is_not_well_formed_is_12100(text: str) -> None:
    assert refused(text, "text/html") == 12100


def test_another_root_is_12102_whatever_its_case() -> None:
    assert refused("<response/>") == 12102
    assert refused("<html><body/></html>", "text/html") == 12102


def test_an_unknown_version_is_12101() -> None:
    assert refused('<?xml version="1.7"?><Response/>') == 12101
    assert xml('<?xml version="1.0" encoding="UTF-8"?><Response/>') == Document()


@pytest.mark.parametrize(
    "document",
    [
        '<!DOCTYPE a [<!ENTITY x "boom">]><Response><Message>&x;</Message></Response>',
        '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><Response>&x;</Response>',
        '<!DOCTYPE a SYSTEM "http://169.254.169.254/"><Response/>',
        '<!DOCTYPE a [<!ENTITY a "xx"><!ENTITY b "&a;&a;">]><Response>&b;</Response>',
    ],
)
def test_no_document_type_is_accepted(document: str) -> None:
    assert refused(document) == 12100


def test_unknown_verbs_attributes_and_wrong_case_are_skipped_with_12200() -> None:
    document = xml(
        '<Response><message>a</message><Message too="b" to="+1">c<i>d</i>e</Message>'
        "<Fax>f</Fax> g</Response>"
    )
    assert document.verbs == (MessageVerb("ce", to="+1"),)
    assert codes(document) == [12200, 12200, 12200, 12200, 12200]


def test_a_voice_verb_is_14110_and_what_it_holds_is_skipped() -> None:
    document = xml("<Response><Gather><Say>hi</Say></Gather><Message>a</Message></Response>")
    assert document.verbs == (MessageVerb("a"),)
    assert codes(document) == [14110]


def test_a_message_in_a_message_is_skipped() -> None:
    document = xml("<Response><Message>a<Message>b</Message>c</Message></Response>")
    assert document.verbs == (MessageVerb("ac"),)
    assert codes(document) == [12200]


def test_nothing_is_run_after_a_redirect() -> None:
    document = xml(
        "<Response><Message>a</Message><Redirect> /b?x=1&amp;y=2 </Redirect>"
        "<Message>c</Message><Redirect>/d</Redirect></Response>"
    )
    assert document.verbs == (MessageVerb("a"), Redirect("/b?x=1&y=2"))


def test_a_wrong_method_is_14104_and_posted() -> None:
    document = xml('<Response><Redirect method="PUT">/a</Redirect></Response>')
    assert document.verbs == (Redirect("/a", "POST"),)
    assert codes(document) == [14104]


def test_white_space_around_a_body_goes_and_inside_stays() -> None:
    document = xml("<Response><Message>\n  <Body> two\n lines </Body>\n</Message></Response>")
    assert document.verbs == (MessageVerb("two\n lines"),)


def test_comments_and_cdata_are_xml() -> None:
    document = xml("<Response><!-- a --><Message><![CDATA[<b>&]]></Message></Response>")
    assert document == Document((MessageVerb("<b>&"),))


def test_the_header_names_the_alphabet() -> None:
    text = "<Response><Message>né</Message></Response>"
    assert parse(200, "text/xml; charset=latin-1", text.encode("latin-1")).verbs == (
        MessageVerb("né"),
    )


@pytest.mark.parametrize("kind", ["text/xml", "text/plain"])
@pytest.mark.parametrize(
    ("charset", "text"),
    [
        ("koi8-r", "Привет"),
        ("KOI8-U", "Привіт"),
        ("cp866", "Привет"),
        ("windows-1251", "Привет"),
        ("macintosh", "né"),
        ("shift_jis", "こんにちは"),
        ("euc-jp", "こんにちは"),
        ("gb18030", "你好"),
        ("big5", "你好"),
        ("euc-kr", "안녕"),
        ("tis-620", "สวัสดี"),
        ("utf-7", "né"),
        ("utf-16", "né 😀"),
        ("utf-32-be", "né 😀"),
    ],
)
def test_an_answer_is_read_in_whatever_charset_it_says(kind: str, charset: str, text: str) -> None:
    written = f"\n<Response><Message>{text}</Message></Response>" if kind == "text/xml" else text
    found = parse(200, f"{kind}; charset={charset}", written.encode(charset))
    assert found.verbs == (MessageVerb(text),)


@pytest.mark.parametrize("kind", ["text/xml", "text/plain"])
@pytest.mark.parametrize(
    ("charset", "octets"),
    [
        ("nonsense", "né".encode()),
        ("utf-8", "né".encode("latin-1")),
        ("koi8-r\0", "né".encode()),
        ("shift_jis", b"\x81"),
        ("ascii", "né".encode()),
        ("utf-16-le", b"\x00\xd8a\0"),
        *((name, b"abc") for name in ("rot13", "base64", "hex", "zlib", "uu", "undefined")),
        *((name, b"abc") for name in ("idna", "punycode", "unicode_escape", "raw-unicode-escape")),
    ],
)
def test_what_is_in_no_charset_is_refused_rather_than_sent_as_garbage(
    kind: str, charset: str, octets: bytes
) -> None:
    head, tail = b"<Response><Message>", b"</Message></Response>"
    if charset == "utf-16-le":
        head, tail = head.decode().encode(charset), tail.decode().encode(charset)
    body = head + octets + tail if kind == "text/xml" else octets
    with pytest.raises(TwimlError) as refused:
        parse(200, f"{kind}; charset={charset}", body)
    assert refused.value.code == 12100


def test_a_plain_text_in_no_named_charset_is_utf_8_or_refused() -> None:
    assert parse(200, "text/plain", "né".encode()).verbs == (MessageVerb("né"),)
    with pytest.raises(TwimlError):
        parse(200, "text/plain", "né".encode("latin-1"))


def test_depth_has_a_limit() -> None:
    def nested(depth: int) -> str:
        return "<Response>" + "<a>" * depth + "</a>" * depth + "</Response>"

    assert codes(xml(nested(15))) == [12200]
    assert refused(nested(16)) == 12100


def test_warnings_have_a_limit() -> None:
    assert len(xml(f"<Response>{'<a/>' * 11}</Response>").warnings) == 10


@given(st.binary(max_size=300), st.sampled_from(["text/xml", "text/plain", "text/html; charset=x"]))
def test_nothing_else_is_ever_raised(body: bytes, kind: str) -> None:
    with suppress(TwimlError):
        assert isinstance(parse(200, kind, body), Document)


@pytest.mark.parametrize("kind", ["text/xml", "text/plain"])
def test_no_codec_of_pythons_makes_a_text_that_can_be_stored_nowhere(kind: str) -> None:
    bodies = (
        rb"<Response><Message>\ud800</Message></Response>",
        b"\xed\xa0\x80",
        b"+2AA-",
        b"\x9c",
    )
    for name in {*aliases.values(), "unicode_escape", "raw_unicode_escape", "punycode", "idna"}:
        for body in bodies:
            with suppress(TwimlError):
                for verb in parse(200, f"{kind}; charset={name}", body).verbs:
                    assert isinstance(verb, MessageVerb)
                    assert verb.body.encode()


@pytest.mark.parametrize(
    ("kind", "body", "shown"),
    [
        (
            "text/xml",
            b"<Response><Foo a='&lt;1'/><Message to='+1'>two &amp; <Body>three</Body></Message>"
            b"<!-- four --></Response>",
            '<Response><Foo a="&lt;1"></Foo><Message to="+1">(6 characters)<Body>(5 characters)'
            "</Body></Message></Response>",
        ),
        (
            "text/xml",
            "<?xml version='1.0' encoding='utf-16'?><Response><Message>\n"
            "<Body><![CDATA[\u00e9!]]></Body>\n</Message></Response>".encode("utf-16"),
            "<Response><Message>\n<Body>(2 characters)</Body>\n</Message></Response>",
        ),
        (
            "text/html; charset=latin-1",
            b"<Response>\xe9</Response>",
            "<Response>(1 characters)</Response>",
        ),
        ("text/plain", b"hello", "(5 characters)"),
        ("text/plain", b" \n", ""),
        ("text/xml", b"", ""),
    ],
)
def test_an_outline_has_the_length_of_each_text_in_its_place(
    kind: str, body: bytes, shown: str
) -> None:
    parse(200, kind, body)
    assert outline(kind, body) == shown
