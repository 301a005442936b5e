"""A messaging service of its own, filled step by step by a test."""

from __future__ import annotations

import json
from typing import Any

from testing import GatewayUnderTest, Sdk

from smpp.smsc import Smsc


class Pool:
    """A service of its own, filled by the test."""

    def __init__(self, sdk: Sdk, smsc: Smsc, sid: str) -> None:
        self.sdk = sdk
        self.smsc = smsc
        self.sid = sid
        self.service = sdk.client.messaging.v1.services(sid)

    @classmethod
    async def of(cls, gateway: GatewayUnderTest, smsc: Smsc) -> Pool:
        sdk = await gateway.sdk()
        service = await sdk.call(sdk.client.messaging.v1.services.create, "Kinds")
        return cls(sdk, smsc, service.sid)

    async def number(self, text: str, **more: Any) -> str:
        """A number in the pool; its SID. `more` are parameters the SDK has not."""
        if more:
            path = f"/2010-04-01/Accounts/{self.sdk.account_sid}/IncomingPhoneNumbers.json"
            status, body = await self.sdk.operate("POST", path, data={"PhoneNumber": text, **more})
            assert status == 201, body
            sid = body["sid"]
            return str((await self.sdk.call(self.service.phone_numbers.create, sid)).sid)
        number = await self.sdk.call(
            self.sdk.client.incoming_phone_numbers.create, phone_number=text
        )
        return str((await self.sdk.call(self.service.phone_numbers.create, number.sid)).sid)

    async def short_code(self, code: str, country: str) -> None:
        sid = await self.sdk.add_short_code(code, country)
        await self.sdk.call(self.service.short_codes.create, sid)

    async def sender_of(self, to: str, body: str = "hello", **named: Any) -> str:
        """Send one; the From it was delivered with."""
        message = await self.sdk.send(body, to, messaging_service_sid=self.sid, **named)
        return str((await self.sdk.reaches(message.sid, "delivered")).from_)

    async def sent_from(self, to: str) -> dict[str, Any]:
        """Send one; the carrier's record of it."""
        message = await self.sdk.send(to=to, messaging_service_sid=self.sid)
        final = await self.sdk.reaches(message.sid, "delivered")
        [*_, last] = [json.loads(line) for line in self.smsc.ledger.lines(to)]
        assert final.from_.removeprefix("+") == last["source"]
        return dict(last)
