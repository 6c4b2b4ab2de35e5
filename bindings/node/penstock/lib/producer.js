'use strict';
// Publishing. A full ring and the disk are waited for without holding up the event loop.
const native = require('../penstock.node');
const { FullError, NoDaemonError, closedError } = require('./errors.js');
const { bytes, count, eventOptions, offset } = require('./options.js');
const { Waiting, late, waitOptions } = require('./waiting.js');

const SLICE = 50; // ms that a wait may hold one of libuv's threads; it is a bound, the disk ends it sooner
const SHORTEST = 1, LONGEST = 20; // ms between looks at a full ring
const PATIENCE = 10_000; // ms that send waits for a full ring, as the library does

class Producer {
  #handle;
  #topic;
  #left; // called once at the end
  #closed = false;
  #durable = new Waiting();
  #threadWaits = false;
  #sending = new Waiting(() => clearTimeout(this.#retry));
  #retry;
  #full; // what the last look at the ring failed with

  /** Bus.producer makes them. */
  constructor(handle, topic, left) {
    this.#handle = handle;
    this.#topic = topic;
    this.#left = left;
  }

  get topic() {
    return this.#topic;
  }
  get closed() {
    return this.#closed;
  }
  get maxPayload() {
    return native.maxPayload(this.#handle);
  }
  get lastDuplicate() {
    return native.lastDuplicate(this.#handle);
  }

  lastId(back = 0) {
    return native.lastId(this.#handle, count(back, 'back'));
  }

  publish(payload, options) {
    return native.publish(this.#handle, bytes(payload), eventOptions(options));
  }

  publishBatch(events) {
    const flat = [];
    for (const event of events) {
      const plain = typeof event === 'string' || ArrayBuffer.isView(event) || event instanceof ArrayBuffer;
      flat.push(bytes(plain ? event : event.payload), plain ? undefined : eventOptions(event, ['payload']));
    }
    return native.publishBatch(this.#handle, flat);
  }

  async send(payload, options, waiting) {
    const event = [bytes(payload), eventOptions(options)];
    const sent = this.#sending.add(event, waitOptions(waiting, PATIENCE), (entry) => entry.reject(this.#full));
    if (this.#sending.size === 1) this.#send(SHORTEST);
    return sent;
  }

  // In the order in which they were asked for: what comes later waits too.
  #send(pause) {
    for (const entry of this.#sending) {
      try {
        entry.resolve(native.publish(this.#handle, ...entry.wanted));
      } catch (error) {
        if (error instanceof FullError || error instanceof NoDaemonError) {
          this.#full = error;
          this.#retry = setTimeout(() => this.#send(Math.min(2 * pause, LONGEST)), pause);
          return;
        }
        entry.reject(error);
      }
    }
  }

  async awaitDurable(wanted, waiting) {
    const durable = this.#durable.add(offset(wanted), waitOptions(waiting), (entry) =>
      late(entry, () => native.isDurable(this.#handle, entry.wanted), `topic ${this.#topic}: offset ${entry.wanted}`));
    this.#look();
    return durable;
  }

  // Who has what they wait for; for the rest a thread waits for the next flush that brings something.
  #look() {
    try {
      for (const entry of this.#durable) if (native.isDurable(this.#handle, entry.wanted) === 0) entry.resolve();
    } catch (error) {
      this.#durable.rejectAll(error);
    }
    if (this.#durable.size === 0 || this.#threadWaits) return;
    let first = Infinity;
    for (const { wanted } of this.#durable) if (wanted < first) first = wanted;
    this.#threadWaits = true;
    native.awaitDurable(this.#handle, first, SLICE, () => {
      this.#threadWaits = false;
      this.#look();
    });
  }

  close() {
    if (this.#closed) return;
    this.#closed = true;
    const error = closedError('producer');
    this.#sending.rejectAll(error);
    this.#durable.rejectAll(error);
    native.producerClose(this.#handle);
    this.#left(this);
  }
}

module.exports = { Producer };
