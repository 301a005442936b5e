"""`/v1/Content`: content templates, and messages made from them (content v1)."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from gateway.api.http.errors import ApiError
from gateway.api.http.render import iso8601
from gateway.api.http.resources import Call, adding, change, gone, json_response, unkept
from gateway.api.messages.template_variables import variables_of
from gateway.content.templates import problem_of
from gateway.directory.directory import ContentTemplate
from storage import templates as template_rows

NAME_LIMIT = 450


def render(template: ContentTemplate, account_sid: str, origin: str) -> dict[str, Any]:
    return {
        "sid": template.sid,
        "account_sid": account_sid,
        "friendly_name": template.friendly_name,
        "language": template.language,
        "variables": template.variables,
        "types": template.types,
        "date_created": iso8601(template.created_at),
        "date_updated": iso8601(template.updated_at),
        "url": f"{origin}/v1/Content/{template.sid}",
        "links": {},
    }


async def create(call: Call) -> Response:
    """From JSON: `friendly_name`, `language`, `variables`, `types`. Raises ApiError 20001."""
    given = call.json
    if b"\\u0000" in call.body:
        raise ApiError(20001, unkept(call))
    name, language = given.get("friendly_name") or "", given.get("language")
    if not isinstance(name, str) or len(name) > NAME_LIMIT:
        raise ApiError(20001, f"friendly_name must be a text of at most {NAME_LIMIT} characters")
    if not isinstance(language, str) or not 2 <= len(language) <= 10:
        raise ApiError(20001, "language must be a code, as en")
    types = given.get("types")
    if isinstance(types, dict):  # the SDK names every type, most of them with null
        types = {kind: content for kind, content in types.items() if content is not None}
    if problem := problem_of(types):
        raise ApiError(20001, problem)
    sid = call.new_sid("HX")
    values = {
        "sid": sid,
        "account_id": call.account.id,
        "friendly_name": name,
        "language": language,
        "variables": variables_of(given.get("variables") or {}, 20001),
        "types": types,
    }
    add = adding(
        call.deps,
        lambda c: template_rows.insert_template(c, values),
        call.account.id,
        "templates",
        "template_octets",
    )
    await change(call.deps, add)
    template = call.deps.directory.templates[sid]
    return json_response(render(template, call.account.sid, call.origin), 201)


async def list_(call: Call) -> Response:
    found = [
        template
        for template in call.deps.directory.templates.values()
        if template.account_id == call.account.id
    ]
    return call.listed_by_sid(
        "contents", found, lambda template: render(template, call.account.sid, call.origin)
    )


async def fetch(call: Call) -> Response:
    return json_response(render(_template(call), call.account.sid, call.origin))


async def delete(call: Call) -> Response:
    template = _template(call)
    await change(call.deps, lambda c: template_rows.delete_template(c, template.id))
    return gone()


def _template(call: Call) -> ContentTemplate:
    sid = call.request.path_params["sid"]
    template = call.deps.directory.templates.get(sid[:2].upper() + sid[2:].lower())
    if template is None or template.account_id != call.account.id:
        raise call.missing()
    return template
