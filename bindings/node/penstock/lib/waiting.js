'use strict';
// Promises that wait: each ends by whoever serves it, by its signal, or when its time is over.
const { ENETDOWN, errorOf } = require('./errors.js');
const { duration, known } = require('./options.js');

/** Options of a wait: `left`, how many milliseconds; `signal`, an AbortSignal, which throws when it was aborted. */
function waitOptions(options, timeout = Infinity) {
  if (options === undefined) return { left: timeout };
  const given = known(options, ['timeout', 'signal'], 'a wait');
  given.signal?.throwIfAborted();
  return { left: duration(given.timeout ?? timeout, 'timeout'), signal: given.signal };
}

class Waiting {
  #entries = new Set();
  #idle;

  /** `idle` is called when nobody waits any more. */
  constructor(idle = () => {}) {
    this.#idle = idle;
  }

  get size() {
    return this.#entries.size;
  }

  /** Who waits, in order. An entry has what was wanted, and resolve and reject. */
  [Symbol.iterator]() {
    return [...this.#entries][Symbol.iterator]();
  }

  /** A promise for what is wanted, with waitOptions; `late(entry)` has to settle it when its time is over. */
  add(wanted, { left, signal }, late) {
    return new Promise((resolve, reject) => {
      let timer;
      const abort = () => entry.reject(signal.reason);
      const ending = (settle) => (value) => {
        if (!this.#entries.delete(entry)) return;
        clearTimeout(timer);
        signal?.removeEventListener('abort', abort);
        if (this.size === 0) this.#idle();
        settle(value);
      };
      const entry = { wanted, resolve: ending(resolve), reject: ending(reject) };
      // What setTimeout cannot count is as good as for ever.
      if (left < 2 ** 31) timer = setTimeout(late, left, entry);
      signal?.addEventListener('abort', abort);
      this.#entries.add(entry);
    });
  }

  rejectAll(error) {
    for (const entry of this) entry.reject(error);
  }
}

/** Ends a wait for the disk whose time is over: `look()` answers 0, or the errno of what is missing. */
function late(entry, look, what) {
  try {
    const why = look();
    if (why === 0) return entry.resolve();
    const reason = why === ENETDOWN ? ' because no daemon runs; start penstockd' : '';
    entry.reject(errorOf(why, `${what} is not on disk yet${reason}`));
  } catch (error) {
    entry.reject(error);
  }
}

module.exports = { Waiting, late, waitOptions };
