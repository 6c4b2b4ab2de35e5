'use strict';
const assert = require('node:assert/strict');
const { test } = require('node:test');
const { busOf, daemonOf, penstock } = require('./support.js');

test('an event keeps all that it was given', async (t) => {
  const bus = busOf(t);
  const ticks = bus.producer('ticks');
  const reader = bus.reader('ticks', { from: 'beginning' });
  const given = {
    key: 'k\0ü', id: 'tick-1', headers: { trace: 'a\0b', empty: '', __proto__x: 'y' }, contentType: 'text/plain', schema: 's/2',
  };
  assert.equal(ticks.publish(Buffer.from([0, 255]), given), 0n);
  const event = await reader.next();
  assert.equal(event.topic, 'ticks');
  assert.equal(event.offset, 0n);
  assert.deepEqual([...event.payload], [0, 255]);
  assert.equal(event.key, given.key);
  assert.equal(event.idText, 'tick-1');
  assert.match(event.id, /^[0-9a-f]{32}$/);
  assert.deepEqual(event.headers, given.headers);
  assert.deepEqual([event.contentType, event.schema], ['text/plain', 's/2']);
  assert.equal(event.deadLetter, undefined);
  assert.ok(Math.abs(event.time - Date.now()) < 3600_000);
  ticks.publish('');
  const bare = await reader.next();
  assert.deepEqual([bare.payload.length, bare.key, bare.idText, bare.contentType, bare.schema, Object.keys(bare.headers)],
    [0, undefined, undefined, undefined, undefined, []]);
  assert.notEqual(bare.id, event.id);
});

test('a payload is any bytes', async (t) => {
  const bus = busOf(t);
  const ticks = bus.producer('ticks');
  const reader = bus.reader('ticks', { from: 'beginning' });
  const whole = Uint8Array.of(9, 1, 2, 9);
  const some = [whole.subarray(1, 3), new DataView(whole.buffer, 1, 2), Uint8Array.of(1, 2).buffer,
    new Uint16Array(Uint8Array.of(1, 2).buffer), '\u0001\u0002'];
  for (const payload of some) {
    ticks.publish(payload);
    assert.deepEqual([...(await reader.next()).payload], [1, 2]);
  }
  for (const wrong of [1, null, undefined, {}, [1, 2]]) assert.throws(() => ticks.publish(wrong), TypeError);
});

test('a batch is published whole or not at all', async (t) => {
  const bus = busOf(t);
  const ticks = bus.producer('ticks');
  const reader = bus.reader('ticks', { from: 'beginning' });
  assert.equal(ticks.publishBatch(['a', { payload: 'b', key: 'k' }, Buffer.from('c')]), 0n);
  const seen = [];
  for (let i = 0; i < 3; ++i) seen.push(await reader.next());
  assert.deepEqual(seen.map((event) => [event.offset, event.payload.toString(), event.key]),
    [[0n, 'a', undefined], [1n, 'b', 'k'], [2n, 'c', undefined]]);
  assert.throws(() => ticks.publishBatch(['d', 7]), TypeError);
  assert.throws(() => ticks.publishBatch([]), penstock.InvalidArgumentError);
  assert.equal(bus.describeTopic('ticks').nextOffset, 3n);
});

test('a full ring is an error at once for publish, and send waits for room, in order', async (t) => {
  const bus = busOf(t);
  const ticks = bus.producer('ticks');
  const consumer = bus.consumer('desk', 'ticks');
  const payload = Buffer.alloc(8000);
  let published = 0n;
  assert.throws(() => { for (;;) published = ticks.publish(payload) + 1n; }, (error) =>
    error instanceof penstock.FullError && error.code === 'ENOBUFS' && error.errno < 0 && /full/.test(error.message));
  const sent = [0, 1, 2].map((i) => ticks.send(Buffer.concat([Buffer.from([i]), payload])));
  const aborting = new AbortController();
  const aborted = ticks.send(payload, {}, { signal: aborting.signal });
  aborting.abort();
  await assert.rejects(aborted, { name: 'AbortError' });
  await assert.rejects(ticks.send(payload, {}, { timeout: 1 }), penstock.FullError);
  // The same loop makes the room: a wait that held it up would be for ever.
  for (let i = 0n; i < published; ++i) consumer.ack(await consumer.next());
  assert.deepEqual(await Promise.all(sent), [published, published + 1n, published + 2n]);
  for (let i = 0; i < 3; ++i) {
    const event = await consumer.next();
    assert.equal(event.payload[0], i);
    consumer.ack(event);
  }
  assert.equal(bus.describeTopic('ticks').nextOffset, published + 3n);
});

test('awaitDurable waits for the daemon without holding up the loop', async (t) => {
  const bus = busOf(t);
  const orders = bus.producer('orders');
  const offsets = [orders.publish('a'), orders.publish('b')];
  await assert.rejects(orders.awaitDurable(0n, { timeout: 0 }), (error) =>
    error instanceof penstock.NoDaemonError && /start penstockd/.test(error.message));
  const aborted = orders.awaitDurable(0n, { signal: AbortSignal.timeout(1) });
  await assert.rejects(aborted, { name: 'TimeoutError' });
  const waits = offsets.map((offset) => orders.awaitDurable(offset));
  offsets.push(orders.publish('c')); // while a thread waits
  daemonOf(t, bus);
  await Promise.all(waits);
  await orders.awaitDurable(Number(offsets[2]));
  assert.ok(bus.describeTopic('orders').durableOffset >= 3n);
  await assert.rejects(bus.producer('ticks').awaitDurable(0), penstock.InvalidArgumentError);
  const never = orders.awaitDurable(1000n);
  orders.close();
  await assert.rejects(never, penstock.ClosedError);
});

test('a topic that refuses duplicates tells of the first', (t) => {
  const bus = busOf(t);
  bus.createTopic('once', { durability: 'memory', publishDedupe: 16 });
  const once = bus.producer('once');
  assert.deepEqual([once.publish('a', { id: 'x' }), once.lastDuplicate], [0n, false]);
  assert.deepEqual([once.publish('b', { id: 'x' }), once.lastDuplicate], [0n, true]);
  assert.throws(() => once.publishBatch([{ payload: 'c', id: 'x' }]), penstock.DuplicateError);
});

test('what is wrong is told', (t) => {
  const bus = busOf(t);
  const ticks = bus.producer('ticks');
  assert.throws(() => bus.producer('no..name'), penstock.InvalidArgumentError);
  assert.throws(() => bus.producer('missing', { create: false }), penstock.NotFoundError);
  assert.throws(() => bus.createTopic('ticks'), penstock.AlreadyExistsError);
  assert.throws(() => bus.createTopic('t', { durability: 'paper' }), RangeError);
  assert.throws(() => bus.createTopic('t', { durabilty: 'disk' }), /no option durabilty; there are durability/);
  assert.throws(() => ticks.publish('x', { ttl: -1 }), RangeError);
  assert.throws(() => ticks.publish('x', { deliverAt: 5 }), TypeError);
  assert.throws(() => ticks.publish('x', { key: 7 }), TypeError);
  assert.throws(() => ticks.publish('x', { id: 'a\0b' }), TypeError);
  assert.throws(() => ticks.publish(Buffer.alloc(ticks.maxPayload + 1)), penstock.TooLargeError);
  assert.throws(() => penstock.Bus.open('/nowhere/at/all', { create: false }), penstock.PenstockError);
  ticks.close();
  ticks.close();
  assert.ok(ticks.closed);
  assert.throws(() => ticks.publish('x'), penstock.ClosedError);
  bus.close();
  assert.throws(() => bus.producer('ticks'), penstock.ClosedError);
});
