"""`/v3/OptOuts`: Advanced Opt-Out of a service (docs/spec/twilio-api.md#opt-out-configuration,
docs/spec/messaging-services.md#modes-of-opt-out).

What is edited while it is off is kept and in force once it is on. Once on, only an operator turns
it off. Which service it is for and whether it is on are extensions: Twilio's console sets them.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Final

from starlette.responses import Response

from gateway.api.http.errors import ApiError
from gateway.api.http.forms import Form
from gateway.api.http.render import iso8601
from gateway.api.http.resources import Call, adding, change, gone, json_response
from gateway.directory.directory import OptOutConfig, Service
from storage import opt_out_configs as rows
from storage.database import Connection, UniqueViolation

NAME_LIMIT: Final = 64
LINKS: Final = {"keywords": "Keywords", "messages": "Messages", "message_types": "MessageTypes"}
STAYS_ON: Final = "Advanced Opt-Out is on: only an operator turns it off"


def render(call: Call, config: OptOutConfig) -> dict[str, Any]:
    directory = call.deps.directory
    service = directory.services_by_id.get(config.service_id or 0)
    url = f"{call.origin}/v3/OptOuts/{config.sid}"
    return {
        "opt_out_sid": config.sid,
        "account_sid": directory.accounts_by_id[config.account_id].sid,
        "friendly_name": config.friendly_name,
        "messaging_service_sid": service.sid if service is not None else None,
        "enabled": config.enabled,
        "date_created": iso8601(config.created_at),
        "date_updated": iso8601(config.updated_at),
        "url": url,
        "links": {name: f"{url}/{path}" for name, path in LINKS.items()},
    }


async def create(call: Call) -> Response:
    name = _name(call.form)
    if name is None:
        raise ApiError(20001, "Missing required parameter FriendlyName in the post body")
    service = _service(call)
    enabled = bool(call.form.flag("Enabled"))
    if enabled and service is None:
        raise ApiError(20001, "Enabled needs a MessagingServiceSid")
    values: dict[str, Any] = {
        "sid": call.new_sid("OO"),
        "account_id": call.account.id,
        "service_id": service.id if service is not None else None,
        "friendly_name": name,
        "enabled": enabled,
    }
    add = adding(
        call.deps,
        lambda connection: rows.insert(connection, values),
        call.account.id,
        "opt_out_configurations",
        more=(values["service_id"],),
    )
    try:
        await change(call.deps, add)
    except UniqueViolation:
        raise ApiError(20409, "the service has an opt-out configuration") from None
    return json_response(
        render(call, call.deps.directory.opt_out_configs_by_sid[values["sid"]]), 201
    )


async def list_(call: Call) -> Response:
    configs = [
        config
        for config in call.deps.directory.opt_out_configs_by_sid.values()
        if config.account_id == call.account.id
    ]
    return call.listed_by_sid("opt_outs", configs, partial(render, call))


async def fetch(call: Call) -> Response:
    return json_response(render(call, config_of(call)))


async def update(call: Call) -> Response:
    config, form = config_of(call), call.form
    values: dict[str, Any] = {}
    if (name := _name(form)) is not None:
        values["friendly_name"] = name
    if (service := _service(call)) is not None:
        values["service_id"] = service.id
    if (enabled := form.flag("Enabled")) is not None:
        values["enabled"] = enabled

    async def work(connection: Connection) -> None:
        row = call.found(await rows.locked(connection, config.id))
        moved = row["service_id"] is not None and values.get("service_id") != row["service_id"]
        if row["enabled"] and (enabled is False or ("service_id" in values and moved)):
            raise ApiError(20403, STAYS_ON)
        if enabled and values.get("service_id", row["service_id"]) is None:
            raise ApiError(20001, "Enabled needs a MessagingServiceSid")
        await rows.update(connection, config.id, values)

    try:
        await change(call.deps, work)
    except UniqueViolation:
        raise ApiError(20409, "the service has an opt-out configuration") from None
    return json_response(render(call, call.deps.directory.opt_out_configs_by_sid[config.sid]))


async def delete(call: Call) -> Response:
    config = config_of(call)

    async def work(connection: Connection) -> None:
        row = await rows.locked(connection, config.id)
        if row is not None and row["enabled"]:
            raise ApiError(20403, STAYS_ON)
        await rows.delete(connection, config.id)

    await change(call.deps, work)
    return gone()


async def disable(call: Call) -> Response:
    """Turn it off: the operator's, for his own account's and his subaccounts' services."""
    call.operator_only("Advanced Opt-Out is turned off by an operator")
    config = call.found(call.deps.directory.opt_out_configs_by_sid.get(_path_sid(call)))
    await change(
        call.deps, lambda connection: rows.update(connection, config.id, {"enabled": False})
    )
    return json_response(render(call, call.deps.directory.opt_out_configs_by_sid[config.sid]))


def config_of(call: Call) -> OptOutConfig:
    """The configuration of the path. Raises ApiError 20404."""
    config = call.deps.directory.opt_out_configs_by_sid.get(_path_sid(call))
    if config is None or config.account_id != call.account.id:
        raise call.missing()
    return config


def _path_sid(call: Call) -> str:
    return "OO" + str(call.request.path_params["sid"])[2:].lower()


def _name(form: Form) -> str | None:
    name = form.get("FriendlyName")
    if name is not None and not 1 <= len(name) <= NAME_LIMIT:
        raise ApiError(20001, f"FriendlyName has 1 to {NAME_LIMIT} characters")
    return name


def _service(call: Call) -> Service | None:
    """The service of the form. Raises ApiError 21701."""
    sid = call.form.get("MessagingServiceSid")
    if not sid:
        return None
    service = call.deps.directory.services.get("MG" + sid[2:].lower())
    if service is None or service.account_id != call.account.id:
        raise ApiError(21701)
    return service
