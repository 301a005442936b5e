"""The coverage table says what is true: of our routes, of the SDK's parameters, of its page."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import pytest
from twilio.rest import Client

from gateway.api.reference.coverage import OPERATIONS, render
from gateway.api.reference.operation import Operation
from gateway.api.routes import RESOURCES

PAGE = Path(__file__).parents[2] / "docs" / "api-coverage.md"
# What a context of the SDK is made from.
KEYS = {
    "messages": ("SM" + "0" * 32,),
    "accounts": ("AC" + "0" * 32,),
    "keys": ("SK" + "0" * 32,),
    "applications": ("AP" + "0" * 32,),
    "incoming_phone_numbers": ("PN" + "0" * 32,),
    "short_codes": ("SC" + "0" * 32,),
    "services": ("MG" + "0" * 32,),
    "available_phone_numbers": ("US",),
    "address_configurations": ("IG" + "0" * 32,),
    "conversations": ("CH" + "0" * 32,),
    "participants": ("MB" + "0" * 32,),
    "domain_config": ("DN" + "0" * 32,),
    "linkshortening_messaging_service": ("DN" + "0" * 32, "MG" + "0" * 32),
    "linkshortening_messaging_service_domain_association": ("MG" + "0" * 32,),
    "domain_config_messaging_service": ("MG" + "0" * 32,),
    "webhooks": ("WH" + "0" * 32,),
}
BOOKKEEPING = {"limit", "page_size"}


def test_the_page_is_the_table() -> None:
    assert PAGE.read_text() == render(), (
        "python -m gateway.api.reference.coverage > docs/api-coverage.md"
    )


def test_the_table_has_every_route_and_no_other() -> None:
    routes = {
        (method, resource.path)
        for resource in RESOURCES
        for method in resource.handlers
        if not resource.path.startswith("/tandem/")
    }
    table = [(operation.method, operation.path) for operation in OPERATIONS]
    assert len(table) == len(set(table))
    assert set(table) == routes


def sdk_call(path: str) -> Any:
    """`messages().update` of a client."""
    place: Any = Client("AC" + "0" * 32, "x")
    for step in path.split("."):
        name = step.removesuffix("()")
        place = getattr(place, name)
        if step.endswith("()"):
            keys = KEYS.get(name, ())  # of two of one name, one may need none
            place = place(*keys[: len(inspect.signature(place).parameters)])
    return place


def snake(name: str) -> str:
    """`DateSent<` as the SDK names it."""
    if name == "From":
        return "from_"
    name = name.replace("<", "Before").replace(">", "After").replace(".", "")
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


@pytest.mark.parametrize(
    "operation", [operation for operation in OPERATIONS if operation.sdk], ids=lambda one: one.sdk
)
def test_every_parameter_of_the_sdk_is_in_the_table(operation: Operation) -> None:
    parameters = set(inspect.signature(sdk_call(operation.sdk)).parameters) - BOOKKEEPING
    assert parameters <= {snake(name) for name in operation.parameters}
