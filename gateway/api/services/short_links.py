"""What a short link leads to: anybody may open it, on its own domain
(docs/spec/messaging-services.md#further-features)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from gateway.api.http.resources import Deps
from gateway.content.shortening import CODE
from gateway.directory.directory import Directory, LinkDomain
from gateway.messages.rows import sid_of_row
from gateway.webhooks.clicks import Click, is_preview
from storage import messages as message_rows
from storage import short_links as link_rows
from storage.ids import Id

PATH: Final = "/short/{code:path}"
DOMAIN: Final = "tandem.link_domain"  # of a request's scope
FALLBACK_USED: Final = 30104
NOT_KNOWN: Final = 30105
AGENT_LIMIT: Final = 500  # characters of a user agent that an event tells
# Every click is to be seen here, and none tells the target where it came from.
_HEADERS: Final = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}


def domain_of(directory: Directory, host: str) -> LinkDomain | None:
    """The domain of short links that a `Host` names, with its port or without."""
    if not directory.link_domains_by_name:
        return None
    host = host.lower().rstrip(".")
    domains = directory.link_domains_by_name
    return domains.get(host) or domains.get(host.partition(":")[0].rstrip("."))


async def follow(request: Request, deps: Deps) -> Response:
    """Redirect, and tell of the click; a link that is not known or has ended tells nothing."""
    domain: LinkDomain = request.scope[DOMAIN]
    code = request.path_params["code"]
    now = deps.creation.clock.wall()
    row = None
    if CODE.fullmatch(code):
        row = await link_rows.find(
            deps.pool,
            domain.account_id,
            domain.domain_name,
            code,
            datetime.fromtimestamp(now, UTC),
        )
    if row is None:
        return _lost(deps, domain)
    url, message_id = row
    if domain.callback_url is not None:
        await _tell(request, deps, domain, url, message_id, now)
    return _to(url)


async def _tell(
    request: Request, deps: Deps, domain: LinkDomain, url: str, message_id: Id, now: float
) -> None:
    assert domain.callback_url is not None
    message = await message_rows.fetch(deps.pool, domain.account_id, message_id)
    agent = request.headers.get("user-agent", "")
    service = None
    if message is not None:
        service = deps.directory.services_by_id.get(message["service_id"] or 0)
    deps.clicks.tell(
        Click(
            token=f"{deps.random.getrandbits(128):032x}",
            callback_url=domain.callback_url,
            account_id=domain.account_id,
            message_sid=sid_of_row(message) if message else "SM" + message_id.hex,
            service_sid=service.sid if service is not None else None,
            recipient=message["recipient"] if message else None,
            sender=message["sender"] if message else None,
            link=url,
            at=now,
            preview=is_preview(request.method, agent),
            user_agent=agent[:AGENT_LIMIT],
        )
    )


def _lost(deps: Deps, domain: LinkDomain) -> Response:
    """The domain's fallback, else 404; one alert a minute says so."""
    found = domain.fallback_url
    deps.alerts.alert(
        FALLBACK_USED if found else NOT_KNOWN,
        f"a short link of {domain.domain_name} is not known or has ended",
        level="warning" if found else "error",
        resource=domain.sid,
        account_id=domain.account_id,
    )
    if found:
        return _to(found)
    return PlainTextResponse(
        "This link is not known, or has ended.\n", status_code=404, headers=_HEADERS
    )


def _to(url: str) -> Response:
    """A redirect. What no header can say of a URL is percent-encoded; the rest stays as it is."""
    location = "".join(
        character if "!" <= character <= "~" else quote(character) for character in url
    )
    return Response(status_code=302, headers={**_HEADERS, "Location": location})
