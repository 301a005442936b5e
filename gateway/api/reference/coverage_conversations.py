"""The conversations product in the coverage table (`gateway.api.reference.coverage`)."""

from __future__ import annotations

from typing import Final

from gateway.api.reference.operation import Operation, Support
from gateway.api.reference.operation import all_ as _all

_CHATS: Final = "/conversations/v1"
_CHAT: Final = f"{_CHATS}/Conversations/{{conversation}}"
_CHAT_FIELDS: Final = {
    **_all(
        Support.DONE,
        "FriendlyName UniqueName Attributes MessagingServiceSid State Timers.Inactive"
        " Timers.Closed XTwilioWebhookEnabled",
    ),
    **_all(Support.IGNORED, "DateCreated DateUpdated Bindings.Email.Address Bindings.Email.Name"),
}
_CHAT_MEMBER: Final = {
    **_all(Support.DONE, "Identity Attributes XTwilioWebhookEnabled"),
    **_all(Support.STORED, "RoleSid"),
    **_all(Support.IGNORED, "DateCreated DateUpdated MessagingBinding.ProjectedAddress"),
}
_CHAT_BINDING: Final = _all(Support.DONE, "MessagingBinding.Address MessagingBinding.ProxyAddress")
_CHAT_MESSAGE: Final = {
    **_all(Support.DONE, "Author Body Attributes XTwilioWebhookEnabled"),
    **_all(Support.IGNORED, "DateCreated DateUpdated Subject"),
}
_CHAT_HOOK: Final = _all(
    Support.DONE,
    "Configuration.Url Configuration.Method Configuration.Filters Configuration.Triggers",
)
_CHAT_ADDRESS: Final = {
    **_all(
        Support.DONE,
        "FriendlyName AutoCreation.Enabled AutoCreation.Type AutoCreation.ConversationServiceSid"
        " AutoCreation.WebhookUrl AutoCreation.WebhookMethod AutoCreation.WebhookFilters",
    ),
    **_all(Support.IGNORED, "AutoCreation.StudioFlowSid AutoCreation.StudioRetryCount"),
}
_CHAT_TOLD: Final = _all(Support.DONE, "XTwilioWebhookEnabled")
_SDK_CHATS: Final = "conversations.v1.conversations"

CONVERSATIONS: Final = (
    Operation("GET", f"{_CHATS}/Configuration"),
    Operation(
        "POST",
        f"{_CHATS}/Configuration",
        _all(
            Support.DONE,
            "DefaultChatServiceSid DefaultMessagingServiceSid DefaultInactiveTimer"
            " DefaultClosedTimer",
        ),
        "conversations.v1.configuration().update",
    ),
    Operation("GET", f"{_CHATS}/Configuration/Webhooks"),
    Operation(
        "POST",
        f"{_CHATS}/Configuration/Webhooks",
        _all(Support.DONE, "PreWebhookUrl PostWebhookUrl Method Filters Target"),
        "conversations.v1.configuration.webhooks().update",
        "the pre-event webhook is asked before conversations, participants and messages are added",
    ),
    Operation(
        "GET",
        f"{_CHATS}/Configuration/Addresses",
        _all(Support.DONE, "Type"),
        "conversations.v1.address_configurations.list",
    ),
    Operation(
        "POST",
        f"{_CHATS}/Configuration/Addresses",
        {**_all(Support.DONE, "Type Address AddressCountry"), **_CHAT_ADDRESS},
        "conversations.v1.address_configurations.create",
    ),
    Operation("GET", f"{_CHATS}/Configuration/Addresses/{{sid}}"),
    Operation(
        "POST",
        f"{_CHATS}/Configuration/Addresses/{{sid}}",
        _CHAT_ADDRESS,
        "conversations.v1.address_configurations().update",
    ),
    Operation("DELETE", f"{_CHATS}/Configuration/Addresses/{{sid}}"),
    Operation("GET", f"{_CHATS}/Services"),
    Operation(
        "POST",
        f"{_CHATS}/Services",
        _all(Support.DONE, "FriendlyName"),
        "conversations.v1.services.create",
    ),
    Operation("GET", f"{_CHATS}/Services/{{sid}}"),
    Operation("DELETE", f"{_CHATS}/Services/{{sid}}"),
    Operation(
        "GET",
        f"{_CHATS}/ParticipantConversations",
        _all(Support.DONE, "Identity Address"),
        "conversations.v1.participant_conversations.list",
    ),
    Operation(
        "GET",
        f"{_CHATS}/Conversations",
        _all(Support.DONE, "StartDate EndDate State"),
        f"{_SDK_CHATS}.list",
    ),
    Operation("POST", f"{_CHATS}/Conversations", _CHAT_FIELDS, f"{_SDK_CHATS}.create"),
    Operation("GET", _CHAT),
    Operation("POST", _CHAT, _CHAT_FIELDS, f"{_SDK_CHATS}().update"),
    Operation("DELETE", _CHAT, _CHAT_TOLD, f"{_SDK_CHATS}().delete"),
    Operation("GET", f"{_CHAT}/Participants"),
    Operation(
        "POST",
        f"{_CHAT}/Participants",
        {**_CHAT_MEMBER, **_CHAT_BINDING},
        f"{_SDK_CHATS}().participants.create",
    ),
    Operation("GET", f"{_CHAT}/Participants/{{sid}}"),
    Operation(
        "POST",
        f"{_CHAT}/Participants/{{sid}}",
        {
            **_CHAT_MEMBER,
            **_all(Support.STORED, "LastReadMessageIndex LastReadTimestamp"),
            **_all(Support.IGNORED, "MessagingBinding.ProxyAddress"),
        },
        f"{_SDK_CHATS}().participants().update",
    ),
    Operation("DELETE", f"{_CHAT}/Participants/{{sid}}", _CHAT_TOLD),
    Operation(
        "GET", f"{_CHAT}/Messages", _all(Support.DONE, "Order"), f"{_SDK_CHATS}().messages.list"
    ),
    Operation(
        "POST",
        f"{_CHAT}/Messages",
        {**_CHAT_MESSAGE, **_all(Support.REFUSED, "MediaSid ContentSid ContentVariables")},
        f"{_SDK_CHATS}().messages.create",
    ),
    Operation("GET", f"{_CHAT}/Messages/{{message}}"),
    Operation(
        "POST",
        f"{_CHAT}/Messages/{{message}}",
        _CHAT_MESSAGE,
        f"{_SDK_CHATS}().messages().update",
    ),
    Operation("DELETE", f"{_CHAT}/Messages/{{message}}", _CHAT_TOLD),
    Operation("GET", f"{_CHAT}/Messages/{{message}}/Receipts"),
    Operation("GET", f"{_CHAT}/Messages/{{message}}/Receipts/{{sid}}"),
    Operation("GET", f"{_CHAT}/Webhooks"),
    Operation(
        "POST",
        f"{_CHAT}/Webhooks",
        {
            **_all(Support.DONE, "Target"),
            **_CHAT_HOOK,
            **_all(Support.STORED, "Configuration.ReplayAfter"),
            **_all(Support.IGNORED, "Configuration.FlowSid"),
        },
        f"{_SDK_CHATS}().webhooks.create",
    ),
    Operation("GET", f"{_CHAT}/Webhooks/{{sid}}"),
    Operation(
        "POST",
        f"{_CHAT}/Webhooks/{{sid}}",
        {**_CHAT_HOOK, **_all(Support.IGNORED, "Configuration.FlowSid")},
        f"{_SDK_CHATS}().webhooks().update",
    ),
    Operation("DELETE", f"{_CHAT}/Webhooks/{{sid}}"),
)
