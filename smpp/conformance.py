"""The protocol implementation conformance statement, written from the tables the code runs on.

`python -m smpp.conformance` prints it; `docs/smpp-conformance.md` is its output,
and a test holds the two together. What the tables cannot say (why something is
refused, which timer is which setting) is said here, each with its test.
"""

from __future__ import annotations

from collections.abc import Iterator

from smpp import vocabulary as v
from smpp.backoff import classify
from smpp.layouts import LAYOUTS, FieldKind, Layout
from smpp.states import ESME, SMSC, SessionState

_INTRODUCTION = """\
# SMPP conformance statement

Printed by `python -m smpp.conformance` from the tables that the code runs on; do
not edit. References are to SMPP 3.4 issue 1.2. *Supported*: sent and read as
specified. *Tolerated*: read, and carried through or reported, though it is not
as specified. *Refused*: answered with an error.
"""

_SENT_BY_BIND = {
    v.BIND_TRANSMITTER: "sent",
    v.BIND_RECEIVER: "sent",
    v.BIND_TRANSCEIVER: "sent",
    v.UNBIND: "both ways",
    v.UNBIND_RESP: "both ways",
    v.ENQUIRE_LINK: "both ways",
    v.ENQUIRE_LINK_RESP: "both ways",
    v.SUBMIT_SM: "sent",
    v.SUBMIT_MULTI: "sent by request",
    v.DATA_SM: "read; sent by request",
    v.DATA_SM_RESP: "both ways",
    v.QUERY_SM: "sent by request",
    v.CANCEL_SM: "sent by request",
    v.REPLACE_SM: "sent by request",
    v.DELIVER_SM_RESP: "sent",
    v.GENERIC_NACK: "both ways",
}
# Requests, whichever side sends them.
_IN_SIMULATOR = frozenset(
    command & ~v.RESPONSE or v.GENERIC_NACK
    for commands in SMSC.receivable.values()
    for command in commands
)

_TIMERS = (
    ("session_init_timer (§7.2)", "bind_timeout_s", "10 s", "test_session: no answer to the bind"),
    ("the same, of the SMSC", "session_init_timeout_s", "30 s", "test_smsc_session: no bind"),
    ("enquire_link_timer (§7.2)", "enquire_interval_s", "30 s", "test_session: silence is asked"),
    ("inactivity_timer (§7.2)", "inactivity_timeout_s", "off", "test_session: without messages"),
    ("response_timer (§7.2)", "response_timeout_s", "30 s", "test_session: a late answer"),
)

_RULES = (
    ("command_length below 16 or over the limit", "refused", "generic_nack 0x02, connection ended"),
    ("unknown request", "refused", "generic_nack ESME_RINVCMDID; session goes on"),
    ("unknown response, or one to nothing we sent", "tolerated", "reported; session goes on"),
    ("request that may not come in this state", "refused", "generic_nack ESME_RINVBNDSTS"),
    (
        "the same, at the simulator",
        "refused",
        "its own response: ESME_RINVBNDSTS, or ESME_RALYBND to a bind",
    ),
    ("receipts and messages on a transmitter", "tolerated", "taken as on a transceiver"),
    ("mandatory field cut short", "refused", "deliver_sm_resp ESME_RINVCMDLEN; session goes on"),
    ("sm_length beyond the PDU", "refused", "ESME_RINVMSGLEN"),
    ("sm_length 0 with UDHI set", "tolerated", "an empty message"),
    ("user data header longer than the text", "tolerated", "left in the text"),
    ("other text fields over their size", "tolerated", "read; never written"),
    ("system_id or password over 15 or 8 characters", "tolerated", "written and read, up to 64"),
    ("unknown TLV, vendor TLV, repeated TLV", "tolerated", "carried through in order"),
    (
        "TLV beyond the PDU in deliver_sm or data_sm",
        "tolerated",
        "reported; what comes before it is kept; refused where it is the text itself",
    ),
    ("TLV beyond the PDU in another request", "refused", "ESME_RINVOPTPARSTREAM"),
    ("TLV beyond the PDU in a response", "tolerated", "what comes before it is kept"),
    ("up to three stray octets at the end", "tolerated", "ignored"),
    ("unknown TON, NPI, data_coding, status", "tolerated", "carried through as numbers"),
    ("error response with a body, or without", "tolerated", "read as far as it goes"),
    ("submit_sm_resp with TLVs (5.0)", "tolerated", "handed on with the answer"),
    ("response after its timeout", "tolerated", "reported as late, with its message"),
    ("second response to one request", "tolerated", "reported, counted as nothing"),
    ("sequence_number", "supported", "1 to 0x7FFFFFFF, wrapping, none used twice at once"),
    ("outbind as a listener", "not supported", "outbind on a connection we made is reported"),
    ("broadcast_sm and its kin (5.0)", "refused", "generic_nack ESME_RINVCMDID"),
)


def statement() -> str:
    """The whole document."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield _INTRODUCTION
    yield "## Commands\n"
    yield "| command | id | defined | codec | bind | simulator |"
    yield "|---|---|---|---|---|---|"
    for layout in _sorted_layouts():
        yield (
            f"| `{layout.name}` | 0x{layout.command:08X} | {layout.reference} | both ways "
            f"| {_in_bind(layout)} | {_in_simulator(layout)} |"
        )
    yield "\n## Mandatory parameters\n"
    yield "| command | parameters in wire order (size in octets, with the NUL for text) | TLVs |"
    yield "|---|---|---|"
    for layout in _sorted_layouts():
        parameters = ", ".join(
            f"{field.name} ({_size(field.kind, field.size)})" for field in layout.fields
        )
        yield f"| `{layout.name}` | {parameters or '–'} | {'yes' if layout.tlvs else 'no'} |"
    yield "\n## What may arrive in which state (§2.3)\n"
    yield "| state | taken by a bind | taken by the simulator |"
    yield "|---|---|---|"
    for state in SessionState:
        taken = (_names(role.receivable[state]) for role in (ESME, SMSC))
        yield f"| {state.name} | {' | '.join(taken)} |"
    yield "\n## Optional parameters\n"
    yield "Every tag is carried through, known or not; these have a name here.\n"
    yield ", ".join(f"`{name}` 0x{tag:04X}" for tag, name in sorted(v.TLV_NAMES.items())) + "."
    yield "\n## Statuses\n"
    yield "Every status is reported as it came; these have a name. A refused bind waits by class.\n"
    yield "| status | name | as the refusal of a bind |"
    yield "|---|---|---|"
    for status, name in sorted(v.STATUS_NAMES.items()):
        kind = classify(status).name.lower() if status else "–"
        yield f"| 0x{status:08X} | {name} | {kind} |"
    yield "\n## Timers\n"
    yield "| timer | setting | default | test |"
    yield "|---|---|---|---|"
    for timer, setting, default, test in _TIMERS:
        yield f"| {timer} | `{setting}` | {default} | {test} |"
    yield "\n## Peculiarities\n"
    yield "| what | | how |"
    yield "|---|---|---|"
    for what, verdict, how in _RULES:
        yield f"| {what} | {verdict} | {how} |"


def _sorted_layouts() -> list[Layout]:
    return sorted(
        LAYOUTS.values(), key=lambda layout: (layout.command & ~v.RESPONSE, layout.command)
    )


def _in_bind(layout: Layout) -> str:
    sent = _SENT_BY_BIND.get(layout.command)
    if sent is not None:
        return sent
    taken = any(layout.command in commands for commands in ESME.receivable.values())
    return "read" if taken else "refused"


def _in_simulator(layout: Layout) -> str:
    request = layout.command & ~v.RESPONSE or v.GENERIC_NACK
    return "supported" if request in _IN_SIMULATOR else "refused"


def _names(commands: frozenset[int]) -> str:
    return ", ".join(f"`{v.command_name(command)}`" for command in sorted(commands)) or "nothing"


def _size(kind: FieldKind, size: int) -> str:
    if kind is FieldKind.INTEGER:
        return str(size)
    if kind is FieldKind.C_OCTETS:
        return f"at most {size}"
    if kind is FieldKind.SHORT_MESSAGE:
        return f"1 + at most {size}"
    return f"1 + at most {size} entries"


if __name__ == "__main__":
    print(statement(), end="")
