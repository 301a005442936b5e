"""Which product a request is for, and the origin to write into the URLs we emit.

All products share one port. `/v1/Services` exists in several of them, so the key of a route is
(product, path), resolved in the order of docs/spec/twilio-api.md#product-hosts: a leading path
segment, the first label of `Host`, then what the path itself tells.
"""

from __future__ import annotations

from typing import Final, NamedTuple

API: Final = "api"
PRODUCTS: Final = frozenset(
    # "tandem" is the operator's own product, which Twilio does not have.
    {
        "api",
        "accounts",
        "messaging",
        "conversations",
        "monitor",
        "comms",
        "preview",
        "content",
        "tandem",
    }
)
# Products that we do not serve, but that a client may name: answered with 404, never misread.
UNSERVED: Final = frozenset(
    {
        "lookups",
        "pricing",
        "iam",
        "events",
        "numbers",
        "webhooks",
        "verify",
        "voice",
        "chat",
        "proxy",
    }
)
_KNOWN: Final = PRODUCTS | UNSERVED


class RequestTarget(NamedTuple):
    product: str
    path: str  # without the product prefix
    prefix: str  # "/messaging" where the client used one, else ""


def resolve(host: str, path: str, base_domain: str | None) -> RequestTarget | None:
    """The product and path of a request; None when nothing tells."""
    first, _, rest = path[1:].partition("/")
    if first in _KNOWN:
        return RequestTarget(first, "/" + rest, "/" + first)
    name = host.rpartition(":")[0] if host.count(":") == 1 else host
    name = name.lower().rstrip(".")
    for domain in ("twilio.com", base_domain):
        if domain and name.endswith("." + domain):
            label = name.partition(".")[0]
            if label in _KNOWN:
                return RequestTarget(label, path, "")
    product = _by_path(path)
    return RequestTarget(product, path, "") if product else None


def _by_path(path: str) -> str | None:
    if path.startswith("/2010-04-01/") or path == "/2010-04-01":
        return API
    if path.startswith("/v1/Content"):
        return "content"
    if path.startswith("/v1/Alerts"):
        return "monitor"
    if path.startswith(("/v1/AuthTokens", "/v1/SafeList", "/v1/Consents/", "/v1/Contacts/")):
        return "accounts"
    if path.startswith(
        (
            "/v1/Conversations",
            "/v1/Configuration",
            "/v1/ParticipantConversations",
            "/v1/Services/IS",
        )
    ):
        return "conversations"
    if path.startswith(("/v1/Services", "/v1/Deactivations", "/v1/LinkShortening", "/v3/OptOuts")):
        return "messaging"
    return None
