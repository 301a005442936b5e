"""smpplib's client against a server: as smpp34_client. argv: port."""

import json
import sys

import smpplib.client
import smpplib.consts

client = smpplib.client.Client("127.0.0.1", int(sys.argv[1]), timeout=20)
ids: list[str] = []
deliveries: list[list[object]] = []


def delivered(pdu):
    deliveries.append([pdu.esm_class, pdu.short_message.decode("latin-1")])


client.set_message_sent_handler(lambda pdu: ids.append(pdu.message_id.decode()))
client.set_message_received_handler(delivered)
client.connect()
client.bind_transceiver(system_id="tandem", password="secret")
for number in range(20):
    client.send_message(
        source_addr_ton=smpplib.consts.SMPP_TON_INTL,
        source_addr_npi=smpplib.consts.SMPP_NPI_ISDN,
        source_addr="15550001111",
        dest_addr_ton=smpplib.consts.SMPP_TON_INTL,
        dest_addr_npi=smpplib.consts.SMPP_NPI_ISDN,
        destination_addr="441632960675",
        short_message=b"message %d" % number,
        registered_delivery=True,
        user_message_reference=number,
    )
while len(ids) < 20 or len(deliveries) < 21:
    client.read_once()
client.unbind()
client.disconnect()
print(json.dumps({"ids": ids, "deliveries": deliveries}), flush=True)
