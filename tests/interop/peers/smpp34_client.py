"""smpp34's client against a server: bind, submit, wait for receipts and one message. argv: port."""

import asyncio
import json
import os
import sys

import smpp34


async def main(port: int) -> None:
    client = smpp34.Client("127.0.0.1", port, "tandem", "secret", bind_type="TRX")
    smsc = await client.connect()
    ids = []
    for number in range(20):
        answer = await smsc.submit_sm(
            "441632960675",
            b"message %d" % number,
            source_addr="15550001111",
            source_addr_ton=1,
            source_addr_npi=1,
            dest_addr_ton=1,
            dest_addr_npi=1,
            registered_delivery=1,
            tlvs=[smpp34.Tlv(0x1400, b"vendor")],
        )
        assert answer.is_success
        ids.append(answer.message_id)
    deliveries = []
    while len(deliveries) < 21:
        event = await smsc.next()
        assert isinstance(event, smpp34.DeliverSmEvent), event
        deliveries.append([event.esm_class, event.short_message.decode("latin-1")])
    await smsc.unbind()
    print(json.dumps({"ids": ids, "deliveries": deliveries}), flush=True)
    os._exit(0)  # the extension may abort when the interpreter ends


asyncio.run(main(int(sys.argv[1])))
