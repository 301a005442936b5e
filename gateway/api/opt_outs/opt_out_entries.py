"""What stands in an opt-out configuration: keywords, replies, countries
(docs/spec/twilio-api.md#opt-out-configuration).

PUT takes the whole list as JSON, `{"keywords": [{keyword_type, message_type, keywords}]}` and
the like; POST takes one entry as a form, and an empty one takes it away.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Literal

import orjson
from starlette.responses import Response

from gateway.api.http.errors import ApiError
from gateway.api.http.forms import Form
from gateway.api.http.resources import Call, change, json_response
from gateway.api.opt_outs.opt_outs import config_of
from gateway.directory.directory import OptOutConfig
from gateway.opt_out import entries
from gateway.opt_out.entries import BadEntry, EntryRow, name_of
from gateway.opt_out.keywords import ANY, default_entries, form, reserved
from gateway.opt_out.keywords import languages as known_languages
from storage import config as config_rows
from storage import opt_out_configs
from storage.database import Connection

Rows = list[EntryRow]


class Collection:
    """One list of a configuration.

    `shown` is what the resource shows of it, `whole` reads the list of a PUT and `single` the
    entry of a POST; both return the column's new content.
    """

    def __init__(
        self,
        path: str,
        key: str,
        column: Literal["keywords", "messages"],
        shown: Callable[[Rows], Rows],
        whole: Callable[[Rows, Any], Rows],
        single: Callable[[Rows, Form], Rows],
    ) -> None:
        self.path = path
        self._key = key
        self._column: Literal["keywords", "messages"] = column
        self._shown = shown
        self._whole = whole
        self._single = single

    async def list_(self, call: Call) -> Response:
        return self._answer(config_of(call))

    async def put(self, call: Call) -> Response:
        given = call.json
        if set(given) != {self._key}:
            raise ApiError(20001, f"the body must have `{self._key}`, a list")
        return await self._edit(call, lambda rows: self._whole(rows, given[self._key]))

    async def post(self, call: Call) -> Response:
        form = call.form
        return await self._edit(call, lambda rows: self._single(rows, form))

    async def _edit(self, call: Call, edited: Callable[[Rows], Rows]) -> Response:
        config = config_of(call)

        async def work(connection: Connection) -> None:
            row = call.found(await opt_out_configs.locked(connection, config.id))
            try:
                changed = edited(row[self._column])
                if self._column == "keywords":
                    entries.check(changed)
            except BadEntry as error:
                raise ApiError(20001, str(error)) from None
            await opt_out_configs.update(connection, config.id, {self._column: changed})
            if len(orjson.dumps(changed)) > len(orjson.dumps(row[self._column])):
                await config_rows.check_held(
                    connection,
                    "opt_out_octets",
                    call.deps.limits.opt_out_octets,
                    config.account_id,
                    config.id,
                )

        await change(call.deps, work)
        return self._answer(call.deps.directory.opt_out_configs_by_sid[config.sid])

    def _answer(self, config: OptOutConfig) -> Response:
        shown = self._shown(getattr(config, self._column))
        return json_response({"opt_out_sid": config.sid, self._key: shown})


# Keywords -------------------------------------------------------------------------------------


def _with_reserved(row: EntryRow) -> EntryRow:
    words = set().union(*reserved().values())
    return {**row, "reserved": [word for word in row["keywords"] if form(word) in words]}


def _show_keywords(rows: Rows) -> Rows:
    return [_with_reserved(row) for row in rows]


def _all_keywords(_: Rows, given: Any) -> Rows:
    return entries.without_doubles(
        entries.read_keywords(
            entries.read_name(entry["keyword_type"], entry["message_type"]), entry["keywords"]
        )
        for entry in _objects(given, "keywords")
    )


def _one_keyword_entry(rows: Rows, form: Form) -> Rows:
    name = entries.read_name(form.get("KeywordType"), form.get("MessageType") or ANY)
    words = [word for word in form.all("Keywords") if word]
    if not words:
        return [row for row in rows if name_of(row) != name]
    return entries.with_entry(rows, entries.read_keywords(name, words))


# Replies --------------------------------------------------------------------------------------


def _all_replies(_: Rows, given: Any) -> Rows:
    return entries.without_doubles(
        entries.read_reply(
            entries.read_name(entry["keyword_type"], entry["message_type"]), entry["message"]
        )
        for entry in _objects(given, "message")
    )


def _one_reply(rows: Rows, form: Form) -> Rows:
    name = entries.read_name(form.get("KeywordType"), form.get("MessageType") or ANY)
    if not form.get("Message"):
        return [row for row in rows if name_of(row) != name]
    return entries.with_entry(rows, entries.read_reply(name, form.get("Message")))


# Countries ------------------------------------------------------------------------------------


def _one_country(rows: Rows, form: Form) -> Rows:
    """The languages of one message type; without any it goes."""
    country = (form.get("MessageType") or "").upper()
    others = [
        entry for entry in entries.languages_by_country(rows) if entry["message_type"] != country
    ]
    wanted = [word for word in form.all("Languages") if word]
    entries.read_name("STOP.ALL" if country == ANY else "STOP.ENGLISH", country)
    chosen = [{"message_type": country, "languages": wanted}] if wanted else []
    return entries.with_countries(rows, others + chosen)


def _objects(given: Any, last: str) -> Rows:
    fields = {"keyword_type", "message_type", last}
    if not isinstance(given, list):
        raise BadEntry("a list is needed")
    for entry in given:
        # What a GET shows may be put back.
        if not isinstance(entry, dict) or set(entry) - {"reserved"} != fields:
            raise BadEntry(f"an entry has the fields {', '.join(sorted(fields))}")
    return given


COLLECTIONS: Final = (
    Collection(
        "Keywords", "keywords", "keywords", _show_keywords, _all_keywords, _one_keyword_entry
    ),
    Collection("Messages", "messages", "messages", lambda rows: rows, _all_replies, _one_reply),
    Collection(
        "MessageTypes",
        "message_types",
        "keywords",
        entries.languages_by_country,
        entries.with_countries,
        _one_country,
    ),
)


# What there is to choose from -----------------------------------------------------------------


async def languages(call: Call) -> Response:
    return json_response({"languages": list(known_languages())})


async def message_types(call: Call) -> Response:
    return json_response({"message_types": list(entries.message_types())})


async def defaults(call: Call) -> Response:
    """The standard sets and replies, which work until a configuration replaces them."""
    names = [(entry, f"{entry.keyword.name}.{ANY}") for entry in default_entries()]
    return json_response(
        {
            "keywords": _show_keywords(
                [
                    {
                        "keyword_type": name,
                        "message_type": ANY,
                        "keywords": sorted(word.upper() for word in entry.words),
                    }
                    for entry, name in names
                ]
            ),
            "messages": [
                {"keyword_type": name, "message_type": ANY, "message": entry.reply}
                for entry, name in names
            ],
        }
    )
