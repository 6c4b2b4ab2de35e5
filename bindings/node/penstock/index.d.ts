/// <reference types="node" />
/**
 * Penstock: events between the processes of one Linux host, through shared memory.
 *
 * Handles are made by a Bus and closed by close(), or by `using` where Node has it. Calls that return no promise never
 * wait. Offsets are bigints (whole numbers are taken too), durations milliseconds, text UTF-8. What fails is a
 * PenstockError; an argument of a wrong type is a TypeError or a RangeError.
 */

/** What a payload may be; a string is published as UTF-8. */
export type Payload = string | NodeJS.ArrayBufferView | ArrayBuffer;
export type Offset = bigint | number;
/** Where a reader or a new group begins: at an offset, at a time, or this many events from the end (readers alone). */
export type From = 'beginning' | 'end' | Offset | Date | { last: number };

/** How long to wait. An aborted wait rejects with the signal's reason and has taken nothing. */
export interface WaitOptions {
  timeout?: number;
  signal?: AbortSignal;
}

/** Defaults are the bus's: bus.toml. */
export interface TopicOptions {
  durability?: 'disk' | 'memory';
  /** What a publisher meets when the ring is full. */
  full?: 'block' | 'fail' | 'dropOldest';
  ringBytes?: number;
  maxPayload?: number;
  retentionBytes?: number;
  retentionTime?: number;
  /** An id is refused while it is among this many newest events. */
  publishDedupe?: number;
  singleProducer?: boolean;
  compact?: boolean;
}

export interface ProducerOptions {
  /** Make the topic when it is missing; true unless said otherwise. */
  create?: boolean;
  /** Stamp events by the precise clock. */
  preciseClock?: boolean;
}

export interface PublishOptions {
  /** What order and compaction go by. */
  key?: string;
  /** Deduplicates; without one, it is generated. */
  id?: string;
  headers?: Record<string, string>;
  contentType?: string;
  schema?: string;
  /** Groups get it then. */
  deliverAt?: Date;
  /** Groups do not get it after this time. */
  ttl?: number;
}

/** All but durableOnly belong to the group: what is left out stays as it is, or takes the default of a new group. */
export interface ConsumerOptions {
  maxAttempts?: number;
  /** Pauses before attempts; the last repeats. */
  backoff?: number[];
  lease?: number;
  ordering?: 'parallel' | 'key' | 'strict';
  maxInFlight?: number;
  /** How many ids are remembered; false: none. */
  dedupe?: number | false;
  dedupeAge?: number;
  expired?: 'dlq' | 'skip';
  /** Where a new group begins; at the beginning unless said otherwise. */
  from?: From;
  /** Only what is on disk. */
  durableOnly?: boolean;
}

export interface ReaderOptions {
  /** At the end unless said otherwise. */
  from?: From;
  /** Never hold up a memory topic's producers; count what was missed. */
  lossy?: boolean;
  /** Only what is on disk. */
  durableOnly?: boolean;
}

export interface TopicInfo {
  /** The oldest that can be read. */
  firstOffset: bigint;
  /** What the next event gets. */
  nextOffset: bigint;
  /** Everything below is on disk. */
  durableOffset: bigint;
  ringBytes: number;
  diskBytes: number;
  producers: number;
  readers: number;
  /** The errno of a daemon that cannot write, or 0. */
  durableError: number;
}

/** Where a group stands in a topic. */
export interface GroupInfo {
  /** The first unsettled event. */
  committed: bigint;
  nextOffset: bigint;
  /** Unsettled events. */
  lag: number;
  inFlight: number;
  retrying: number;
  delivered: number;
  acked: number;
  redelivered: number;
  duplicatesSkipped: number;
  deadLettered: number;
  members: number;
}

/** Why an event is in a dead-letter queue, or was. */
export interface DeadLetter {
  /** Where it came from. */
  topic: string;
  offset: bigint;
  group: string;
  member: string;
  attempts: number;
  redrives: number;
  firstFailure: Date;
  lastFailure: Date;
  disposition: 'rejected' | 'attempts' | 'expired' | 'crash';
  errorClass: string;
  reason: string;
}

/** An event: a copy, the program's own. */
export class Event {
  protected constructor();
  readonly topic: string;
  readonly offset: bigint;
  readonly time: Date;
  /** Nanoseconds since the epoch. */
  readonly timeNs: bigint;
  readonly payload: Buffer;
  /** 32 hexadecimal digits, by which events are deduplicated. */
  readonly id: string;
  /** The id as given at publish. */
  readonly idText: string | undefined;
  readonly key: string | undefined;
  readonly headers: Record<string, string>;
  readonly contentType: string | undefined;
  readonly schema: string | undefined;
  /** Of a dead letter, or of a delivery that was one and was given back. */
  readonly deadLetter: DeadLetter | undefined;
}

/** An event leased to one member of a group, who settles it once. Dropped unsettled, it counts as a failed attempt. */
export class Delivery extends Event {
  /** Failed attempts + 1. */
  readonly attempt: number;
}

declare class Handle {
  readonly closed: boolean;
  /** Ends what waits with a ClosedError. May be called again. */
  close(): void;
}

export class Producer extends Handle {
  private constructor();
  readonly topic: string;
  /** Bytes. */
  readonly maxPayload: number;
  /** The last publish answered with the offset of an earlier event that has the id. */
  readonly lastDuplicate: boolean;
  /** The event's offset. Every process that reads the topic sees it now; awaitDurable tells when it is on disk. Never
   * waits: FullError when the ring is full, and nothing was published. */
  publish(payload: Payload, options?: PublishOptions): bigint;
  /** All of them or none become visible, with offsets from the one returned upwards; 1 to 2047 events. */
  publishBatch(events: Iterable<Payload | (PublishOptions & { payload: Payload })>): bigint;
  /** As publish, but waits for room in a full ring: 10 seconds unless said otherwise, then FullError or NoDaemonError.
   * What was given to send is published in that order. */
  send(payload: Payload, options?: PublishOptions, waiting?: WaitOptions): Promise<bigint>;
  /** Waits until every offset up to this one is on disk. TimedOutError, or NoDaemonError when none runs. */
  awaitDurable(offset: Offset, options?: WaitOptions): Promise<void>;
}

declare class Stream<E> extends Handle implements AsyncIterable<E> {
  /** Events that were gone before this handle came to them. */
  readonly missed: number;
  /** Offsets on disk that could not be read. */
  readonly damaged: number;
  /** The next event; null when the timeout passed. Who asked first is served first. */
  next(options?: WaitOptions): Promise<E | null>;
  /** Events as they come, until the signal aborts (it throws) or the handle is closed (it ends). */
  events(options?: { signal?: AbortSignal }): AsyncGenerator<E, void, void>;
  /** events(). Leaving the loop leaves the handle open. */
  [Symbol.asyncIterator](): AsyncGenerator<E, void, void>;
}

/** Reads topics without a group. It takes events from the log in groups of 64. */
export class Reader extends Stream<Event> {
  private constructor();
}

/** A member of a group. Closed, its unsettled deliveries go back to the group as failed attempts. A delivery whose lease
 * ran out, or that was settled, is refused: StaleError. */
export class Consumer extends Stream<Delivery> {
  private constructor();
  readonly group: string;
  /** Done. */
  ack(delivery: Delivery): void;
  /** Failed: comes back after the backoff, or this delay, or goes to the dead-letter queue. */
  nak(delivery: Delivery, options?: { errorClass?: string; reason?: string; delay?: number }): void;
  /** To the dead-letter queue now. */
  reject(delivery: Delivery, options?: { errorClass?: string; reason?: string }): void;
  /** Not now: comes back at once, uncounted. */
  release(delivery: Delivery): void;
  /** Still working: the lease ends this long from now. */
  extend(delivery: Delivery, duration: number): void;
  /** Acks what this member holds of the topic, up to and including the offset; how many. */
  ackThrough(topic: string, offset: Offset): number;
  /** Waits until all that this member settled survives a power cut. TimedOutError, or NoDaemonError when none runs. */
  awaitSettled(options?: WaitOptions): Promise<void>;
}

export class Bus extends Handle {
  private constructor();
  /** Opens the bus of this directory; makes it when it is missing, unless `create` is false. */
  static open(directory: string, options?: { create?: boolean }): Bus;
  readonly directory: string;
  producer(topic: string, options?: ProducerOptions): Producer;
  /** A member of the group, which is made when missing. Topics: names and patterns; none: as the group has them. */
  consumer(group: string, topics?: string | Iterable<string>, options?: ConsumerOptions): Consumer;
  reader(topics: string | Iterable<string>, options?: ReaderOptions): Reader;
  createTopic(name: string, options?: TopicOptions): void;
  deleteTopic(name: string): void;
  describeTopic(name: string): TopicInfo;
  describeGroup(group: string, topic: string): GroupInfo;
  seekGroup(group: string, to: From): void;
  pauseGroup(group: string, paused?: boolean): void;
  deleteGroup(group: string): void;
  /** Those that are neither redriven nor purged, oldest first; `offset` is the number that redrive and purge take. */
  deadLetters(group: string, most?: number): Event[];
  /** Gives a letter back to the group that failed, and to no other. */
  redrive(group: string, letter: Offset): void;
  purge(group: string, letter: Offset): void;
  /** Closes what was opened from it too. */
  close(): void;
}

/** `code` is the name of an errno, `errno` its negative number, as in errors of Node's own; the message says what to do. */
export class PenstockError extends Error {
  readonly code: string;
  readonly errno: number;
}
/** EEXIST */
export class AlreadyExistsError extends PenstockError {}
/** EBUSY: somebody else has it. */
export class BusyError extends PenstockError {}
/** EBADF: the handle was closed. */
export class ClosedError extends PenstockError {}
/** EPROTO: corrupt, or of another version. */
export class CorruptError extends PenstockError {}
/** EIO */
export class DiskError extends PenstockError {}
/** EALREADY: the topic has an event with this id. */
export class DuplicateError extends PenstockError {}
/** ECHILD: a handle used in a forked child. */
export class ForkedError extends PenstockError {}
/** ENOBUFS: the ring is full; retry or shed. */
export class FullError extends PenstockError {}
/** EINVAL: an argument, a name, or options that differ from the group's. */
export class InvalidArgumentError extends PenstockError {}
/** ENETDOWN: no daemon runs. */
export class NoDaemonError extends PenstockError {}
/** ENOSPC */
export class NoSpaceError extends PenstockError {}
/** ENOENT: no such topic, group or event. */
export class NotFoundError extends PenstockError {}
/** EACCES */
export class PermissionError extends PenstockError {}
/** ESTALE: the lease ran out or was settled; or the handle's topic or group was deleted. */
export class StaleError extends PenstockError {}
/** ETIMEDOUT */
export class TimedOutError extends PenstockError {}
/** EMSGSIZE: larger than the topic takes; nothing was published. */
export class TooLargeError extends PenstockError {}
/** EMFILE: too many handles, topics or unsettled events. */
export class TooManyError extends PenstockError {}
/** EOPNOTSUPP */
export class UnsupportedError extends PenstockError {}

/** The library's. */
export const version: string;
