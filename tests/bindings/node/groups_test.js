'use strict';
const assert = require('node:assert/strict');
const { test } = require('node:test');
const { setImmediate } = require('node:timers/promises');
const { busOf, daemonOf, penstock } = require('./support.js');

async function until(condition) {
  while (!condition()) await setImmediate();
}

test('each settlement does what it says', async (t) => {
  const bus = busOf(t);
  daemonOf(t, bus);
  const orders = bus.producer('orders');
  const desk = bus.consumer('desk', 'orders', { maxAttempts: 2, backoff: [1] });
  orders.publishBatch(['0', '1', '2', '3', '4']);
  const seen = [];
  for (let i = 0; i < 5; ++i) seen.push(await desk.next());
  assert.deepEqual(seen.map((delivery) => delivery.attempt), [1, 1, 1, 1, 1]);
  desk.ack(seen[0]);
  desk.nak(seen[1], { errorClass: 'parse', reason: 'not a number', delay: 0 });
  desk.reject(seen[2], { errorClass: 'policy', reason: 'not ours' });
  desk.release(seen[3]);
  desk.extend(seen[4], 60_000);
  const again = new Map();
  while (again.size < 2) {
    const delivery = await desk.next();
    again.set(delivery.offset, delivery);
  }
  assert.deepEqual([again.get(1n).attempt, again.get(3n).attempt], [2, 1]);
  desk.nak(again.get(1n), { reason: 'still not' });
  desk.ack(again.get(3n));
  assert.equal(desk.ackThrough('orders', 4n), 1);
  await desk.awaitSettled();

  await until(() => bus.deadLetters('desk').length === 2);
  const letters = new Map(bus.deadLetters('desk').map((event) => [event.deadLetter.offset, event]));
  assert.deepEqual([letters.get(1n).deadLetter.reason, letters.get(1n).deadLetter.attempts], ['still not', 2]);
  const { deadLetter } = letters.get(2n);
  assert.deepEqual([deadLetter.topic, deadLetter.group, deadLetter.disposition, deadLetter.errorClass],
    ['orders', 'desk', 'rejected', 'policy']);
  assert.ok(deadLetter.firstFailure instanceof Date);
  assert.equal(bus.deadLetters('desk', 1).length, 1);

  bus.redrive('desk', letters.get(2n).offset);
  bus.purge('desk', letters.get(1n).offset);
  const redriven = await desk.next();
  assert.deepEqual([redriven.payload.toString(), redriven.attempt, redriven.deadLetter.reason], ['2', 1, 'not ours']);
  desk.ack(redriven);
  assert.deepEqual(bus.deadLetters('desk'), []);
  const info = bus.describeGroup('desk', 'orders');
  assert.deepEqual([info.committed, info.lag, info.deadLettered, info.members], [5n, 0, 2, 1]);
});

test('a settled delivery is refused, and keeps its event', async (t) => {
  const bus = busOf(t);
  bus.producer('ticks').publish('a');
  const desk = bus.consumer('desk', 'ticks');
  const delivery = await desk.next();
  desk.ack(delivery);
  for (const settle of ['ack', 'nak', 'reject', 'release'])
    assert.throws(() => desk[settle](delivery), (error) => error instanceof penstock.StaleError && error.code === 'ESTALE');
  assert.throws(() => desk.extend(delivery, 1), penstock.StaleError);
  assert.throws(() => desk.ack({}), TypeError);
  assert.equal(delivery.payload.toString(), 'a');
});

test('what a closed consumer held goes back to the group', async (t) => {
  const bus = busOf(t);
  bus.producer('ticks').publish('a');
  const first = bus.consumer('desk', 'ticks', { backoff: [0] });
  const held = await first.next();
  first.close();
  assert.throws(() => first.ack(held), penstock.StaleError);
  const again = await bus.consumer('desk').next();
  assert.deepEqual([again.offset, again.attempt], [0n, 2]);
});

test('a delivery that nobody keeps goes back to the group', { skip: !global.gc && 'needs --expose-gc' }, async (t) => {
  const bus = busOf(t);
  bus.producer('ticks').publish('a');
  const desk = bus.consumer('desk', 'ticks', { backoff: [0] });
  assert.equal((await desk.next()).attempt, 1);
  const again = desk.next();
  let came;
  again.then((delivery) => { came = delivery; });
  await until(() => { global.gc(); return came; });
  assert.equal(came.attempt, 2);
});

test('groups are paused, sought and deleted', async (t) => {
  const bus = busOf(t);
  bus.producer('ticks').publishBatch(['a', 'b']);
  const desk = bus.consumer('desk', 'ticks');
  bus.pauseGroup('desk');
  assert.equal(await desk.next({ timeout: 1 }), null);
  bus.pauseGroup('desk', false);
  desk.ack(await desk.next());
  bus.seekGroup('desk', 'beginning');
  assert.equal((await desk.next()).offset, 0n);
  assert.throws(() => bus.consumer('desk', 'ticks', { ordering: 'strict' }), penstock.InvalidArgumentError);
  desk.close();
  bus.deleteGroup('desk');
  assert.throws(() => bus.describeGroup('desk', 'ticks'), penstock.NotFoundError);
});

test('a deleted topic or group ends waits with an error', async (t) => {
  const bus = busOf(t);
  const desk = bus.consumer('desk', 'ticks');
  const waiting = desk.next();
  bus.deleteGroup('desk');
  await assert.rejects(waiting, penstock.StaleError);
});

test('awaitSettled tells that no daemon runs', async (t) => {
  const bus = busOf(t);
  bus.producer('orders').publish('a');
  const desk = bus.consumer('desk', 'orders');
  desk.ack(await desk.next());
  await assert.rejects(desk.awaitSettled({ timeout: 0 }), penstock.NoDaemonError);
  const daemon = daemonOf(t, bus);
  await desk.awaitSettled();
  desk.close();
  assert.equal(await daemon.stop(), 0);
});
