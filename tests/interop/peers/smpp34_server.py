"""smpp34's server: answers each submit, sends its receipt and one message. argv: port."""

import asyncio
import os
import sys

import smpp34


async def main(port: int) -> None:
    server = smpp34.Server("127.0.0.1", port, system_id="smpp34")
    await server.start()
    print("ready", flush=True)
    sessions = {}
    taken = 0
    while True:
        event = await server.next()
        if isinstance(event, smpp34.Esme):
            sessions[event.session_id] = event
            await event.deliver_sm(
                "15550001111", "hello €".encode("utf-16-be"), source_addr="447700900123",
                data_coding=8, source_addr_ton=1, dest_addr_ton=1,
            )  # fmt: skip
        elif isinstance(event, smpp34.SubmitSmEvent):
            taken += 1
            if event.destination_addr.endswith("99"):
                event.reject(smpp34.ESME_RTHROTTLED)
                continue
            message_id = f"{taken:08x}"
            event.accept(message_id)
            receipt = (
                f"id:{message_id} sub:001 dlvrd:001 submit date:2601010101 "
                f"done date:2601010102 stat:DELIVRD err:000 text:{event.short_message.decode()}"
            )
            asyncio.ensure_future(  # noqa: RUF006 - the process is ended by its parent
                sessions[event.session_id].deliver_sm(
                    event.source_addr, receipt.encode(), source_addr=event.destination_addr,
                    esm_class=4,
                )
            )  # fmt: skip
        elif isinstance(event, smpp34.Unbound):
            print("unbound", flush=True)
            os._exit(0)


asyncio.run(main(int(sys.argv[1])))
