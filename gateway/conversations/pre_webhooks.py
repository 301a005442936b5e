"""Pre-event webhooks: an app may refuse what is about to be, or change it
(docs/spec/twilio-api.md#conversations-v1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import orjson

from gateway.conversations.events import EventWriter, Pairs, Source
from gateway.directory.directory import Directory
from gateway.observe.alerts import Alerts
from gateway.webhooks.client import WebhookClient, WebhookRequest
from gateway.webhooks.report import exchange_of
from storage.conversation_settings import ConversationSettingsRow
from storage.ids import Id

# Characters that an app may put in a field, as for the API.
LONGEST: Final = {"friendly_name": 256, "author": 256, "body": 1_600, "attributes": 16_384}
CHANGEABLE: Final = {
    "onConversationAdd": frozenset({"friendly_name"}),
    "onMessageAdd": frozenset({"body", "author", "attributes"}),
}


@dataclass(frozen=True, slots=True)
class PreEventVerdict:
    """Whether it may be, and what is to be different."""

    allowed: bool = True
    changes: dict[str, str] = field(default_factory=dict)


class PreEventWebhooks:
    """Asks, with the client's own patience (5 s)."""

    def __init__(
        self, client: WebhookClient, directory: Directory, events: EventWriter, alerts: Alerts
    ) -> None:
        self._client = client
        self._directory = directory
        self._events = events
        self._alerts = alerts

    async def ask(
        self,
        settings: ConversationSettingsRow,
        name: str,
        parameters: Pairs,
        source: Source,
        messages: Sequence[Id] = (),
    ) -> PreEventVerdict:
        """The app's word: 2xx, or none in time, is yes; any other status is no.

        `messages`: those whose text the parameters have.
        """
        url = settings["pre_webhook_url"]
        if not url or name not in settings["filters"]:
            return PreEventVerdict()
        account_id = settings["account_id"]
        common = self._events.common(account_id, settings["chat_service"], name, source)
        hook = WebhookRequest(
            url,
            common + parameters,
            self._directory.accounts_by_id[account_id].auth_token,
            method=settings["method"],
            overridable=False,
            account_id=account_id,
        )
        answer = await self._client.call(hook)
        if not answer.ok:
            self._alerts.alert(
                answer.error_code,
                f"{name}: {answer.reason}",
                level="error",
                account_id=account_id,
                resource=settings["chat_service"],
                exchange=exchange_of(hook, answer),
                messages=messages,
                log_text=f"{name}: {answer.plain_reason}",
            )
            return PreEventVerdict(allowed=answer.status < 400)
        return PreEventVerdict(changes=changes_of(name, answer.body))


def changes_of(name: str, body: bytes) -> dict[str, str]:
    """The fields that the answer sets; what is no JSON object sets none."""
    try:
        given = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    if not isinstance(given, dict):
        return {}
    return {
        key: value
        for key, value in given.items()
        if key in CHANGEABLE.get(name, ()) and isinstance(value, str) and _is_fit(key, value)
    }


def _is_fit(key: str, value: str) -> bool:
    """Whether a field may have this value: what may not is left as it was."""
    if "\x00" in value or len(value) > LONGEST[key]:
        return False
    if key == "attributes":
        try:
            orjson.loads(value)
        except orjson.JSONDecodeError:
            return False
    return True
