// The core flows through the official Node SDK; prints one JSON object of what it saw.
const twilio = require('twilio');
const { TO, BASE, TWILIO_ACCOUNT_SID: SID, TWILIO_AUTH_TOKEN: TOKEN } = process.env;

function clientOf(base) {
  const client = twilio(SID, TOKEN);
  if (base)
    for (const product of ['api', 'messaging', 'conversations', 'monitor', 'accounts'])
      client[product].baseUrl = `${base}/${product}`;
  return client;
}

async function codeOf(promise) {
  try {
    await promise;
    return null;
  } catch (error) {
    return [error.code, error.status];
  }
}

async function final(client, sid) {
  for (let n = 0; n < 500; n++) {
    const message = await client.messages(sid).fetch();
    if (['delivered', 'failed', 'undelivered', 'canceled'].includes(message.status)) return message;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new Error(`${sid} did not end`);
}

async function main() {
  const client = clientOf(BASE);
  const seen = {};
  const service = await client.messaging.v1.services.create({ friendlyName: 'Node' });
  const number = await client.incomingPhoneNumbers.create({ phoneNumber: '+447700900177' });
  const member = await client.messaging.v1
    .services(service.sid)
    .phoneNumbers.create({ phoneNumberSid: number.sid });
  seen.member = member.phoneNumber;

  const message = await client.messages.create({
    to: TO, messagingServiceSid: service.sid, body: 'from node',
  });
  seen.created = [message.status, message.from, message.numSegments, message.dateCreated instanceof Date];
  const end = await final(client, message.sid);
  seen.ended = [end.status, end.from, end.dateSent instanceof Date];

  const plain = await client.messages.create({ to: TO, from: '+447700900177', body: 'plain' });
  seen.plain = (await final(client, plain.sid)).status;
  const listed = await client.messages.list({ to: TO, pageSize: 1, limit: 10 });
  seen.listed = [message.sid, plain.sid].every((sid) => listed.some((one) => one.sid === sid));
  seen.services = (await client.messaging.v1.services.list({ pageSize: 1 })).length;

  const later = await client.messages.create({
    to: TO, messagingServiceSid: service.sid, body: 'later',
    scheduleType: 'fixed', sendAt: new Date(Date.now() + 3600e3),
  });
  const canceled = await client.messages(later.sid).update({ status: 'canceled' });
  seen.scheduled = [later.status, canceled.status];

  const redacted = await client.messages(message.sid).update({ body: '' });
  seen.redacted = redacted.body;
  seen.deleted = await client.messages(plain.sid).remove();
  seen.errors = [
    await codeOf(client.messages(plain.sid).fetch()),
    await codeOf(client.messages.create({ to: 'nobody', from: '+447700900177', body: 'x' })),
    await codeOf(client.messages.create({ to: TO, from: '+447700900177', body: 'x'.repeat(1601) })),
    await codeOf(clientOfWrong().messages.list({ limit: 1 })),
  ];
  const updated = await client.messaging.v1.services(service.sid).update({ validityPeriod: 60 });
  seen.updated = updated.validityPeriod;
  seen.removed = [
    await client.messaging.v1.services(service.sid).phoneNumbers(number.sid).remove(),
    await client.messaging.v1.services(service.sid).remove(),
  ];
  console.log(JSON.stringify(seen));
}

function clientOfWrong() {
  const client = twilio(SID, 'f'.repeat(32));
  if (BASE) client.api.baseUrl = `${BASE}/api`;
  return client;
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
