"""`/openapi.json` and `/docs`: the API as a document, from the table that the routes are held to.

One description of each operation and parameter (`gateway.api.reference.coverage`), one of the types
that the parameters are checked for (here, by name, as the parameters of this API keep their meaning
wherever they stand). A test reads the document and calls every operation in it with good and bad
values.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import orjson
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from gateway.api.reference.coverage import OPERATIONS
from gateway.api.reference.operation import Operation, Support
from gateway.api.routes import RESOURCES

Schema = Mapping[str, Any]

FORM, JSON = "application/x-www-form-urlencoded", "application/json"
_TEXT: Final[Schema] = {"type": "string"}
_FLAG: Final[Schema] = {"type": "boolean"}
_URL: Final[Schema] = {"type": "string", "format": "uri", "maxLength": 4000}
_METHOD: Final[Schema] = {"type": "string", "enum": ["GET", "POST"]}
_DATE: Final[Schema] = {"type": "string", "format": "date-time"}
_PAGING: Final = {
    "PageSize": {"type": "integer", "minimum": 1},
    "Page": {"type": "integer", "minimum": 0},
    "PageToken": _TEXT,
}


def _sid(*prefixes: str) -> Schema:
    return {"type": "string", "pattern": f"^(?:{'|'.join(prefixes)})[0-9a-fA-F]{{32}}$"}


# By the parameter's name; what is not here is a text.
TYPES: Final[Mapping[str, Schema]] = {
    "To": {"type": "string", "description": "E.164, or a channel address"},
    "Body": {"type": "string", "maxLength": 1600},
    "MessagingServiceSid": _sid("MG"),
    "ApplicationSid": _sid("AP"),
    "SmsApplicationSid": _sid("AP"),
    "PhoneNumberSid": _sid("PN"),
    "ShortCodeSid": _sid("SC"),
    "Sid": _sid("XE"),
    "MediaUrl": {"type": "array", "items": _URL, "maxItems": 10},
    "ValidityPeriod": {"type": "integer", "minimum": 1, "maximum": 36_000},
    "ScheduleType": {"type": "string", "enum": ["fixed"]},
    "SendAt": _DATE,
    "SmartEncoded": _FLAG,
    "ProvideFeedback": _FLAG,
    "ContentRetention": {"type": "string", "enum": ["retain", "discard"]},
    "AddressRetention": {"type": "string", "enum": ["retain", "obfuscate"]},
    "Outcome": {"type": "string", "enum": ["confirmed", "unconfirmed"]},
    "FriendlyName": {"type": "string", "maxLength": 64},
    "StickySender": _FLAG,
    "SmartEncoding": _FLAG,
    "MmsConverter": _FLAG,
    "AreaCodeGeomatch": _FLAG,
    "FallbackToLongCode": _FLAG,
    "SynchronousValidation": _FLAG,
    "UseInboundWebhookOnNumber": _FLAG,
    "AlphaSender": {"type": "string", "pattern": r"^(?=.*[A-Za-z])[A-Za-z0-9 \-+_&]{1,11}$"},
    "IsoCountryCode": {"type": "string", "pattern": "^(?:[A-Z]{2})?$"},
    "LogLevel": {"type": "string", "enum": ["error", "warning", "notice", "debug"]},
    "StartDate": _DATE,
    "EndDate": _DATE,
    "SmsMps": {"type": "number", "exclusiveMinimum": 0},
    **dict.fromkeys(
        ("StatusCallback", "InboundRequestUrl", "FallbackUrl", "SmsUrl", "SmsFallbackUrl"), _URL
    ),
    **dict.fromkeys(("InboundMethod", "FallbackMethod", "SmsMethod", "SmsFallbackMethod"), _METHOD),
}
# Bodies that are JSON: their fields are objects and lists, described by the page on them.
_JSON_BODIES: Final = ("/comms/", "/preview/", "/tandem/v1/Carriers", "/content/")
_PARAMETER: Final = re.compile(r"\{(\w+)\}")

ERROR: Final[Schema] = {
    "type": "object",
    "required": ["code", "message", "more_info", "status"],
    "properties": {
        "code": {"type": "integer"},
        "message": _TEXT,
        "more_info": {"type": "string", "format": "uri"},
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
    },
}


def document(origin: str = "") -> dict[str, Any]:
    """The OpenAPI 3.1 document."""
    paths: dict[str, dict[str, Any]] = {}
    for operation in _operations():
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Tandem",
            "version": "1",
            "description": "Programmable messaging on your own SMPP binds. Paths begin with the"
            " product's name, which may be the host's first label instead.",
        },
        "servers": [{"url": origin or "/"}],
        "security": [{"basic": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"basic": {"type": "http", "scheme": "basic"}},
            "schemas": {"Error": ERROR},
        },
    }


def _operations() -> Iterator[Operation]:
    """Twilio's, then the operator's own."""
    yield from OPERATIONS
    for resource in RESOURCES:
        if resource.path.startswith("/tandem/"):
            for method in resource.handlers:
                yield Operation(method, resource.path, note="the operator's")


def _operation(operation: Operation) -> dict[str, Any]:
    product = operation.path[1:].partition("/")[0]
    described: dict[str, Any] = {
        "tags": [product],
        "operationId": f"{operation.method.lower()}{operation.path}",
        "parameters": [
            {"name": name, "in": "path", "required": True, "schema": _TEXT}
            for name in _PARAMETER.findall(operation.path)
        ],
        "responses": {
            "2XX": {"description": "as it is", "content": {JSON: {"schema": {}}}},
            "4XX": {
                "description": "what is wrong",
                "content": {JSON: {"schema": {"$ref": "#/components/schemas/Error"}}},
            },
        },
    }
    if operation.note:
        described["summary"] = operation.note
    fields = {
        name: TYPES.get(name, _TEXT)
        for name, state in operation.parameters.items()
        if state is not Support.IGNORED and "*" not in name
    }
    if operation.method == "GET":
        lists = {} if operation.path.endswith(("}", "}.json")) else _PAGING
        described["parameters"] += [
            {"name": name, "in": "query", "schema": schema}
            for name, schema in {**fields, **lists}.items()
        ]
    elif operation.method == "POST":
        is_json = operation.path.startswith(_JSON_BODIES)
        properties = {key: {} for key in fields} if is_json else fields
        described["requestBody"] = {
            "content": {
                JSON if is_json else FORM: {"schema": {"type": "object", "properties": properties}}
            }
        }
    return described


async def serve(request: Request) -> Response:
    origin = f"{request.url.scheme}://{request.headers.get('host', '')}"
    return Response(orjson.dumps(document(origin)), media_type=JSON)


async def docs(request: Request) -> Response:
    """The same to read: no script, nothing from elsewhere."""
    rows: list[str] = []
    tag = ""
    for operation in _operations():
        product = operation.path[1:].partition("/")[0]
        if product != tag:
            tag = product
            rows.append(f"<h2>{html.escape(tag)}</h2>")
        rows.append(_as_html(operation))
    return HTMLResponse(PAGE.replace("<!--operations-->", "\n".join(rows)))


def _as_html(operation: Operation) -> str:
    cells = []
    for name, state in operation.parameters.items():
        schema = TYPES.get(name, _TEXT)
        kind = "/".join(schema["enum"]) if "enum" in schema else str(schema["type"])
        limits = [
            f"{word} {schema[key]:,}"
            for key, word in (
                ("minimum", "from"),
                ("maximum", "to"),
                ("maxLength", "at most"),
                ("maxItems", "up to"),
            )
            if key in schema
        ]
        cells.append(
            f"<tr><td><code>{html.escape(name)}</code></td><td>{html.escape(kind)}"
            f" {html.escape(', '.join(limits))}</td><td>{state.value}</td></tr>"
        )
    table = f"<table>{''.join(cells)}</table>" if cells else ""
    note = f" <small>{html.escape(operation.note)}</small>" if operation.note else ""
    return (
        f"<details><summary><b>{operation.method}</b> <code>{html.escape(operation.path)}</code>"
        f"{note}</summary>{table}</details>"
    )


PAGE: Final = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Tandem API</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
summary { cursor: pointer; padding: .2rem 0 } b { display: inline-block; width: 4.5rem }
table { border-collapse: collapse; margin: .3rem 0 1rem 4.5rem } td { padding: 0 1rem 0 0 }
small { color: #666 }
</style>
<h1>Tandem API</h1>
<p>Every operation and parameter. A parameter is <i>yes</i> where it has its effect, <i>stored</i>
where it is kept and shown, <i>ignored</i> or <i>refused</i>. For programs:
<a href="/openapi.json">openapi.json</a>.</p>
<!--operations-->
</html>
"""
