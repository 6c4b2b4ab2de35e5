'use strict';
// Options as people write them, made into what the addon takes: arrays of numbers in the order of penstock.h's structs.

/** The known options of `given`; a name that is not known throws. */
function known(given, names, what) {
  if (given === undefined || given === null) return {};
  if (typeof given !== 'object') throw new TypeError(`options of ${what} are an object`);
  for (const name of Object.keys(given))
    if (!names.includes(name)) throw new TypeError(`${what} has no option ${name}; there are ${names.join(', ')}`);
  return given;
}

function count(value, name) {
  if (value === undefined || value === null) return 0;
  if (!Number.isSafeInteger(value) || value < 0) throw new RangeError(`${name} is a whole number, not below 0`);
  return value;
}

/** Milliseconds, rounded up: a little is not nothing. */
function duration(value, name) {
  if (value === undefined || value === null) return 0;
  if (typeof value !== 'number' || !(value >= 0)) throw new RangeError(`${name} is milliseconds, not below 0`);
  return Math.ceil(Math.min(value, Number.MAX_SAFE_INTEGER));
}

function choice(value, choices, name) {
  if (value === undefined || value === null) return 0;
  const at = choices.indexOf(value);
  if (at < 0) throw new RangeError(`${name} is one of ${choices.join(', ')}`);
  return at + 1;
}

const durabilities = ['disk', 'memory'];
const fulls = ['block', 'fail', 'dropOldest'];
const orderings = ['parallel', 'key', 'strict'];
const expireds = ['dlq', 'skip'];

/** What the addon tells of a topic, with words for its numbers. */
function topicInfo({ durability, full, ...told }) {
  return { ...told, durability: durabilities[durability - 1], full: fulls[full - 1] };
}

/** The same of a group's settings. */
function groupSettings({ dedupe, dedupeAge, ordering, expired, ...told }) {
  return {
    ...told, dedupe: dedupe || false, dedupeAge: dedupeAge || undefined, ordering: orderings[ordering - 1],
    expired: expireds[expired - 1],
  };
}

function nanoseconds(date, name) {
  if (!(date instanceof Date) || Number.isNaN(date.getTime())) throw new TypeError(`${name} is a Date`);
  return BigInt(date.getTime()) * 1_000_000n;
}

function offset(value) {
  if (typeof value === 'bigint' && value >= 0n && value < 2n ** 63n) return value;
  if (Number.isSafeInteger(value) && value >= 0) return BigInt(value);
  throw new RangeError('an offset is a bigint, or a whole number, not below 0');
}

/** Where to begin: [PENSTOCK_START_..., value]. */
function start(from) {
  if (from === undefined || from === null) return [0, 0];
  if (from === 'beginning') return [1, 0];
  if (from === 'end') return [2, 0];
  if (from instanceof Date) return [4, nanoseconds(from, 'from')];
  if (typeof from === 'object') return [5, count(known(from, ['last'], 'from').last, 'from.last')];
  if (typeof from === 'string') throw new RangeError("from is 'beginning', 'end', an offset, a Date or { last: number }");
  return [3, offset(from)];
}

const topicNames = ['durability', 'full', 'ringBytes', 'maxPayload', 'retentionBytes', 'retentionTime', 'publishDedupe',
  'singleProducer', 'compact', 'retainUnacked'];
function topicOptions(given) {
  const options = known(given, topicNames, 'createTopic');
  return [
    choice(options.durability, durabilities, 'durability'),
    choice(options.full, fulls, 'full'),
    ...['ringBytes', 'maxPayload', 'retentionBytes'].map((name) => count(options[name], name)),
    duration(options.retentionTime, 'retentionTime'),
    count(options.publishDedupe, 'publishDedupe'),
    Number(options.singleProducer ?? false),
    Number(options.compact ?? false),
    Number(options.retainUnacked ?? false),
  ];
}

/** [bytes, milliseconds] */
function retention(given) {
  const options = known(given, ['bytes', 'time'], 'setRetention');
  return [count(options.bytes, 'bytes'), duration(options.time, 'time')];
}

function producerOptions(given) {
  const options = known(given, ['create', 'preciseClock'], 'producer');
  return [Number(!(options.create ?? true)), Number(options.preciseClock ?? false)];
}

const consumerNames = ['maxAttempts', 'maxInFlight', 'backoff', 'lease', 'dedupe', 'dedupeAge', 'ordering', 'expired',
  'from', 'durableOnly'];
/** [options, backoff] */
function consumerOptions(given) {
  const options = known(given, consumerNames, 'consumer');
  const dedupe = options.dedupe === false || options.dedupe === 0 ? -1 : count(options.dedupe, 'dedupe');
  return [
    [
      ...start(options.from),
      count(options.maxAttempts, 'maxAttempts'),
      count(options.maxInFlight, 'maxInFlight'),
      duration(options.lease, 'lease'),
      dedupe,
      duration(options.dedupeAge, 'dedupeAge'),
      choice(options.ordering, orderings, 'ordering'),
      choice(options.expired, expireds, 'expired'),
      Number(options.durableOnly ?? false),
    ],
    (options.backoff ?? []).map((each) => duration(each, 'backoff')),
  ];
}

function readerOptions(given) {
  const options = known(given, ['from', 'lossy', 'durableOnly'], 'reader');
  return [...start(options.from), Number(options.lossy ?? false), Number(options.durableOnly ?? false)];
}

const eventNames = ['key', 'id', 'headers', 'contentType', 'schema', 'deliverAt', 'ttl'];
/** What an event is published with; undefined when it is nothing. */
function eventOptions(given, also = []) {
  if (given === undefined || given === null) return undefined;
  const options = known(given, [...eventNames, ...also], 'publish');
  return [
    options.key,
    options.id,
    options.contentType,
    options.schema,
    options.headers && Object.entries(options.headers).flat(),
    options.deliverAt && nanoseconds(options.deliverAt, 'deliverAt'),
    duration(options.ttl, 'ttl'),
  ];
}

/** A payload's bytes. */
function bytes(payload) {
  return typeof payload === 'string' ? Buffer.from(payload) : payload;
}

function names(given) {
  return typeof given === 'string' ? [given] : [...given];
}

module.exports = {
  bytes, consumerOptions, count, duration, eventOptions, groupSettings, known, names, offset, producerOptions,
  readerOptions, retention, start, topicInfo, topicOptions,
};
