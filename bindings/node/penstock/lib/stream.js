'use strict';
// Readers, and members of groups: events as they come, and how they are settled.
const native = require('../penstock.node');
const { ClosedError, closedError } = require('./errors.js');
const { duration, known, offset } = require('./options.js');
const { Waiting, late, waitOptions } = require('./waiting.js');

const AT_ONCE = 64; // events that a reader takes from the log at a time
const LOOK = 10; // ms between looks for the daemon's checkpoint, which comes within 100

const dateOf = (ns) => new Date(Number(ns / 1_000_000n));

const momentOf = (ns) => (ns ? dateOf(ns) : undefined);

function letterOf(values) {
  if (values === undefined) return undefined;
  const [topic, at, group, member, attempts, redrives, first, last, disposition, errorClass, reason] = values;
  return {
    topic, offset: at, group, member, attempts, redrives, firstFailure: dateOf(first), lastFailure: dateOf(last),
    disposition, errorClass, reason,
  };
}

class Event {
  /** Readers and consumers make them. */
  constructor(values, letter) {
    const headers = values[7] ?? [];
    this.topic = values[0];
    this.offset = values[1];
    this.timeNs = values[2];
    this.payload = values[3];
    this.id = values[4];
    this.idText = values[5];
    this.key = values[6];
    this.headers = Object.fromEntries(headers.map((name, i) => [name, headers[i + 1]]).filter((_, i) => i % 2 === 0));
    this.contentType = values[8]?.[0];
    this.schema = values[8]?.[1];
    this.deliverAt = momentOf(values[8]?.[2]);
    this.expiresAt = momentOf(values[8]?.[3]);
    this.deadLetter = letterOf(letter);
  }
  get time() {
    return dateOf(this.timeNs);
  }
}

let leaseOf;
class Delivery extends Event {
  #lease;
  static {
    leaseOf = (delivery) => delivery.#lease;
  }
  constructor(values, letter, attempt, lease) {
    super(values, letter);
    this.attempt = attempt;
    this.#lease = lease;
  }
}

// What readers and consumers have in common.
class Stream {
  #handle;
  #take; // the next event, or undefined
  #left;
  #closed = false;
  #waiting = new Waiting(() => this.#closed || native.unlisten(this.#handle));

  constructor(handle, take, left) {
    this.#handle = handle;
    this.#take = take;
    this.#left = left;
  }

  get closed() {
    return this.#closed;
  }
  get missed() {
    return native.counts(this.#handle)[0];
  }
  get damaged() {
    return native.counts(this.#handle)[1];
  }

  async next(options) {
    if (this.#closed) throw closedError('stream');
    const wait = waitOptions(options);
    if (this.#waiting.size === 0) { // the quick way: no wait is made
      const found = this.#take();
      if (found !== undefined) return found;
    }
    const next = this.#waiting.add(undefined, wait, (entry) => entry.resolve(null));
    this.#serve();
    return next;
  }

  // Whoever asked first gets what is there; when that is nothing, the descriptor tells of news.
  #serve() {
    try {
      for (const entry of this.#waiting) {
        const found = this.#take();
        if (found === undefined) return native.listen(this.#handle, () => this.#serve());
        entry.resolve(found);
      }
    } catch (error) {
      this.#waiting.rejectAll(error);
    }
  }

  async *events(options) {
    const { signal } = known(options, ['signal'], 'events');
    while (!this.#closed) {
      let event;
      try {
        event = await this.next({ signal });
      } catch (error) {
        if (error instanceof ClosedError) return;
        throw error;
      }
      yield event;
    }
  }

  [Symbol.asyncIterator]() {
    return this.events();
  }

  close() {
    if (this.#closed) return;
    this.#closed = true;
    native.streamClose(this.#handle);
    this.#waiting.rejectAll(closedError('stream'));
    this.#left(this);
  }
}

class Reader extends Stream {
  #places;

  /** Bus.reader makes them. */
  constructor(handle, left) {
    let taken = [], at = 0;
    super(handle, () => {
      if (at === taken.length) [taken, at] = [native.readerPoll(handle, AT_ONCE), 0];
      if (taken.length === 0) return undefined;
      at += 2;
      return new Event(taken[at - 2], taken[at - 1]);
    }, left);
    this.#places = () => {
      const flat = native.readerPlaces(handle);
      const places = new Map(flat.map((topic, i) => [topic, flat[i + 1]]).filter((_, i) => i % 2 === 0));
      // What was taken from the log and not asked for yet is still to come; a topic's first counts.
      for (let i = taken.length - 2; i >= at; i -= 2) places.set(taken[i][0], taken[i][1]);
      return places;
    };
  }

  places() {
    return this.#places();
  }
}

class Consumer extends Stream {
  #handle;
  #group;
  #settling = new Waiting(() => clearTimeout(this.#look));
  #look;

  /** Bus.consumer makes them. */
  constructor(handle, group, left) {
    super(handle, () => {
      const came = native.consumerNext(handle);
      return came && new Delivery(...came);
    }, left);
    this.#handle = handle;
    this.#group = group;
  }

  get group() {
    return this.#group;
  }

  ack(delivery) {
    native.ack(leaseOf(delivery));
  }
  nak(delivery, options) {
    const { errorClass, reason, delay } = known(options, ['errorClass', 'reason', 'delay'], 'nak');
    native.nak(leaseOf(delivery), errorClass, reason, delay === undefined ? undefined : duration(delay, 'delay'));
  }
  reject(delivery, options) {
    const { errorClass, reason } = known(options, ['errorClass', 'reason'], 'reject');
    native.reject(leaseOf(delivery), errorClass, reason);
  }
  release(delivery) {
    native.release(leaseOf(delivery));
  }
  extend(delivery, time) {
    native.extend(leaseOf(delivery), duration(time, 'the duration'));
  }
  ackThrough(topic, through) {
    return native.ackThrough(this.#handle, topic, offset(through));
  }

  settledThrough(ends) {
    const all = ends instanceof Map ? [...ends] : Object.entries(ends);
    return native.settledThrough(this.#handle, all.map(([topic]) => topic), all.map(([, end]) => offset(end)));
  }

  async awaitSettled(waiting) {
    const settled = this.#settling.add(undefined, waitOptions(waiting), (entry) =>
      late(entry, () => native.isSettled(this.#handle), `what group ${this.#group} settled`));
    if (this.#settling.size === 1) this.#lookAgain();
    return settled;
  }

  #lookAgain() {
    try {
      if (native.isSettled(this.#handle) !== 0) {
        this.#look = setTimeout(() => this.#lookAgain(), LOOK);
        return;
      }
    } catch (error) {
      this.#settling.rejectAll(error);
    }
    for (const entry of this.#settling) entry.resolve();
  }

  close() {
    super.close();
    this.#settling.rejectAll(closedError('consumer'));
  }
}

module.exports = { Consumer, Delivery, Event, Reader, dateOf };
