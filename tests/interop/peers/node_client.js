// The node "smpp" client against a server: bind, submit, wait for receipts and one message.
// argv: port.
const smpp = require('smpp');

const session = smpp.connect({ host: '127.0.0.1', port: Number(process.argv[2]) });
const ids = [];
const deliveries = [];

function finish() {
  if (ids.length < 20 || deliveries.length < 21) return;
  session.unbind({}, () => {
    console.log(JSON.stringify({ ids, deliveries }));
    process.exit(0);
  });
}

session.on('connect', () => {
  session.bind_transceiver({ system_id: 'tandem', password: 'secret' }, (bound) => {
    if (bound.command_status !== 0) process.exit(1);
    for (let number = 0; number < 20; number += 1) {
      session.submit_sm({
        source_addr_ton: 1, source_addr_npi: 1, source_addr: '15550001111',
        dest_addr_ton: 1, dest_addr_npi: 1, destination_addr: '441632960675',
        registered_delivery: 1, short_message: `message ${number}`,
        user_message_reference: number,
      }, (answer) => { ids.push(answer.message_id); finish(); });
    }
  });
});
session.on('deliver_sm', (pdu) => {
  session.send(pdu.response());
  deliveries.push([pdu.esm_class, String(pdu.short_message.message)]);
  finish();
});
