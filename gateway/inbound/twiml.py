"""TwiML: what an app answers to an inbound message, read into verbs
(docs/spec/twilio-api.md#response-handling-and-twiml). Pure.

The XML is read by expat, event by event, without a tree. It is input from outside: a document type
declaration is refused outright, so there are no entities but XML's five and nothing external to
fetch; the caller bounds the size, this module the depth.
"""

from __future__ import annotations

import codecs
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias
from xml.parsers import expat
from xml.sax.saxutils import quoteattr

NOT_XML: Final = 12100
BAD_VERSION: Final = 12101
BAD_ROOT: Final = 12102
UNKNOWN: Final = 12200  # a warning: skipped
BAD_CONTENT_TYPE: Final = 12300
BAD_METHOD: Final = 14104
VOICE_VERB: Final = 14110

# Python's codecs that are no charset of a text; those that are not of texts at all it refuses.
NO_CHARSETS: Final = frozenset({"idna", "punycode", "unicode_escape", "raw_unicode_escape"})
XML_TYPES: Final = frozenset({"text/xml", "application/xml", "text/html"})
VERSIONS: Final = frozenset({"1.0", "1.1"})
METHODS: Final = ("GET", "POST")
DEPTH: Final = 16  # a document needs three
MOST_WARNINGS: Final = 10
VOICE_VERBS: Final = frozenset(
    {"Connect", "Dial", "Enqueue", "Gather", "Hangup", "Leave", "Pause", "Pay", "Play", "Prompt"}
    | {"Queue", "Record", "Refer", "Reject", "Say", "Siprec", "Start", "Stop", "Stream"}
)
ATTRIBUTES: Final[Mapping[str, frozenset[str]]] = {
    "Response": frozenset(),
    "Message": frozenset({"to", "from", "action", "method", "statusCallback"}),
    "Sms": frozenset({"to", "from", "action", "method", "statusCallback"}),
    "Body": frozenset(),
    "Media": frozenset(),
    "Redirect": frozenset({"method"}),
}
REPLIES: Final = ("Message", "Sms")
# Which element may stand in which.
PLACES: Final = frozenset(
    {
        ("Response", "Message"),
        ("Response", "Sms"),  # what Message was called first; it holds a text only
        ("Response", "Redirect"),
        ("Message", "Body"),
        ("Message", "Media"),
    }
)


class TwimlError(Exception):
    """The document can't be run at all."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


@dataclass(frozen=True, slots=True)
class MessageVerb:
    """`<Message>`. Addresses and URLs are as they were written."""

    body: str
    media: tuple[str, ...] = ()
    to: str | None = None  # default: who wrote
    sender: str | None = None  # `from`; default: the number that was written to
    callback: str | None = None  # `action`, else `statusCallback`


@dataclass(frozen=True, slots=True)
class Redirect:
    """The rest is in another document."""

    url: str
    method: str = "POST"


Verb: TypeAlias = MessageVerb | Redirect


@dataclass(frozen=True, slots=True)
class Warning:
    """Something that was skipped."""

    code: int
    text: str


@dataclass(frozen=True, slots=True)
class Document:
    """Verbs in their order; a Redirect is the last."""

    verbs: tuple[Verb, ...] = ()
    warnings: tuple[Warning, ...] = ()


def parse(status: int, content_type: str, body: bytes) -> Document:
    """Read an app's answer. Raises TwimlError with the code of the alert."""
    kind, charset = _content_type(content_type)
    if status == 204 or not body.strip():
        return Document()
    if kind == "text/plain":
        return Document((MessageVerb(_decoded(body, charset).strip()),))
    if kind not in XML_TYPES:
        raise TwimlError(BAD_CONTENT_TYPE, f"Content-Type {kind[:100] or 'is missing'}")
    return _Reader().read(body, charset)


def outline(content_type: str, body: bytes) -> str:
    """An answer that `parse` takes, with the length of each text in its place."""
    kind, charset = _content_type(content_type)
    if not body.strip():
        return ""
    if kind == "text/plain":
        return _length(_decoded(body, charset))
    return _Outline().read(body, charset)


def _length(text: str) -> str:
    return f"({len(text)} characters)" if text.strip() else text


def _content_type(header: str) -> tuple[str, str | None]:
    kind, *parameters = header.split(";")
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset":
            return kind.strip().lower(), value.strip(" \"'") or None
    return kind.strip().lower(), None


def _decoded(body: bytes, charset: str | None) -> str:
    """As text, in any charset that Python knows; in UTF-8 without one.

    Raises TwimlError for what it is not: a recipient would see what nobody wrote.
    """
    try:
        codec = codecs.lookup(charset or "utf-8").name
        if codec.replace("-", "_") in NO_CHARSETS:
            raise LookupError
        text = body.decode(codec)
        text.encode()  # no halves of surrogate pairs
    except (LookupError, ValueError):
        raise TwimlError(NOT_XML, f"not readable as {ascii(charset or 'utf-8')[:40]}") from None
    return text.lstrip("\ufeff")


@dataclass(slots=True)
class _OpenMessage:
    attributes: dict[str, str]
    body: list[str] = field(default_factory=list)
    media: list[str] = field(default_factory=list)


class _Reader:
    """One pass over one document."""

    def __init__(self) -> None:
        self._verbs: list[Verb] = []
        self._warnings: list[Warning] = []
        self._open: list[str] = []  # names of the open elements
        self._skipping = 0  # the depth at which something unknown began
        self._text: list[str] = []  # of the innermost known element
        self._message: _OpenMessage | None = None
        self._redirect: dict[str, str] = {}
        self._ended = False  # after a Redirect nothing is run

    def read(self, body: bytes, charset: str | None) -> Document:
        body, charset = _in_utf8(body, charset)
        parser = expat.ParserCreate(charset)
        parser.buffer_text = True
        parser.XmlDeclHandler = self._declaration
        parser.StartDoctypeDeclHandler = self._doctype
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._characters
        try:
            parser.Parse(body, True)
        except expat.ExpatError as error:
            raise TwimlError(NOT_XML, f"not well-formed: {error}") from None
        except (LookupError, ValueError) as error:  # an encoding that nobody knows
            raise TwimlError(NOT_XML, f"not readable: {error}") from None
        return Document(tuple(self._verbs), tuple(self._warnings))

    def _warn(self, code: int, text: str) -> None:
        if len(self._warnings) < MOST_WARNINGS:
            self._warnings.append(Warning(code, text[:200]))

    def _declaration(self, version: str, encoding: str | None, standalone: int) -> None:
        if version not in VERSIONS:
            raise TwimlError(BAD_VERSION, f"XML version {version[:20]}")

    def _doctype(self, *_: object) -> None:
        raise TwimlError(NOT_XML, "a document type declaration is not accepted")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        parent = self._open[-1] if self._open else None
        self._open.append(name)
        if len(self._open) > DEPTH:
            raise TwimlError(NOT_XML, f"elements nested deeper than {DEPTH}")
        if parent is None and name != "Response":
            raise TwimlError(BAD_ROOT, f"the root element is {name[:50]}, not Response")
        if self._skipping:
            return
        if parent is not None and (parent, name) not in PLACES:
            voice = parent == "Response" and name in VOICE_VERBS
            self._warn(VOICE_VERB if voice else UNKNOWN, f"<{name}> in <{parent}> was skipped")
            self._skipping = len(self._open)
            return
        for attribute in attributes.keys() - ATTRIBUTES[name]:
            self._warn(UNKNOWN, f"the attribute {attribute} of <{name}> was skipped")
        self._take_text(parent)
        if name in REPLIES:
            self._message = _OpenMessage(attributes)
        elif name == "Redirect":
            self._redirect = attributes

    def _end(self, name: str) -> None:
        if self._skipping:
            if self._skipping == len(self._open):
                self._skipping = 0
            self._open.pop()
            return
        text = self._take_text(name)
        if name == "Media" and self._message is not None:
            self._message.media.append(text.strip())
        elif name in REPLIES and self._message is not None:
            self._add(self._reply(self._message))
            self._message = None
        elif name == "Redirect":
            self._add(Redirect(text.strip(), self._method(name, self._redirect)))
            self._ended = True
        self._open.pop()

    def _characters(self, text: str) -> None:
        if not self._skipping:
            self._text.append(text)

    def _take_text(self, name: str | None) -> str:
        """The text gathered in `name` so far; that of a message is part of its body."""
        text = "".join(self._text)
        self._text.clear()
        if name == "Body" and self._message is not None:
            self._message.body.append(text)
        elif name in REPLIES and self._message is not None:
            self._message.body.append(text.strip())
        elif name == "Response" and text.strip():
            self._warn(UNKNOWN, "text directly in <Response> was skipped")
        return text

    def _add(self, verb: Verb) -> None:
        if not self._ended:
            self._verbs.append(verb)

    def _reply(self, message: _OpenMessage) -> MessageVerb:
        given = message.attributes
        self._method("Message", given)
        return MessageVerb(
            body="".join(message.body).strip(),
            media=tuple(message.media),
            to=given.get("to"),
            sender=given.get("from"),
            callback=given.get("action") or given.get("statusCallback"),
        )

    def _method(self, name: str, attributes: dict[str, str]) -> str:
        method = attributes.get("method", "POST").upper()
        if method in METHODS:
            return method
        self._warn(BAD_METHOD, f"method {method} of <{name}>; POST was taken")
        return "POST"


class _Outline:
    """Writes a document again, without its texts and comments."""

    def __init__(self) -> None:
        self._written: list[str] = []

    def read(self, body: bytes, charset: str | None) -> str:
        body, charset = _in_utf8(body, charset)
        parser = expat.ParserCreate(charset)
        parser.buffer_text = True
        parser.StartElementHandler = self._start
        parser.EndElementHandler = lambda name: self._written.append(f"</{name}>")
        parser.CharacterDataHandler = lambda text: self._written.append(_length(text))
        parser.Parse(body, True)
        return "".join(self._written)

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        shown = "".join(f" {key}={quoteattr(value)}" for key, value in attributes.items())
        self._written.append(f"<{name}{shown}>")


def _in_utf8(body: bytes, charset: str | None) -> tuple[bytes, str | None]:
    """A document for the parser: where the headers name its characters, they are right."""
    if charset is None:
        return body.lstrip(), None
    return _decoded(body, charset).lstrip().encode(), "utf-8"
