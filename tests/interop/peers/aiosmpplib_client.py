"""aiosmpplib's ESME against a server: as smpp34_client. argv: port."""

import asyncio
import json
import logging
import os
import sys

from aiosmpplib import ESME, DeliverSm, PhoneNumber, SubmitSm, SubmitSmResp
from aiosmpplib.broker import SimpleBroker
from aiosmpplib.hook import AbstractHook
from aiosmpplib.state import NPI, TON


class Hook(AbstractHook):
    def __init__(self) -> None:
        self.ids: list[str] = []
        self.deliveries: list[list[object]] = []
        self.done = asyncio.Event()

    async def sending(self, smpp_message, pdu, client_id):
        pass

    async def received(self, smpp_message, pdu, client_id):
        if isinstance(smpp_message, SubmitSmResp) and not isinstance(smpp_message, DeliverSm):
            self.ids.append(smpp_message.message_id)
        elif isinstance(smpp_message, DeliverSm):
            self.deliveries.append([smpp_message.esm_class, smpp_message.short_message])
        if len(self.deliveries) == 21:
            self.done.set()

    async def send_error(self, smpp_message, error, client_id):
        raise error


async def main(port: int) -> None:
    hook = Hook()
    broker = SimpleBroker()
    esme = ESME(
        "127.0.0.1", port, "tandem", "secret", broker=broker, hook=hook, log_level=logging.ERROR
    )
    for number in range(20):
        await broker.enqueue(
            SubmitSm(
                short_message=f"message {number}",
                source=PhoneNumber("15550001111", TON.INTERNATIONAL, NPI.ISDN),
                destination=PhoneNumber("441632960675", TON.INTERNATIONAL, NPI.ISDN),
                log_id=str(number),
            )
        )
    task = asyncio.create_task(esme.start())
    async with asyncio.timeout(30):
        await hook.done.wait()
    await esme.stop()
    task.cancel()
    print(json.dumps({"ids": hook.ids, "deliveries": hook.deliveries}), flush=True)
    os._exit(0)


asyncio.run(main(int(sys.argv[1])))
