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
  /** On disk the newest event of each key is enough. */
  compact?: boolean;
  /** Retention waits until every group that wants the topic has settled its events. */
  retainUnacked?: boolean;
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
  /** That its live file takes, the ring included. */
  shmBytes: number;
  diskBytes: number;
  /** Living handles. */
  producers: number;
  readers: number;
  /** The errno of a daemon that cannot write, or 0. */
  durableError: number;
  /** Who holds an open claim that readers wait for, or which reader or group holds producers up. */
  blockedBy: string | undefined;
  /** Which group's unsettled events keep older ones from being compacted. */
  compactionWaitsFor: string | undefined;
  /** Which group's unsettled event keeps the oldest segment. */
  retentionWaitsFor: string | undefined;
  durability: 'disk' | 'memory';
  full: 'block' | 'fail' | 'dropOldest';
  maxPayload: number;
  /** 0: no bound. */
  retentionBytes: number;
  retentionTime: number;
  publishDedupe: number;
  singleProducer: boolean;
  compact: boolean;
  retainUnacked: boolean;
}

/** A bus as it is now. */
export interface BusInfo {
  path: string;
  /** Its side in shared memory. */
  livePath: string;
  shmBytes: number;
  diskBytes: number;
  topics: number;
  groups: number;
  /** The living. */
  handles: number;
  /** Undefined: no daemon runs. */
  daemonPid: number | undefined;
  backend: 'io_uring' | 'pwrite' | undefined;
  /** The errno for which it is not io_uring; 0: it is, or pwrite was asked for. */
  uringError: number;
}

/** Where a group stands in a topic. The counts of deliveries begin with the group. */
export interface GroupInfo {
  topic: string;
  /** The first unsettled event. */
  committed: bigint;
  nextOffset: bigint;
  /** Unsettled events. */
  lag: number;
  inFlight: number;
  /** Waiting for a retry, or for the daemon to move them to the dead-letter queue. */
  retrying: number;
  /** Ordered by key: taken, and behind an earlier event of their key. */
  queued: number;
  /** How often fresh events had to wait since as many were unsettled as a group can hold. */
  full: number;
  /** Milliseconds since the oldest unsettled event was published; 0: all is settled. */
  oldestPending: number;
  delivered: number;
  acked: number;
  redelivered: number;
  duplicatesSkipped: number;
  deadLettered: number;
  /** Overwritten or removed before the group came to them. */
  missed: number;
  /** Offsets on disk that could not be read. */
  damaged: number;
  /** Living handles, of the whole group. */
  members: number;
  /** Shared memory that the group's place in the topic takes. */
  shmBytes: number;
  /** What keeps the daemon from moving dead letters. */
  deadLettersWait: string | undefined;
}

/** What a group subscribes to, and its options. */
export interface GroupSettings {
  /** Names and patterns. */
  topics: string[];
  paused: boolean;
  /** Living handles. */
  members: number;
  /** Dead letters given back since the group began. */
  redriven: number;
  maxAttempts: number;
  maxInFlight: number;
  backoff: number[];
  lease: number;
  dedupe: number | false;
  dedupeAge: number | undefined;
  ordering: 'parallel' | 'key' | 'strict';
  expired: 'dlq' | 'skip';
}

/** An event that a group took and has not settled. */
export interface PendingInfo {
  topic: string;
  offset: bigint;
  /** `queued`: behind another of its key. */
  state: 'leased' | 'waiting' | 'queued' | 'dead';
  /** Who has it, or had it last. */
  member: string;
  /** Failed so far. */
  attempts: number;
  /** Times handed out. */
  delivered: number;
  /** The lease's end, or when it comes back. */
  due: Date;
  /** Of the last failure. */
  errorClass: string;
  reason: string;
}

/** In a group ordered by key: a key with an unsettled event, which its later events wait for. */
export interface KeyInfo {
  topic: string;
  /** Undefined: the event can no longer be read. */
  key: string | undefined;
  /** The event's. */
  offset: bigint;
  state: 'leased' | 'retrying';
  /** Failed attempts + 1. */
  attempt: number;
  /** Events of the key that wait for it, of those the group has come to. */
  behind: number;
  /** When the group took the event. */
  since: Date;
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
  /** Groups do not get it before. */
  readonly deliverAt: Date | undefined;
  /** Groups do not get it after. */
  readonly expiresAt: Date | undefined;
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
  /** The id of the event published last, or of the one `back` events before it in its batch: 32 hexadecimal digits. */
  lastId(back?: number): string;
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
  /** The topics it reads, each with the offset of the event that comes next. */
  places(): Map<string, bigint>;
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
  /** True when every event before these ends, of topics that the group consumes, is settled. */
  settledThrough(ends: Map<string, Offset> | Record<string, Offset>): boolean;
  /** Waits until all that this member settled survives a power cut. TimedOutError, or NoDaemonError when none runs. */
  awaitSettled(options?: WaitOptions): Promise<void>;
}

export class Bus extends Handle {
  private constructor();
  /** Opens the bus of this directory; makes it when it is missing, unless `create` is false. */
  static open(directory: string, options?: { create?: boolean }): Bus;
  /** Removes the shared-memory side of a bus that nobody uses; BusyError names who does. */
  static unload(directory: string): void;
  /** Removes the bus with all it holds. */
  static remove(directory: string): void;
  readonly directory: string;
  describe(): BusInfo;
  producer(topic: string, options?: ProducerOptions): Producer;
  /** A member of the group, which is made when missing. Topics: names and patterns; none: as the group has them. */
  consumer(group: string, topics?: string | Iterable<string>, options?: ConsumerOptions): Consumer;
  reader(topics: string | Iterable<string>, options?: ReaderOptions): Reader;
  createTopic(name: string, options?: TopicOptions): void;
  deleteTopic(name: string): void;
  describeTopic(name: string): TopicInfo;
  /** The topics' names, sorted. */
  topics(): string[];
  /** How much of a durable topic is kept on disk; left out or 0: no bound. */
  setRetention(topic: string, limits: { bytes?: number; time?: number }): void;
  /** Whether retention waits until every group that wants the topic has settled its events. */
  setRetainUnacked(topic: string, retain?: boolean): void;
  /** Whether of each key the newest event alone is kept; durable topics. */
  setCompaction(topic: string, compact?: boolean): void;
  /** The groups' names, sorted. */
  groups(): string[];
  describeGroup(group: string, topic: string): GroupInfo;
  /** Where the group stands in each of its topics. */
  groupTopics(group: string): GroupInfo[];
  /** Events that are leased, wait or are to be dead letters, by topic and offset. */
  groupPending(group: string): PendingInfo[];
  /** Keys with an unsettled event, by topic and offset. */
  groupKeys(group: string): KeyInfo[];
  groupSettings(group: string): GroupSettings;
  /** Changes a group's options, and its subscriptions when topics are given; what is left out stays. */
  setGroup(group: string, options?: ConsumerOptions, topics?: string | Iterable<string>): void;
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
