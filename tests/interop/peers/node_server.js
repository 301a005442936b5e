// The node "smpp" server: answers each submit, sends its receipt and one message. argv: port.
const smpp = require('smpp');

let taken = 0;
smpp.createServer({}, (session) => {
  session.on('bind_transceiver', (pdu) => {
    session.send(pdu.response({ system_id: 'node-smpp' }));
    session.deliver_sm({
      source_addr_ton: 1, source_addr: '447700900123',
      dest_addr_ton: 1, destination_addr: '15550001111', short_message: 'hello €',
      data_coding: 8,
    });
  });
  session.on('submit_sm', (pdu) => {
    taken += 1;
    if (pdu.destination_addr.endsWith('99')) {
      session.send(pdu.response({ command_status: smpp.ESME_RTHROTTLED }));
      return;
    }
    const id = taken.toString(16).padStart(8, '0');
    session.send(pdu.response({ message_id: id }));
    session.deliver_sm({
      source_addr: pdu.destination_addr, destination_addr: pdu.source_addr, esm_class: 4,
      short_message: `id:${id} sub:001 dlvrd:001 submit date:2601010101 `
        + 'done date:2601010102 stat:DELIVRD err:000 text:',
      receipted_message_id: id, message_state: 2,
    });
  });
  session.on('enquire_link', (pdu) => session.send(pdu.response()));
  session.on('unbind', (pdu) => {
    session.send(pdu.response());
    session.close();
    console.log('unbound');
    setTimeout(() => process.exit(0), 100);
  });
}).listen(Number(process.argv[2]), '127.0.0.1', () => console.log('ready'));
