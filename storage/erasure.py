"""Copies of a message's text beside its row: gone with it, in the same transaction.

The row's own statements are in `message_changes`. What is kept without a text: which parts an SMSC
delivered (their digests, so that a repetition is known), which receipts were kept, that an app was
called. A short link goes on leading where it led: it is in a recipient's hands.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from storage import alerts
from storage.database import Connection
from storage.ids import Id

# As many digits as an id of the standard has characters (SMPP 3.4 §5.2.23).
_HEX: Final = re.compile(r"[0-9a-fA-F]{1,64}")
_DECIMAL: Final = re.compile(r"[0-9]{1,64}")

PARTS = "UPDATE inbound_parts SET payload = '', tlvs = '' WHERE message_id = ANY($1::uuid[])"

# What carriers called these messages.
NAMES = """
SELECT DISTINCT carrier_id, carrier_message_id FROM submissions WHERE message_id = ANY($1::uuid[])
"""

# Receipts quote the beginning of a text: those of no known message are found by their id, in
# whatever base, case and number of zeros. One that is linked with another message is left, and so
# is one whose id, as it stands, is another message's and none of these.
_NAMED = """
  FROM unnest($2::int[], $3::text[]) AS u (carrier_id, name)
 WHERE k.message_id IS NULL AND k.carrier_id = u.carrier_id
   AND ltrim(lower(k.carrier_message_id), '+-0') = ltrim(lower(u.name), '+-0')
   AND (SELECT bool_or(s.message_id = ANY($1::uuid[])) FROM submissions AS s
         WHERE s.carrier_id = k.carrier_id AND s.carrier_message_id = k.carrier_message_id)
       IS NOT FALSE
"""
KEPT = f"UPDATE kept_deliveries AS k SET payload = '', tlvs = ''{_NAMED}"
OWN_KEPT = """
UPDATE kept_deliveries SET payload = '', tlvs = '' WHERE message_id = ANY($1::uuid[])
"""

# Of receipts: either address may be the recipient's, in whatever spelling.
_RECIPIENTS = """
UPDATE kept_deliveries AS k
   SET payload = '', tlvs = '', source = left(k.source, -4) || 'XXXX',
       destination = left(k.destination, -4) || 'XXXX'
"""
RECIPIENTS = f"{_RECIPIENTS}{_NAMED} AND k.source NOT LIKE '%XXXX'"
OWN_RECIPIENTS = f"""{_RECIPIENTS}
 WHERE k.message_id = ANY($1::uuid[]) AND k.source NOT LIKE '%XXXX'
"""

CONVERSATION = """
UPDATE conversation_messages SET body = ''
 WHERE inbound_id = ANY($1::uuid[])
    OR id IN (SELECT im_id FROM conversation_receipts WHERE message_id = ANY($1::uuid[]))
RETURNING sid, conversation_id
"""

# Pairs of names and values, in their order.
_EVENTS = """
UPDATE conversation_events AS e
   SET parameters = (
       SELECT jsonb_agg(CASE WHEN pair ->> 0 = 'Body' THEN '["Body", ""]'::jsonb ELSE pair END
                        ORDER BY place)
         FROM jsonb_array_elements(e.parameters) WITH ORDINALITY AS of (pair, place))
 WHERE e.parameters @> '[["Body"]]' AND {which}
"""
EVENTS = _EVENTS.format(
    which="""e.conversation_id = $1
   AND e.parameters @> jsonb_build_array(jsonb_build_array('MessageSid', $2::text))"""
)
EVENTS_OF_MESSAGES = _EVENTS.format(which="e.messages && $1::uuid[]")
EVENTS_OF_CONVERSATIONS = _EVENTS.format(which="e.conversation_id = ANY($1::bigint[])")

UNADDRESSABLE = """
UPDATE bulk_operations SET unaddressable = '[]'::jsonb
 WHERE unaddressable <> '[]'::jsonb AND created_at < now() - $1::interval
"""


async def erase_copies(connection: Connection, ids: Sequence[Id]) -> None:
    """Remove the texts of these messages wherever they are kept beside the rows."""
    await connection.execute(PARTS, ids)
    await _erase_named(connection, KEPT, ids)
    await connection.execute(OWN_KEPT, ids)
    await alerts.erase(connection, ids)
    for sid, conversation_id in await connection.fetch(CONVERSATION, ids):
        await erase_events(connection, conversation_id, sid)
    # Those of what is in no conversation any more.
    await connection.execute(EVENTS_OF_MESSAGES, ids)


async def erase_recipients(connection: Connection, ids: Sequence[Id]) -> None:
    """Take from what is kept beside the rows whom these messages were to."""
    await _erase_named(connection, RECIPIENTS, ids)
    await connection.execute(OWN_RECIPIENTS, ids)
    await alerts.erase(connection, ids)


async def _erase_named(connection: Connection, statement: str, ids: Sequence[Id]) -> None:
    names = [
        (carrier_id, name)
        for carrier_id, submitted in await connection.fetch(NAMES, ids)
        for name in names_of(submitted)
    ]
    if names:
        await connection.execute(statement, ids, *zip(*names, strict=True))


def names_of(submitted: str) -> list[str]:
    """What a receipt may call what was `submitted` under this id, but for case, and signs and zeros
    before it.

    The id itself; read as hex its decimal, and read as decimal its hex.
    """
    names = [submitted]
    if _HEX.fullmatch(submitted):
        names.append(str(int(submitted, 16)))
    if _DECIMAL.fullmatch(submitted):
        names.append(f"{int(submitted):x}")
    return names


async def erase_events(connection: Connection, conversation_id: int, sid: str) -> None:
    """Remove the text of a conversation's message from what apps are still to be told."""
    await connection.execute(EVENTS, conversation_id, sid)


async def erase_events_of(connection: Connection, conversation_ids: Sequence[int]) -> None:
    """The same for all messages of conversations."""
    await connection.execute(EVENTS_OF_CONVERSATIONS, conversation_ids)


async def forget_unaddressable(connection: Connection, age: timedelta) -> None:
    """Forget the addresses of older bulk operations for which no message was made."""
    await connection.execute(UNADDRESSABLE, age)
