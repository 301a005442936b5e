"""Domains of short links: the operator's `/tandem/v1/LinkDomains`, and what the SDK has of them
(`/v1/LinkShortening`, docs/spec/twilio-api.md#link-shortening-resources).

A domain is taken at the operator's word: whoever points its DNS here has it.
"""

from __future__ import annotations

import re
from functools import partial
from typing import Any, Final

from starlette.responses import Response

from gateway.api.http.errors import ApiError
from gateway.api.http.forms import Form
from gateway.api.http.render import iso8601
from gateway.api.http.resources import Call, adding, change, gone, json_response
from gateway.api.services.services import service_of
from gateway.directory.directory import LinkDomain, Service
from storage import short_links as link_rows
from storage.database import UniqueViolation

NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}(?<!-)(\.[a-z0-9-]{1,63})*(:[0-9]{1,5})?")
LONGEST_NAME: Final = 253  # characters of a host name
_OPERATOR: Final = "domains of short links are the operator's"


async def create(call: Call) -> Response:
    """From `DomainName` and what its configuration has, for `AccountSid` (default: the caller)."""
    call.operator_only(_OPERATOR)
    name = (call.form.get("DomainName") or "").lower()
    if len(name) > LONGEST_NAME or not NAME.fullmatch(name):
        raise ApiError(20001, "DomainName must be a host name, as go.example.com")
    account = call.named_account(call.form.get("AccountSid"))
    sid = call.new_sid("DN")
    values = {
        "sid": sid,
        "config_sid": call.new_sid("ZK"),
        "account_id": account.id,
        "domain_name": name,
        **_configuration(call.form),
    }
    add = adding(
        call.deps, lambda c: link_rows.insert_domain(c, values), account.id, "link_domains"
    )
    try:
        await change(call.deps, add)
    except UniqueViolation:
        raise ApiError(20409, f"{name} is configured already") from None
    return json_response(_render(call, call.deps.directory.link_domains[sid]), 201)


async def list_(call: Call) -> Response:
    found = [
        domain
        for domain in call.deps.directory.link_domains.values()
        if call.sees(domain.account_id)
    ]
    return call.listed_by_sid("domains", found, partial(_render, call))


async def fetch(call: Call) -> Response:
    return json_response(_render(call, _domain(call)))


async def delete(call: Call) -> Response:
    """A domain's services shorten no more, and its links end."""
    call.operator_only(_OPERATOR)
    domain = _domain(call)
    await change(call.deps, lambda connection: link_rows.delete_domain(connection, domain.id))
    return gone()


async def fetch_config(call: Call) -> Response:
    return json_response(_render_config(call, _domain(call)))


async def update_config(call: Call) -> Response:
    """Raises ApiError 30122, 21402."""
    domain = _domain(call)
    if values := _configuration(call.form):
        await change(
            call.deps, lambda connection: link_rows.update_domain(connection, domain.id, values)
        )
    return json_response(_render_config(call, call.deps.directory.link_domains[domain.sid]))


async def tie(call: Call) -> Response:
    """The service's links are shortened with this domain from now on; it has one at a time."""
    domain, service = _domain(call), _own_service(call, _domain(call))
    await change(call.deps, lambda c: link_rows.tie(c, service.id, domain.id))
    return json_response(_render_tie(call, domain, service), 201)


async def fetch_tie(call: Call) -> Response:
    """Ours: the address that a tie shows as its own."""
    domain, service = _tied(call)
    return json_response(_render_tie(call, domain, service))


async def untie(call: Call) -> Response:
    _, service = _tied(call)
    await change(call.deps, lambda c: link_rows.tie(c, service.id, None))
    return gone()


async def of_service(call: Call) -> Response:
    service = service_of(call)
    return json_response(_render_tie(call, call.found(service.link_domain), service))


async def config_of_service(call: Call) -> Response:
    service = service_of(call)
    content = _render_config(call, call.found(service.link_domain))
    del content["disable_https"]
    return json_response(
        {
            **content,
            "messaging_service_sid": service.sid,
            "url": f"{call.origin}/v1/LinkShortening/MessagingService/{service.sid}/DomainConfig",
        }
    )


def _configuration(form: Form) -> dict[str, Any]:
    """What is given of a domain's configuration, by column. Raises ApiError."""
    values: dict[str, Any] = {}
    for name, column, code in (
        ("FallbackUrl", "fallback_url", 30122),
        ("CallbackUrl", "callback_url", 21402),
    ):
        url = form.url(name, code)
        if url is not None:
            values[column] = url or None
    for name, column in (
        ("ContinueOnFailure", "continue_on_failure"),
        ("DisableHttps", "disable_https"),
    ):
        flag = form.flag(name)
        if flag is not None:
            values[column] = flag
    return values


def _domain(call: Call) -> LinkDomain:
    sid = call.request.path_params["domain"]
    domain = call.deps.directory.link_domains.get(sid[:2].upper() + sid[2:].lower())
    if domain is None or not call.sees(domain.account_id):
        raise call.missing()
    return domain


def _own_service(call: Call, domain: LinkDomain) -> Service:
    """The service of the path: of the account that has the domain."""
    sid = call.request.path_params["service"]
    service = call.deps.directory.services.get(sid[:2].upper() + sid[2:].lower())
    if service is None or service.account_id != domain.account_id:
        raise call.missing()
    return service


def _tied(call: Call) -> tuple[LinkDomain, Service]:
    """The domain and the service of the path, which has it now. Raises ApiError 20404."""
    domain = _domain(call)
    service = _own_service(call, domain)
    if service.link_domain is None or service.link_domain.sid != domain.sid:
        raise call.missing()
    return domain, service


def _render(call: Call, domain: LinkDomain) -> dict[str, Any]:
    services = call.deps.directory.services.values()
    return {
        "sid": domain.sid,
        "account_sid": call.deps.directory.accounts_by_id[domain.account_id].sid,
        "domain_name": domain.domain_name,
        "fallback_url": domain.fallback_url,
        "callback_url": domain.callback_url,
        "continue_on_failure": domain.continue_on_failure,
        "disable_https": domain.disable_https,
        "messaging_service_sids": [
            service.sid for service in services if service.link_domain == domain
        ],
        "date_created": iso8601(domain.created_at),
        "date_updated": iso8601(domain.updated_at),
        "url": f"{call.origin}/v1/LinkDomains/{domain.sid}",
    }


def _render_config(call: Call, domain: LinkDomain) -> dict[str, Any]:
    return {
        "domain_sid": domain.sid,
        "config_sid": domain.config_sid,
        "fallback_url": domain.fallback_url,
        "callback_url": domain.callback_url,
        "continue_on_failure": domain.continue_on_failure,
        "disable_https": domain.disable_https,
        "date_created": iso8601(domain.created_at),
        "date_updated": iso8601(domain.updated_at),
        "url": f"{call.origin}/v1/LinkShortening/Domains/{domain.sid}/Config",
    }


def _render_tie(call: Call, domain: LinkDomain, service: Service) -> dict[str, Any]:
    base = f"{call.origin}/v1/LinkShortening/Domains"
    return {
        "domain_sid": domain.sid,
        "messaging_service_sid": service.sid,
        "url": f"{base}/{domain.sid}/MessagingServices/{service.sid}",
    }
