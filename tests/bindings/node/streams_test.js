'use strict';
const assert = require('node:assert/strict');
const { test } = require('node:test');
const { busOf, penstock } = require('./support.js');

test('a reader begins where it is told to', async (t) => {
  const bus = busOf(t);
  const ticks = bus.producer('ticks');
  ticks.publishBatch(['a', 'b', 'c', 'd']);
  const first = async (from) => {
    const reader = bus.reader('ticks', { from });
    const event = await reader.next({ timeout: 0 });
    reader.close();
    return event && event.payload.toString();
  };
  assert.equal(await first('beginning'), 'a');
  assert.equal(await first(2n), 'c');
  assert.equal(await first(2), 'c');
  assert.equal(await first({ last: 1 }), 'd');
  assert.equal(await first(new Date(0)), 'a');
  assert.equal(await first('end'), null);
  assert.equal(await first(undefined), null);
  for (const wrong of ['start', -1, 1.5, { first: 1 }, new Date(NaN)])
    assert.throws(() => bus.reader('ticks', { from: wrong }), /RangeError|TypeError/);
});

test('who waits hears of what the same loop publishes, in the order of asking', async (t) => {
  const bus = busOf(t);
  const ticks = bus.producer('ticks');
  for (const open of [() => bus.reader('ticks'), () => bus.consumer('desk', ['ticks'], { from: 'end' })]) {
    const stream = open();
    const waits = [stream.next(), stream.next(), stream.next()];
    for (const payload of ['a', 'b', 'c']) {
      ticks.publish(payload);
      await new Promise(setImmediate);
    }
    assert.deepEqual((await Promise.all(waits)).map((event) => event.payload.toString()), ['a', 'b', 'c']);
    assert.equal(await stream.next({ timeout: 0 }), null);
    stream.close();
  }
});

test('an iteration takes all there is, is left by break, goes on, and ends when the handle is closed', async (t) => {
  const bus = busOf(t);
  const ticks = bus.producer('ticks');
  const reader = bus.reader('ticks', { from: 'beginning' });
  const count = 500;
  for (let i = 0; i < count; ++i) ticks.publish(String(i));
  const seen = [];
  for await (const event of reader) {
    seen.push(event.payload.toString());
    if (seen.length === 100) break;
  }
  for await (const event of reader) {
    seen.push(event.payload.toString());
    if (seen.length === count) setImmediate(() => reader.close());
  }
  assert.deepEqual(seen, Array.from({ length: count }, (_, i) => String(i)));
  await assert.rejects(reader.next(), penstock.ClosedError);
  assert.throws(() => reader.missed, penstock.ClosedError);
});

test('an aborted wait has taken nothing', async (t) => {
  const bus = busOf(t);
  const ticks = bus.producer('ticks');
  const consumer = bus.consumer('desk', 'ticks');
  const aborting = new AbortController();
  const aborted = consumer.next({ signal: aborting.signal });
  const iterating = (async () => {
    for await (const event of consumer.events({ signal: aborting.signal })) assert.fail(event);
  })();
  const kept = consumer.next();
  const reason = new Error('enough');
  aborting.abort(reason);
  ticks.publish('a');
  await assert.rejects(aborted, reason);
  await assert.rejects(iterating, reason);
  assert.equal((await kept).payload.toString(), 'a');
  await assert.rejects(consumer.next({ signal: aborting.signal }), reason);
  await assert.rejects(consumer.next({ timeout: -1 }), RangeError);
});

test('a lossy reader counts what it missed', async (t) => {
  const bus = busOf(t);
  const ticks = bus.producer('ticks');
  const reader = bus.reader('ticks', { from: 'beginning', lossy: true });
  for (let i = 0; i < 5000; ++i) ticks.publish('x');
  const event = await reader.next();
  assert.ok(event.offset > 0n);
  assert.ok(reader.missed > 0);
  assert.equal(reader.damaged, 0);
});
