"""Copies of a message's text beside its row: gone with it, in the same transaction.

The row's own statements are in `message_changes`. What is kept without a text: which parts an SMSC
delivered (their digests, so that a repetition is known), which receipts were kept, that an app was
called. A short link goes on leading where it led: it is in a recipient's hands.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from storage import alerts
from storage.database import Connection
from storage.ids import Id

PARTS = "UPDATE inbound_parts SET payload = '', tlvs = '' WHERE message_id = ANY($1::uuid[])"

# Receipts quote the beginning of a text: those of no known message are found by their id.
KEPT = """
UPDATE kept_deliveries AS k SET payload = '', tlvs = ''
  FROM submissions AS s
 WHERE s.message_id = ANY($1::uuid[]) AND k.carrier_id = s.carrier_id
   AND k.carrier_message_id = s.carrier_message_id
"""
OWN_KEPT = """
UPDATE kept_deliveries SET payload = '', tlvs = '' WHERE message_id = ANY($1::uuid[])
"""

# Of receipts: either address may be the recipient's, in whatever spelling.
_RECIPIENTS = """
UPDATE kept_deliveries AS k
   SET payload = '', tlvs = '', source = left(k.source, -4) || 'XXXX',
       destination = left(k.destination, -4) || 'XXXX'
"""
RECIPIENTS = f"""{_RECIPIENTS}
  FROM submissions AS s
 WHERE s.message_id = ANY($1::uuid[]) AND k.carrier_id = s.carrier_id
   AND k.carrier_message_id = s.carrier_message_id AND k.source NOT LIKE '%XXXX'
"""
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
    await connection.execute(KEPT, ids)
    await connection.execute(OWN_KEPT, ids)
    await alerts.erase(connection, ids)
    for sid, conversation_id in await connection.fetch(CONVERSATION, ids):
        await erase_events(connection, conversation_id, sid)
    # Those of what is in no conversation any more.
    await connection.execute(EVENTS_OF_MESSAGES, ids)


async def erase_recipients(connection: Connection, ids: Sequence[Id]) -> None:
    """Take from what is kept beside the rows whom these messages were to."""
    await connection.execute(RECIPIENTS, ids)
    await connection.execute(OWN_RECIPIENTS, ids)
    await alerts.erase(connection, ids)


async def erase_events(connection: Connection, conversation_id: int, sid: str) -> None:
    """Remove the text of a conversation's message from what apps are still to be told."""
    await connection.execute(EVENTS, conversation_id, sid)


async def erase_events_of(connection: Connection, conversation_ids: Sequence[int]) -> None:
    """The same for all messages of conversations."""
    await connection.execute(EVENTS_OF_CONVERSATIONS, conversation_ids)


async def forget_unaddressable(connection: Connection, age: timedelta) -> None:
    """Forget the addresses of older bulk operations for which no message was made."""
    await connection.execute(UNADDRESSABLE, age)
