"""Every resource of the API: its path behind the product's name, and its handlers by method.

A route of one segment with a fixed name stands before one with a parameter in its place.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from starlette.routing import compile_path

from gateway.api.accounts import accounts, applications, keys, safe_list, tokens
from gateway.api.conversations import addresses as chat_addresses
from gateway.api.conversations import configuration as chat
from gateway.api.conversations import conversations as chats
from gateway.api.conversations import messages as chat_messages
from gateway.api.conversations import participants as chat_participants
from gateway.api.conversations import webhooks as chat_webhooks
from gateway.api.http.origin import resolve
from gateway.api.messages import (
    comms,
    explain,
    media,
    messages,
    mini_bulk,
    replay,
    templates,
    test_credentials,
)
from gateway.api.numbers import channel_senders, inventory, numbers, short_codes
from gateway.api.operator import alerts, carriers, facts
from gateway.api.opt_outs import (
    block_list,
    block_list_files,
    consents,
    deactivations,
    opt_out_entries,
    opt_outs,
)
from gateway.api.resources import BULK_BODY_LIMIT, SINGLE_BODY_LIMIT, Handler
from gateway.api.services import campaigns, link_domains, pools, registrations, services, sticky

ACCOUNT: Final = "/api/2010-04-01/Accounts/{account}"
SERVICES: Final = "/messaging/v1/Services"
SERVICE: Final = f"{SERVICES}/{{service}}"
LINKS: Final = "/messaging/v1/LinkShortening"
OPT_OUTS: Final = "/messaging/v3/OptOuts"


class Resource(NamedTuple):
    path: str
    get: Handler | None = None
    post: Handler | None = None
    put: Handler | None = None
    delete: Handler | None = None
    tested: Handler | None = None  # POST with test credentials
    body_limit: int = SINGLE_BODY_LIMIT  # octets

    @property
    def handlers(self) -> dict[str, Handler]:
        given = (
            ("GET", self.get),
            ("POST", self.post),
            ("PUT", self.put),
            ("DELETE", self.delete),
        )
        return {method: handler for method, handler in given if handler is not None}


CHATS: Final = "/conversations/v1"
CHAT: Final = f"{CHATS}/Conversations/{{conversation}}"
CONVERSATIONS: Final = (
    Resource(f"{CHATS}/Configuration", get=chat.fetch, post=chat.update),
    Resource(f"{CHATS}/Configuration/Webhooks", get=chat.fetch_webhooks, post=chat.update_webhooks),
    Resource(
        f"{CHATS}/Configuration/Addresses", get=chat_addresses.list_, post=chat_addresses.create
    ),
    Resource(
        f"{CHATS}/Configuration/Addresses/{{sid}}",
        get=chat_addresses.fetch,
        post=chat_addresses.update,
        delete=chat_addresses.delete,
    ),
    Resource(f"{CHATS}/Services", get=chat.list_services, post=chat.create_service),
    Resource(f"{CHATS}/Services/{{sid}}", get=chat.fetch_service, delete=chat.delete_service),
    Resource(f"{CHATS}/ParticipantConversations", get=chat_participants.list_memberships),
    Resource(f"{CHATS}/Conversations", get=chats.list_, post=chats.create),
    Resource(CHAT, get=chats.fetch, post=chats.update, delete=chats.delete),
    Resource(f"{CHAT}/Participants", get=chat_participants.list_, post=chat_participants.create),
    Resource(
        f"{CHAT}/Participants/{{sid}}",
        get=chat_participants.fetch,
        post=chat_participants.update,
        delete=chat_participants.delete,
    ),
    Resource(f"{CHAT}/Messages", get=chat_messages.list_, post=chat_messages.create),
    Resource(
        f"{CHAT}/Messages/{{message}}",
        get=chat_messages.fetch,
        post=chat_messages.update,
        delete=chat_messages.delete,
    ),
    Resource(f"{CHAT}/Messages/{{message}}/Receipts", get=chat_messages.list_receipts),
    Resource(f"{CHAT}/Messages/{{message}}/Receipts/{{sid}}", get=chat_messages.fetch_receipt),
    Resource(f"{CHAT}/Webhooks", get=chat_webhooks.list_, post=chat_webhooks.create),
    Resource(
        f"{CHAT}/Webhooks/{{sid}}",
        get=chat_webhooks.fetch,
        post=chat_webhooks.update,
        delete=chat_webhooks.delete,
    ),
)


def _pools() -> Iterator[Resource]:
    for members in pools.COLLECTIONS:
        path = f"{SERVICE}/{members.path}"
        yield Resource(path, get=members.list_, post=members.create)
        yield Resource(f"{path}/{{sid}}", get=members.fetch, delete=members.delete)


RESOURCES: Final = (
    Resource("/api/2010-04-01/Accounts.json", get=accounts.list_, post=accounts.create),
    Resource("/api/2010-04-01/Accounts/{target}.json", get=accounts.fetch, post=accounts.update),
    Resource(f"{ACCOUNT}/Balance.json", get=accounts.balance),
    Resource(f"{ACCOUNT}/Keys.json", get=keys.list_, post=keys.create),
    Resource(f"{ACCOUNT}/Keys/{{sid}}.json", get=keys.fetch, post=keys.update, delete=keys.delete),
    Resource(
        "/accounts/v1/AuthTokens/Secondary",
        post=tokens.create_secondary,
        delete=tokens.delete_secondary,
    ),
    Resource("/accounts/v1/AuthTokens/Promote", post=tokens.promote),
    Resource(f"{ACCOUNT}/Applications.json", get=applications.list_, post=applications.create),
    Resource(
        f"{ACCOUNT}/Applications/{{sid}}.json",
        get=applications.fetch,
        post=applications.update,
        delete=applications.delete,
    ),
    Resource(
        f"{ACCOUNT}/Messages.json",
        get=messages.list_,
        post=messages.create,
        tested=test_credentials.create_message,
    ),
    Resource(f"{ACCOUNT}/Webhooks/Replay.json", post=replay.create),
    Resource(f"{ACCOUNT}/Messages/DryRun.json", post=explain.dry_run),
    Resource(f"{ACCOUNT}/Messages/{{sid}}/Explain.json", get=explain.fetch),
    Resource(
        f"{ACCOUNT}/Messages/{{sid}}.json",
        get=messages.fetch,
        post=messages.update,
        delete=messages.delete,
    ),
    Resource(
        f"{ACCOUNT}/Messages/{{sid}}/Feedback.json",
        get=messages.fetch_feedback,
        post=messages.feedback,
    ),
    Resource(f"{ACCOUNT}/Messages/{{sid}}/Media.json", get=media.list_),
    Resource(
        f"{ACCOUNT}/Messages/{{sid}}/Media/{{media}}.json", get=media.fetch, delete=media.delete
    ),
    Resource(f"{ACCOUNT}/Messages/{{sid}}/Media/{{media}}", get=media.content),
    Resource(
        f"{ACCOUNT}/IncomingPhoneNumbers.json",
        get=numbers.list_,
        post=numbers.create,
        tested=test_credentials.create_number,
    ),
    *(
        Resource(f"{ACCOUNT}/IncomingPhoneNumbers/{path}.json", get=numbers.listing(type))
        for path, type in inventory.COLLECTIONS.items()
    ),
    Resource(
        f"{ACCOUNT}/IncomingPhoneNumbers/{{sid}}.json",
        get=numbers.fetch,
        post=numbers.update,
        delete=numbers.delete,
    ),
    Resource(f"{ACCOUNT}/AvailablePhoneNumbers.json", get=inventory.countries),
    Resource(f"{ACCOUNT}/AvailablePhoneNumbers/{{country}}.json", get=inventory.country),
    *(
        Resource(
            f"{ACCOUNT}/AvailablePhoneNumbers/{{country}}/{path}.json",
            get=inventory.listing(type),
        )
        for path, type in inventory.COLLECTIONS.items()
    ),
    Resource(f"{ACCOUNT}/SMS/ShortCodes.json", get=short_codes.list_, post=short_codes.create),
    Resource(
        f"{ACCOUNT}/SMS/ShortCodes/{{sid}}.json",
        get=short_codes.fetch,
        post=short_codes.update,
        delete=short_codes.delete,
    ),
    Resource("/messaging/v1/Services", get=services.list_, post=services.create),
    Resource(f"{SERVICES}/Usecases", get=services.usecases),
    Resource(SERVICE, get=services.fetch, post=services.update, delete=services.delete),
    *_pools(),
    Resource("/messaging/v1/a2p/BrandRegistrations", get=registrations.brands),
    Resource("/messaging/v1/Tollfree/Verifications", get=registrations.verifications),
    Resource(f"{SERVICE}/StickySenders", get=sticky.list_),
    Resource(f"{SERVICE}/StickySenders/Move", post=sticky.move_all),
    Resource(
        f"{SERVICE}/StickySenders/{{recipient}}",
        get=sticky.fetch,
        post=sticky.move,
        delete=sticky.reset,
    ),
    Resource(f"{SERVICE}/Messages", get=messages.list_of_service),
    Resource(f"{SERVICE}/Compliance/Usa2p", get=campaigns.list_, post=campaigns.create),
    Resource(f"{SERVICE}/Compliance/Usa2p/Usecases", get=campaigns.usecases),
    Resource(
        f"{SERVICE}/Compliance/Usa2p/{{sid}}",
        get=campaigns.fetch,
        post=campaigns.update,
        delete=campaigns.delete,
    ),
    Resource(
        f"{LINKS}/Domains/{{domain}}/Config",
        get=link_domains.fetch_config,
        post=link_domains.update_config,
    ),
    Resource(
        f"{LINKS}/Domains/{{domain}}/MessagingServices/{{service}}",
        get=link_domains.fetch_tie,
        post=link_domains.tie,
        delete=link_domains.untie,
    ),
    Resource(f"{LINKS}/MessagingServices/{{service}}/Domain", get=link_domains.of_service),
    Resource(
        f"{LINKS}/MessagingService/{{service}}/DomainConfig", get=link_domains.config_of_service
    ),
    Resource("/tandem/v1/LinkDomains", get=link_domains.list_, post=link_domains.create),
    Resource("/tandem/v1/LinkDomains/{domain}", get=link_domains.fetch, delete=link_domains.delete),
    Resource(OPT_OUTS, get=opt_outs.list_, post=opt_outs.create),
    Resource(f"{OPT_OUTS}/DefaultKeywordsMessages", get=opt_out_entries.defaults),
    Resource(f"{OPT_OUTS}/Configurations/Languages", get=opt_out_entries.languages),
    Resource(f"{OPT_OUTS}/Configurations/MessageTypes", get=opt_out_entries.message_types),
    Resource(
        f"{OPT_OUTS}/{{sid}}", get=opt_outs.fetch, post=opt_outs.update, delete=opt_outs.delete
    ),
    *(
        Resource(
            f"{OPT_OUTS}/{{sid}}/{collection.path}",
            get=collection.list_,
            post=collection.post,
            put=collection.put,
        )
        for collection in opt_out_entries.COLLECTIONS
    ),
    Resource("/tandem/v1/OptOuts/Recipients", get=block_list.list_, post=block_list.add),
    Resource(
        "/tandem/v1/OptOuts/Recipients/{recipient}",
        get=block_list.fetch,
        delete=block_list.remove,
    ),
    Resource("/tandem/v1/OptOuts/Log", get=block_list.log),
    Resource(
        "/tandem/v1/OptOuts/Import",
        post=block_list_files.import_,
        body_limit=block_list_files.IMPORT_LIMIT,
    ),
    Resource("/tandem/v1/OptOuts/Export", get=block_list_files.export),
    Resource("/tandem/v1/OptOuts/{sid}/Disable", post=opt_outs.disable),
    Resource("/accounts/v1/Consents/Bulk", post=consents.consents),
    Resource("/accounts/v1/Contacts/Bulk", post=consents.add_contacts),
    Resource("/tandem/v1/ChannelSenders", get=channel_senders.list_, post=channel_senders.create),
    Resource(
        "/tandem/v1/ChannelSenders/{sid}",
        get=channel_senders.fetch,
        delete=channel_senders.delete,
    ),
    Resource("/monitor/v1/Alerts", get=alerts.list_),
    Resource("/monitor/v1/Alerts/{sid}", get=alerts.fetch),
    Resource("/messaging/v1/Deactivations", get=deactivations.fetch),
    Resource("/tandem/v1/Deactivations", post=deactivations.add, body_limit=BULK_BODY_LIMIT),
    Resource(
        "/tandem/v1/TestCredentials", get=test_credentials.fetch, post=test_credentials.create
    ),
    Resource(
        "/tandem/v1/Inventory",
        get=inventory.list_,
        post=inventory.add,
        body_limit=BULK_BODY_LIMIT,
    ),
    Resource("/tandem/v1/Inventory/{number}", delete=inventory.remove),
    Resource(
        "/accounts/v1/SafeList/Numbers",
        get=safe_list.fetch,
        post=safe_list.create,
        delete=safe_list.delete,
    ),
    Resource("/content/v1/Content", get=templates.list_, post=templates.create),
    Resource("/content/v1/Content/{sid}", get=templates.fetch, delete=templates.delete),
    Resource("/tandem/v1/Tables", get=facts.list_tables),
    Resource(
        "/tandem/v1/Tables/{table}",
        get=facts.fetch_table,
        post=facts.put_table,
        put=facts.put_table,
        delete=facts.delete_table,
        body_limit=BULK_BODY_LIMIT,
    ),
    Resource(
        "/tandem/v1/SenderRegistrations",
        get=facts.list_registrations,
        post=facts.create_registration,
    ),
    Resource(
        "/tandem/v1/SenderRegistrations/{sid}",
        get=facts.fetch_registration,
        post=facts.update_registration,
        delete=facts.delete_registration,
    ),
    Resource(
        "/tandem/v1/GeoPermissions", get=facts.fetch_permissions, post=facts.update_permissions
    ),
    Resource("/tandem/v1/Carriers", get=carriers.list_, post=carriers.create),
    Resource("/tandem/v1/Carriers/{carrier}/Deliveries", get=carriers.deliveries),
    Resource(
        "/tandem/v1/Carriers/{carrier}",
        get=carriers.fetch,
        post=carriers.update,
        delete=carriers.delete,
    ),
    Resource("/comms/v1/Messages", get=comms.list_, post=comms.create, body_limit=BULK_BODY_LIMIT),
    Resource("/comms/v1/Messages/Operations/{operation}", get=comms.operation),
    Resource("/comms/v1/Messages/Operations/{operation}/Errors", get=comms.errors),
    Resource("/comms/v1/Messages/Operations/{operation}/Cancel", post=comms.cancel),
    Resource("/comms/v1/Messages/{message}", get=comms.fetch),
    Resource("/comms/v1/Messages/{message}/Receipts", get=comms.receipts),
    Resource("/preview/v1/Messages", post=mini_bulk.create, body_limit=BULK_BODY_LIMIT),
    *CONVERSATIONS,
)

# Those of which a body may be large, by the pattern that the router finds them with.
_LARGE: Final = tuple(
    (compile_path(resource.path)[0], resource.body_limit)
    for resource in RESOURCES
    if resource.body_limit != SINGLE_BODY_LIMIT
)


def body_limit(host: str, path: str, base_domain: str | None) -> int:
    """The most octets of a body, by `Host` and the path as the client used it."""
    place = resolve(host, path, base_domain)
    if place is None:
        return SINGLE_BODY_LIMIT
    path = f"/{place.product}{place.path}"
    return next((limit for route, limit in _LARGE if route.match(path)), SINGLE_BODY_LIMIT)
