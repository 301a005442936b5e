"""A service's book: its configuration's keywords and confirmations over the standard ones
(docs/spec/messaging-services.md#modes-of-opt-out,
docs/spec/messaging-services.md#which-keywords-apply)."""

from __future__ import annotations

from gateway.directory.directory import Directory, OptOutConfig
from gateway.opt_out.keywords import (
    ANY,
    Book,
    Keyword,
    KeywordEntry,
    default_entries,
    form,
    reserved,
)


def book_of(config: OptOutConfig) -> Book:
    """A configuration's entries, on top of the standard sets.

    An entry of the configuration replaces the standard one of its type; a reserved keyword works
    whatever the configuration says. An entry without a reply of its own gives the standard one.
    """
    replies = {
        (row["keyword_type"], row["message_type"]): row["message"] for row in config.messages
    }
    standard = {entry.keyword: entry for entry in default_entries()}
    entries = []
    for row in config.keywords:
        name, _, language = row["keyword_type"].partition(".")
        keyword, country = Keyword[name], row["message_type"]
        reply = (
            replies.get((row["keyword_type"], country))
            or replies.get((f"{name}.{ANY}", ANY))
            or standard[keyword].reply
        )
        words = frozenset(map(form, row["keywords"]))
        entries.append(KeywordEntry(keyword, language or ANY, country, words, reply))
    taken = {entry.keyword for entry in entries if entry.language == ANY and entry.country == ANY}
    for entry in default_entries():
        reply = replies.get((f"{entry.keyword.name}.{ANY}", ANY)) or entry.reply
        words = entry.words if entry.keyword not in taken else reserved()[entry.keyword]
        entries.append(entry._replace(reply=reply, words=words))
    return Book(entries)


class ServiceBooks:
    """The books of services, each made once for a configuration."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._books: dict[str, tuple[OptOutConfig, Book]] = {}  # by the configuration's SID

    def of(self, service_id: int | None) -> Book | None:
        """The book of the service's Advanced Opt-Out; None where that is not on."""
        config = self._directory.opt_out_configs.get(service_id or 0)
        if config is None or not config.enabled:
            return None
        known = self._books.get(config.sid)
        if known is None or known[0] is not config:
            known = self._books[config.sid] = (config, book_of(config))
        return known[1]
