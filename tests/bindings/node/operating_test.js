'use strict';
// What operators' programs ask of a bus: lists, descriptions, changes.
const assert = require('node:assert/strict');
const { test } = require('node:test');
const { busOf, daemonOf, penstock } = require('./support.js');

test('topics and groups are listed, described and changed', (t) => {
  const bus = busOf(t);
  bus.createTopic('orders', { retainUnacked: true, retentionTime: Infinity });
  bus.consumer('desk', 'ticks');
  assert.deepEqual([bus.topics(), bus.groups()], [['orders', 'ticks'], ['desk']]);
  const made = bus.describeTopic('orders');
  assert.deepEqual([made.durability, made.full, made.retainUnacked, made.compact, made.blockedBy],
    ['disk', 'block', true, false, undefined]);
  assert.ok(made.retentionTime > 0 && made.shmBytes >= made.ringBytes);
  bus.setRetention('orders', { bytes: 4096, time: 60_000 });
  bus.setRetainUnacked('orders', false);
  bus.setCompaction('orders');
  const changed = bus.describeTopic('orders');
  assert.deepEqual([changed.retentionBytes, changed.retentionTime, changed.retainUnacked, changed.compact],
    [4096, 60_000, false, true]);
  bus.setRetention('orders', {});
  assert.equal(bus.describeTopic('orders').retentionBytes, 0);
  assert.equal(bus.describeTopic('ticks').durability, 'memory');
  assert.throws(() => bus.setRetention('orders', { bites: 1 }), /no option bites; there are bytes, time/);
  assert.throws(() => bus.setCompaction('nothing'), penstock.NotFoundError);
});

test('a group tells its settings and takes others', (t) => {
  const bus = busOf(t);
  bus.consumer('desk', ['ticks'], { backoff: [5, 70], ordering: 'key', dedupe: false });
  const settings = bus.groupSettings('desk');
  assert.deepEqual(settings, {
    topics: ['ticks'], paused: false, members: 1, redriven: 0, maxAttempts: 5, maxInFlight: 256, backoff: [5, 70],
    lease: 30_000, dedupe: false, dedupeAge: undefined, ordering: 'key', expired: 'dlq',
  });
  bus.setGroup('desk', { maxAttempts: 9 });
  bus.setGroup('desk', {}, ['ticks', 'more.*']);
  bus.pauseGroup('desk');
  const changed = bus.groupSettings('desk');
  assert.deepEqual([changed.maxAttempts, changed.topics, changed.backoff, changed.paused],
    [9, ['ticks', 'more.*'], [5, 70], true]);
  assert.throws(() => bus.setGroup('desk', { lease: Infinity }), penstock.InvalidArgumentError);
  assert.throws(() => bus.groupSettings('nobody'), penstock.NotFoundError);
});

test('unsettled events, topics and keys of a group are shown', async (t) => {
  const bus = busOf(t);
  const ticks = bus.producer('ticks');
  const desk = bus.consumer('desk', 'ticks', { ordering: 'key' });
  for (const key of ['order-17', 'order-17', 'order-17', 'order-18']) ticks.publish('x', { key });
  const first = await desk.next(), other = await desk.next(); // the two between are queued behind the first
  desk.nak(other, { errorClass: 'parse', reason: 'odd', delay: 3_600_000 });
  const [topic, ...more] = bus.groupTopics('desk');
  assert.deepEqual([more, topic], [[], bus.describeGroup('desk', 'ticks')]);
  assert.deepEqual([topic.topic, topic.inFlight, topic.queued, topic.retrying, topic.full, topic.missed, topic.damaged],
    ['ticks', 1, 2, 1, 0, 0, 0]);
  const pending = bus.groupPending('desk');
  assert.deepEqual(pending.map(({ offset, state }) => [offset, state]),
    [[0n, 'leased'], [1n, 'queued'], [2n, 'queued'], [3n, 'waiting']]);
  assert.deepEqual([pending[3].errorClass, pending[3].reason, pending[3].attempts], ['parse', 'odd', 1]);
  assert.ok(pending[3].due > new Date() && pending[0].member.includes(String(process.pid)));
  const keys = bus.groupKeys('desk');
  assert.deepEqual(keys.map(({ key, offset, state, attempt, behind }) => [key, offset, state, attempt, behind]),
    [['order-17', 0n, 'leased', 1, 2], ['order-18', 3n, 'retrying', 2, 0]]);
  assert.ok(keys[0].since instanceof Date);
  assert.equal(desk.settledThrough({ ticks: 0 }), true);
  assert.equal(desk.settledThrough({ ticks: 1n }), false);
  desk.ack(first);
  assert.equal(desk.settledThrough(new Map([['ticks', 1n]])), true);
  assert.throws(() => desk.settledThrough({ ticks: -1 }), RangeError);
});

test('a reader tells the places from which it goes on', async (t) => {
  const bus = busOf(t);
  const ticks = bus.producer('ticks');
  ticks.publishBatch(['a', 'b', 'c']);
  bus.producer('__proto__').publish('x');
  const reader = bus.reader(['ticks', '__proto__'], { from: 'beginning' });
  const seen = new Map();
  for (let i = 0; i < 4; ++i) {
    const { topic, offset } = await reader.next();
    seen.set(topic, offset + 1n);
    const places = reader.places();
    for (const [name, next] of places) assert.equal(next, seen.get(name) ?? 0n, name);
    assert.equal(places.size, 2);
  }
  const end = reader.places();
  assert.deepEqual([end.get('ticks'), end.get('__proto__')], [3n, 1n]);
});

test('an event tells when it is due and its producer its id', async (t) => {
  const bus = busOf(t);
  const ticks = bus.producer('ticks');
  const deliverAt = new Date(Date.now() - 1000);
  ticks.publish('a', { deliverAt, ttl: Infinity });
  assert.match(ticks.lastId(), /^[0-9a-f]{32}$/);
  ticks.publishBatch(['b', 'c']);
  const desk = bus.consumer('desk', 'ticks');
  const [a, b, c] = [await desk.next(), await desk.next(), await desk.next()];
  assert.deepEqual([ticks.lastId(), ticks.lastId(1)], [c.id, b.id]);
  assert.deepEqual([a.deliverAt, b.deliverAt, b.expiresAt], [deliverAt, undefined, undefined]);
  assert.ok(a.expiresAt > a.time);
  desk.extend(a, Infinity);
  desk.ack(a);
});

test('a bus is described, unloaded and removed', async (t) => {
  const bus = busOf(t);
  const before = bus.describe();
  assert.deepEqual([before.path, before.topics, before.groups, before.daemonPid, before.backend],
    [bus.directory, 1, 0, undefined, undefined]);
  const daemon = daemonOf(t, bus);
  const orders = bus.producer('orders');
  await orders.awaitDurable(orders.publish('x'));
  const { daemonPid, backend } = bus.describe();
  assert.ok(daemonPid > 0 && ['io_uring', 'pwrite'].includes(backend));
  assert.throws(() => penstock.Bus.unload(bus.directory), penstock.BusyError);
  await daemon.stop();
  bus.close();
  penstock.Bus.unload(bus.directory);
  penstock.Bus.remove(bus.directory);
  assert.throws(() => penstock.Bus.open(bus.directory, { create: false }), penstock.NotFoundError);
});
