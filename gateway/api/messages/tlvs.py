"""SMPP parameters in the send call, an extension: `SmppTlv.<tag or name>`, and India's by name.

India's regulator wants the registered sender (`DltEntityId`) and template (`DltTemplateId`) of
every commercial message; both are decimal ids.
"""

from __future__ import annotations

import re
from typing import Final

from gateway.api.http.errors import ApiError
from gateway.api.http.forms import Form
from gateway.channels.smpp.tlvs import DLT_ENTITY_ID, DLT_TEMPLATE_ID, parse_tag, parse_value

PREFIX: Final = "SmppTlv."
DLT: Final = {"DltEntityId": DLT_ENTITY_ID, "DltTemplateId": DLT_TEMPLATE_ID}
DLT_ID: Final = re.compile(r"[0-9]{1,30}")
MOST: Final = 16  # of one message


def tlv_parameters(form: Form) -> list[tuple[str, int, bytes]]:
    """Each as (parameter, tag, value). Raises ApiError 20001 for what cannot be one."""
    found: list[tuple[str, int, bytes]] = []
    for name, text in form.starting(PREFIX):
        try:
            found.append((PREFIX + name, parse_tag(name), parse_value(text)))
        except ValueError as error:
            raise ApiError(20001, f"{PREFIX}{name[:40]}: {error}") from None
    for name, tag in DLT.items():
        value = form.get(name)
        if value is not None:
            if not DLT_ID.fullmatch(value):
                raise ApiError(20001, f"{name} must be 1 to 30 digits")
            found.append((name, tag, value.encode()))
    if len({tag for _, tag, _ in found}) != len(found):
        raise ApiError(20001, "the same TLV is given twice")
    if len(found) > MOST:
        raise ApiError(20001, f"a message takes at most {MOST} TLVs")
    return found
