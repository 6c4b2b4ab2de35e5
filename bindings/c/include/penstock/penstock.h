/* Penstock for C: publish to topics, consume as a member of a group, read without one, look after a bus. C11.
 *
 * Every call that can fail returns 0, or the count or descriptor it tells of, or a negative errno; then
 * penstock_last_error() has a sentence that says what to do. Handles are opaque; each belongs to one thread at a time,
 * but for the bus, which any thread may use, and the calls named interrupt. Close what was opened from a bus before the
 * bus. A handle may be closed by NULL. Nothing may be called from inside a callback on the handle that called it.
 *
 * Structs of options and of answers begin with struct_size, set by the caller to sizeof the struct, so that later
 * versions can add fields; a zero or NULL field of options means the default. Options that a program compiled against a
 * later version sets and this library does not know are refused: -E2BIG. A negative timeout waits for ever. Text is
 * UTF-8 that ends with NUL; payloads, keys and headers' values are bytes with a size. Times are nanoseconds since the
 * epoch, UTC. Text and arrays in an answer live until the thread's next call of the same name; in what a visitor is
 * given, until it returns. A visitor returns 0 to go on; anything else stops, and is not an error.
 *
 * - -EAGAIN: nothing came within the timeout
 * - -ETIMEDOUT: a deadline passed
 * - -EINTR: interrupt was called
 * - -EMSGSIZE: larger than the topic's limit; nothing was published
 * - -ENOBUFS: the ring is full and stayed so
 * - -ENETDOWN: the ring is full and no daemon runs
 * - -EALREADY: the topic refuses the id: it has it
 * - -ESTALE: the lease ran out or was settled; the handle's topic or group was deleted
 * - -ENOENT: no such topic, group or event
 * - -EEXIST: a topic of that name exists
 * - -EINVAL: an argument, a name or options that differ
 * - -EBUSY: somebody else has it
 * - -EMFILE: too many handles, topics or unsettled events
 * - -ENOSPC, -EIO, -EACCES: the disk or the system
 * - -EPROTO: corrupt or of another version
 * - -ECHILD: a handle used in a forked child
 * - -EOPNOTSUPP: this version does not do that yet
 */
#ifndef PENSTOCK_PENSTOCK_H
#define PENSTOCK_PENSTOCK_H

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define PENSTOCK_API __attribute__((visibility("default")))
#else
#define PENSTOCK_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

typedef struct penstock_bus penstock_bus;           /* a bus that is open */
typedef struct penstock_producer penstock_producer; /* publishes to one topic */
typedef struct penstock_consumer penstock_consumer; /* a member of a group */
typedef struct penstock_delivery penstock_delivery; /* a lease of one event */
typedef struct penstock_reader penstock_reader;     /* reads without a group */
typedef struct penstock_event penstock_event;       /* what is read */
typedef struct penstock_daemon penstock_daemon;     /* a daemon in this process */

/* The last failure of this thread, in a sentence; "" when there was none. Valid until the thread's next failing call.
 */
PENSTOCK_API const char* penstock_last_error(void);
/* The library's, such as "0.1.0". */
PENSTOCK_API const char* penstock_version(void);

/* ---- The bus ---- */

/* How a bus is opened. */
typedef struct penstock_bus_options {
  size_t struct_size;
  int must_exist; /* 1: -ENOENT instead of making a missing bus */
} penstock_bus_options;

/* Opens the bus in this directory, recovering its shared-memory side when it is gone. */
PENSTOCK_API int penstock_bus_open(const char* directory, const penstock_bus_options* options, penstock_bus** bus);
/* The bus stays; close what was opened from it before. */
PENSTOCK_API void penstock_bus_close(penstock_bus* bus);

/* A bus as it is now. */
typedef struct penstock_bus_info {
  size_t struct_size;
  uint64_t shm_bytes;
  uint64_t disk_bytes;
  uint32_t topics;
  uint32_t groups;
  uint32_t handles;      /* the living */
  uint32_t daemon_pid;   /* 0: no daemon runs */
  const char* live_path; /* its side in shared memory */
  const char* backend;   /* io_uring or pwrite; "" without a daemon */
  int uring_error;       /* the errno for which it is not io_uring; 0: it is, or pwrite was asked for */
} penstock_bus_info;

/* Fills in `info`, whose struct_size the caller sets. */
PENSTOCK_API int penstock_bus_describe(penstock_bus* bus, penstock_bus_info* info);
/* Removes the shared-memory side of a bus that nobody uses. -EBUSY: the sentence names who does. */
PENSTOCK_API int penstock_bus_unload(const char* directory);
/* Removes the bus with all it holds. -EBUSY as above. */
PENSTOCK_API int penstock_bus_remove(const char* directory);

/* Called for each name. */
typedef int (*penstock_name_visitor)(void* context, const char* name);

/* Where a reader or a new group begins. */
enum {
  PENSTOCK_START_DEFAULT = 0, /* a group: the beginning; a reader: the end */
  PENSTOCK_START_BEGINNING = 1,
  PENSTOCK_START_END = 2,
  PENSTOCK_START_OFFSET = 3, /* value: the offset */
  PENSTOCK_START_TIME = 4,   /* value: a time */
  PENSTOCK_START_LAST = 5    /* value: how many events from the end; readers alone */
};
/* A place in a topic. */
typedef struct penstock_start {
  int from;
  int64_t value;
} penstock_start;

/* A topic, and the offset of the next event there. */
typedef struct penstock_place {
  const char* topic;
  uint64_t offset;
} penstock_place;
/* Called for each place. */
typedef int (*penstock_place_visitor)(void* context, const penstock_place* place);

/* How a handle waits. */
enum { PENSTOCK_WAIT_SLEEP = 0, PENSTOCK_WAIT_SPIN = 1, PENSTOCK_WAIT_YIELD = 2 };

/* ---- Topics ---- */

enum { PENSTOCK_DURABILITY_DEFAULT = 0, PENSTOCK_DISK = 1, PENSTOCK_MEMORY = 2 };
enum { PENSTOCK_FULL_DEFAULT = 0, PENSTOCK_FULL_BLOCK = 1, PENSTOCK_FULL_FAIL = 2, PENSTOCK_FULL_DROP_OLDEST = 3 };

/* Defaults are the bus's: bus.toml. */
typedef struct penstock_topic_options {
  size_t struct_size;
  int durability;
  int full; /* what a publisher meets when the ring is full */
  uint64_t ring_bytes;
  uint64_t max_payload;
  uint64_t retention_bytes;
  int64_t retention_ms;
  uint32_t publish_dedupe; /* an id is refused while it is among this many newest events */
  int single_producer;
  int compact;
  int retain_unacked; /* 1: as penstock_topic_retain_unacked */
} penstock_topic_options;

/* A topic as it is now. */
typedef struct penstock_topic_info {
  size_t struct_size;
  uint64_t first_offset;   /* the oldest that can be read */
  uint64_t next_offset;    /* what the next event gets */
  uint64_t durable_offset; /* everything below is on disk */
  uint64_t ring_bytes;
  uint64_t disk_bytes;
  uint32_t producers; /* living handles */
  uint32_t readers;
  int durable_error; /* errno of a daemon that cannot write, or 0 */
  /* What it was made with, or changed to. */
  int durability; /* PENSTOCK_DISK or PENSTOCK_MEMORY */
  int full;       /* PENSTOCK_FULL_BLOCK, FAIL or DROP_OLDEST */
  int single_producer;
  int compact;
  int retain_unacked;
  uint32_t publish_dedupe;
  uint64_t max_payload;
  uint64_t retention_bytes; /* 0: no bound */
  int64_t retention_ms;
  uint64_t shm_bytes; /* that its live file takes, the ring included */
  /* Who holds it up; NULL: nobody. */
  const char* blocked_by;           /* readers, by an open claim; or producers, by what was not read */
  const char* compaction_waits_for; /* the group whose unsettled events keep older ones */
  const char* retention_waits_for;  /* the group whose unsettled event keeps the oldest segment */
} penstock_topic_info;

/* -EEXIST when there is one of that name. `options` may be NULL. */
PENSTOCK_API int penstock_topic_create(penstock_bus* bus, const char* topic, const penstock_topic_options* options);
/* The topics' names, sorted. */
PENSTOCK_API int penstock_topic_list(penstock_bus* bus, penstock_name_visitor visitor, void* context);
/* How much of a durable topic is kept on disk; 0: no bound. Whole segments go, the oldest first. */
PENSTOCK_API int penstock_topic_retention(penstock_bus* bus, const char* topic, uint64_t bytes, int64_t time_ms);
/* 1: of each key the newest event alone is kept on disk; 0: all are. Durable topics. */
PENSTOCK_API int penstock_topic_compact(penstock_bus* bus, const char* topic, int compact);
/* 1: retention waits until every group that wants the topic has settled its events; 0: it waits only for what groups
 * have taken. A group that is forgotten then keeps the log for ever. */
PENSTOCK_API int penstock_topic_retain_unacked(penstock_bus* bus, const char* topic, int retain);
/* Removes it with all its events. */
PENSTOCK_API int penstock_topic_delete(penstock_bus* bus, const char* topic);
/* Fills in `info`, whose struct_size the caller sets. */
PENSTOCK_API int penstock_topic_describe(penstock_bus* bus, const char* topic, penstock_topic_info* info);

/* ---- Publishing ---- */

/* How a producer is opened. */
typedef struct penstock_producer_options {
  size_t struct_size;
  int must_exist;    /* 1: -ENOENT instead of making a missing topic */
  int64_t block_ms;  /* how long to wait for a full ring; 0: 10000; negative: not at all */
  int precise_clock; /* 1: events are stamped by CLOCK_REALTIME, not its coarse sister */
  int wait;          /* for the disk, in penstock_await_durable */
} penstock_producer_options;

/* A header of an event. */
typedef struct penstock_header {
  const char* name;
  const void* value;
  size_t size; /* of the value */
} penstock_header;

/* What an event has beside its payload. It is copied: nothing needs to outlive the call. */
typedef struct penstock_event_options {
  size_t struct_size;
  const char* key;
  size_t key_size; /* 0: the key ends with NUL */
  const char* id;  /* deduplicates; NULL: a generated one */
  const char* content_type;
  const char* schema;
  const penstock_header* headers;
  size_t header_count;
  int64_t deliver_at_ns; /* groups get it then; 0: now */
  int64_t ttl_ms;        /* 0: none */
} penstock_event_options;

/* What a batch holds. */
typedef struct penstock_message {
  const void* payload;
  size_t size;
  const penstock_event_options* options; /* may be NULL */
} penstock_message;

/* An open claim: write payload, then commit or abort. Must be settled before its producer is closed. */
typedef struct penstock_claim {
  void* payload; /* in shared memory, 8-byte aligned */
  size_t size;
  uint64_t offset;
  void* impl; /* the library's */
} penstock_claim;

/* A producer of this topic. -EBUSY: it has a single producer, and that lives. `options` may be NULL. */
PENSTOCK_API int penstock_producer_open(penstock_bus* bus, const char* topic, const penstock_producer_options* options,
                                        penstock_producer** producer);
/* Settle its claims before. */
PENSTOCK_API void penstock_producer_close(penstock_producer* producer);
/* Copies the event into the log and makes it visible. `offset` may be NULL. On a topic that refuses duplicates, an id
 * that it has answers with the offset of the event that has it and publishes nothing: penstock_producer_last_duplicate.
 */
PENSTOCK_API int penstock_publish(penstock_producer* producer, const void* payload, size_t size,
                                  const penstock_event_options* options, uint64_t* offset);
/* All of them or none become visible, with offsets from `first` upwards; 1 to 2047. `first` may be NULL. */
PENSTOCK_API int penstock_publish_batch(penstock_producer* producer, const penstock_message* messages, size_t count,
                                        uint64_t* first);
/* A claim of `size` bytes to be written in place. */
PENSTOCK_API int penstock_claim_begin(penstock_producer* producer, size_t size, const penstock_event_options* options,
                                      penstock_claim* claim);
/* Makes the event visible. `offset` may be NULL. */
PENSTOCK_API int penstock_claim_commit(penstock_claim* claim, uint64_t* offset);
/* Gives its offset up; nobody sees it. */
PENSTOCK_API void penstock_claim_abort(penstock_claim* claim);
/* Waits until every offset up to this one is on disk. Of a producer's calls this one may run in one thread while
 * another publishes; close the producer when it returned. */
PENSTOCK_API int penstock_await_durable(penstock_producer* producer, uint64_t offset, int64_t timeout_ms);
/* The 128-bit id of the event published last, or of the one `back` events before it in its batch. */
PENSTOCK_API void penstock_producer_last_id(const penstock_producer* producer, size_t back, uint8_t id[16]);
/* 1: the last penstock_publish answered with an earlier event's offset. */
PENSTOCK_API int penstock_producer_last_duplicate(const penstock_producer* producer);
/* The topic's limit, in bytes. */
PENSTOCK_API uint64_t penstock_producer_max_payload(const penstock_producer* producer);

/* ---- Events ----
 * In a handler: valid until it returns. From penstock_reader_next: until penstock_event_free. From
 * penstock_delivery_event: until penstock_delivery_free. What these calls return lives as long as their event. */

/* Why an event is in a dead-letter queue, or was. */
typedef struct penstock_dead_letter {
  size_t struct_size;
  const char* topic; /* where it came from */
  uint64_t offset;
  const char* group;
  const char* member;
  uint32_t attempts;
  uint32_t redrives;
  int64_t first_failure_ns;
  int64_t last_failure_ns;
  const char* disposition; /* rejected, attempts, expired, crash */
  const char* error_class;
  const char* reason;
} penstock_dead_letter;

/* The topic's name. */
PENSTOCK_API const char* penstock_event_topic(const penstock_event* event);
/* Its number in its topic, from 0. */
PENSTOCK_API uint64_t penstock_event_offset(const penstock_event* event);
/* When it was published. */
PENSTOCK_API int64_t penstock_event_time_ns(const penstock_event* event);
/* `size` may be NULL. */
PENSTOCK_API const void* penstock_event_payload(const penstock_event* event, size_t* size);
/* Bytes without a NUL at their end; NULL: none. `size` may be NULL. */
PENSTOCK_API const char* penstock_event_key(const penstock_event* event, size_t* size);
PENSTOCK_API const char* penstock_event_id_text(const penstock_event* event, size_t* size); /* NULL: generated */
/* Bytes without a NUL at their end; NULL: none. */
PENSTOCK_API const char* penstock_event_content_type(const penstock_event* event, size_t* size);
/* As the content type. */
PENSTOCK_API const char* penstock_event_schema(const penstock_event* event, size_t* size);
/* The value of the first header of this name; NULL: none. */
PENSTOCK_API const void* penstock_event_header(const penstock_event* event, const char* name, size_t* size);
/* The header at this index, from 0: its name, bytes without a NUL at their end, and its value; NULL: there are no more.
 */
PENSTOCK_API const char* penstock_event_header_at(const penstock_event* event, size_t index, size_t* name_size,
                                                  const void** value, size_t* size);
/* Groups do not get it before; 0: it was published without. */
PENSTOCK_API int64_t penstock_event_deliver_at_ns(const penstock_event* event);
/* Groups do not get it after; 0: it has no time to live. */
PENSTOCK_API int64_t penstock_event_expires_at_ns(const penstock_event* event);
/* The 128-bit id, by which events are deduplicated. */
PENSTOCK_API void penstock_event_id(const penstock_event* event, uint8_t id[16]);
/* -ENOENT when the event is no dead letter; a delivery's: when it was not redriven. */
PENSTOCK_API int penstock_event_dead_letter(const penstock_event* event, penstock_dead_letter* letter);
/* For events of penstock_reader_next alone. */
PENSTOCK_API void penstock_event_free(penstock_event* event);

/* ---- Consuming as a member of a group ---- */

enum { PENSTOCK_ORDERING_DEFAULT = 0, PENSTOCK_PARALLEL = 1, PENSTOCK_BY_KEY = 2, PENSTOCK_STRICT = 3 };
enum { PENSTOCK_EXPIRED_DEFAULT = 0, PENSTOCK_EXPIRED_DLQ = 1, PENSTOCK_EXPIRED_SKIP = 2 };

/* All but the last two belong to the group: what is zero stays as it is, or takes the default when the group is new;
 * what differs from an existing group's is refused: -EINVAL. */
typedef struct penstock_consumer_options {
  size_t struct_size;
  uint32_t max_attempts;
  uint32_t max_in_flight;
  const int64_t* backoff_ms; /* the last repeats */
  size_t backoff_count;
  int64_t lease_ms;
  int64_t dedupe; /* how many ids; negative: off */
  int64_t dedupe_age_ms;
  int ordering;
  int expired;
  penstock_start start; /* a new group's */
  int durable_only;     /* 1: this member takes only what is on disk */
  int wait;             /* this member's way of waiting */
} penstock_consumer_options;

/* A member of the group, which is made when missing. `topics`: names and patterns; none: as the group has them. */
PENSTOCK_API int penstock_consumer_open(penstock_bus* bus, const char* group, const char* const* topics, size_t count,
                                        const penstock_consumer_options* options, penstock_consumer** consumer);
/* Leases of deliveries that still live come back to the group; free those deliveries before. */
PENSTOCK_API void penstock_consumer_close(penstock_consumer* consumer);
/* The next event, waiting up to timeout_ms (0 only looks). Settle the delivery, then free it. */
PENSTOCK_API int penstock_consumer_next(penstock_consumer* consumer, int64_t timeout_ms, penstock_delivery** delivery);

/* What a handler makes of an event. The text is read right after the handler returned. */
enum { PENSTOCK_ACK = 0, PENSTOCK_NAK = 1, PENSTOCK_REJECT = 2, PENSTOCK_RELEASE = 3 };
/* Why, for what is not acked; NULL: nothing is told. */
typedef struct penstock_why {
  const char* error_class;
  const char* reason;
} penstock_why;
/* Called for each event; answers one of the four. */
typedef int (*penstock_handler)(void* context, const penstock_event* event, uint32_t attempt, penstock_why* why);
/* Hands up to `most` events to the handler, in place where that can be, settles each by what it returns, and returns at
 * once with their number. What is none of the four counts as PENSTOCK_NAK. */
PENSTOCK_API int penstock_consumer_poll(penstock_consumer* consumer, penstock_handler handler, void* context,
                                        size_t most);
/* Waits until poll or next may have something; -EAGAIN: the timeout passed. */
PENSTOCK_API int penstock_consumer_wait(penstock_consumer* consumer, int64_t timeout_ms);
/* A descriptor for poll, epoll and event loops: readable when poll or next may have something. Call them until nothing
 * comes; from then on it is quiet until there is news. It is the consumer's: do not read it, do not close it. */
PENSTOCK_API int penstock_consumer_event_fd(penstock_consumer* consumer);
/* Ends a wait from another thread or a signal handler. */
PENSTOCK_API void penstock_consumer_interrupt(penstock_consumer* consumer);
/* Acks what this member holds of the topic, up to and including the offset. `acked`: how many; may be NULL. */
PENSTOCK_API int penstock_consumer_ack_through(penstock_consumer* consumer, const char* topic, uint64_t offset,
                                               uint64_t* acked);
/* 1: every event before these ends, of topics that the group consumes, is settled; 0: not yet. Dead letters that the
 * daemon still has to move count as unsettled. */
PENSTOCK_API int penstock_consumer_settled_through(penstock_consumer* consumer, const penstock_place* ends,
                                                   size_t count);
/* Waits until all that this member settled survives a power cut. */
PENSTOCK_API int penstock_consumer_await_settled(penstock_consumer* consumer, int64_t timeout_ms);
/* Events that were gone before the group came to them. */
PENSTOCK_API uint64_t penstock_consumer_missed(const penstock_consumer* consumer);
/* Offsets on disk that could not be read. */
PENSTOCK_API uint64_t penstock_consumer_damaged(const penstock_consumer* consumer);

/* What was delivered: valid until penstock_delivery_free. */
PENSTOCK_API const void* penstock_delivery_payload(const penstock_delivery* delivery, size_t* size);
PENSTOCK_API uint64_t penstock_delivery_offset(const penstock_delivery* delivery);   /* in its topic */
PENSTOCK_API uint32_t penstock_delivery_attempt(const penstock_delivery* delivery);  /* failed attempts + 1 */
PENSTOCK_API const char* penstock_delivery_topic(const penstock_delivery* delivery); /* its name */
PENSTOCK_API const char* penstock_delivery_key(const penstock_delivery* delivery, size_t* size); /* NULL: none */
PENSTOCK_API int64_t penstock_delivery_time_ns(const penstock_delivery* delivery); /* when it was published */
PENSTOCK_API const penstock_event* penstock_delivery_event(const penstock_delivery* delivery); /* for all the rest */

/* Settle a delivery once, while its consumer is open; a lease that ran out or was settled is refused: -ESTALE. */
PENSTOCK_API int penstock_delivery_ack(penstock_delivery* delivery);
/* Failed: comes back after the backoff, or goes to the dead-letter queue. */
PENSTOCK_API int penstock_delivery_nak(penstock_delivery* delivery, const char* error_class, const char* reason);
/* The same, to come back after this delay instead of the group's backoff. */
PENSTOCK_API int penstock_delivery_nak_after(penstock_delivery* delivery, int64_t delay_ms, const char* error_class,
                                             const char* reason);
/* To the dead-letter queue now. */
PENSTOCK_API int penstock_delivery_reject(penstock_delivery* delivery, const char* error_class, const char* reason);
/* Not now: comes back at once, uncounted. */
PENSTOCK_API int penstock_delivery_release(penstock_delivery* delivery);
/* Still working: the lease ends this long from now. */
PENSTOCK_API int penstock_delivery_extend(penstock_delivery* delivery, int64_t duration_ms);
/* An unsettled delivery counts as a failed attempt. */
PENSTOCK_API void penstock_delivery_free(penstock_delivery* delivery);

/* ---- Reading without a group ---- */

/* How a reader is opened. */
typedef struct penstock_reader_options {
  size_t struct_size;
  penstock_start start;
  int lossy;        /* 1: never holds up a memory topic's producers; counts what it missed */
  int durable_only; /* 1: only what is on disk */
  int wait;
} penstock_reader_options;

/* Called for each event. */
typedef void (*penstock_visitor)(void* context, const penstock_event* event);

/* A reader of these names and patterns, topics that are made later included. `options` may be NULL. */
PENSTOCK_API int penstock_reader_open(penstock_bus* bus, const char* const* topics, size_t count,
                                      const penstock_reader_options* options, penstock_reader** reader);
/* Events of penstock_reader_next stay. */
PENSTOCK_API void penstock_reader_close(penstock_reader* reader);
/* Hands up to `most` events to the visitor and returns at once with their number. */
PENSTOCK_API int penstock_reader_poll(penstock_reader* reader, penstock_visitor visitor, void* context, size_t most);
/* The next event as a copy of its own, which outlives the reader: penstock_event_free. */
PENSTOCK_API int penstock_reader_next(penstock_reader* reader, int64_t timeout_ms, penstock_event** event);
/* As the consumer's. */
PENSTOCK_API int penstock_reader_wait(penstock_reader* reader, int64_t timeout_ms);
/* As the consumer's. */
PENSTOCK_API int penstock_reader_event_fd(penstock_reader* reader);
/* As the consumer's. */
PENSTOCK_API void penstock_reader_interrupt(penstock_reader* reader);
/* Events that were overwritten or removed before this reader came to them. */
PENSTOCK_API uint64_t penstock_reader_missed(const penstock_reader* reader);
/* Offsets on disk that could not be read. */
PENSTOCK_API uint64_t penstock_reader_damaged(const penstock_reader* reader);
/* The topics it reads, each with the next offset it expects. */
PENSTOCK_API int penstock_reader_places(const penstock_reader* reader, penstock_place_visitor visitor, void* context);

/* ---- Groups and their dead letters ---- */

/* Where a group stands in one topic. The counts of deliveries begin with the group. */
typedef struct penstock_group_info {
  size_t struct_size;
  uint64_t committed; /* the first unsettled event */
  uint64_t next_offset;
  uint64_t lag; /* unsettled events */
  uint64_t in_flight;
  uint64_t retrying; /* waiting for a retry, or for the daemon to move them to the dead-letter queue */
  uint64_t delivered, acked, redelivered, duplicates_skipped, dead_lettered;
  uint32_t members;          /* living handles, of the whole group */
  uint64_t queued;           /* ordered by key: taken, and behind an earlier event of their key */
  uint64_t full;             /* how often fresh events had to wait since as many were unsettled as a group can hold */
  uint64_t missed;           /* overwritten or removed before the group came to them */
  uint64_t damaged;          /* offsets on disk that could not be read */
  int64_t oldest_pending_ms; /* since the oldest unsettled event was published; 0: all is settled */
  uint64_t shm_bytes;        /* that the group's place in the topic takes */
  const char* topic;
  const char* dead_letters_wait; /* what keeps the daemon from moving dead letters; NULL: nothing */
} penstock_group_info;

/* What a group subscribes to, and its options. */
typedef struct penstock_group_settings {
  size_t struct_size;
  const char* const* topics; /* names and patterns */
  size_t topic_count;
  int paused;
  uint32_t members;  /* living handles */
  uint64_t redriven; /* dead letters given back since the group began */
  uint32_t max_attempts;
  uint32_t max_in_flight;
  const int64_t* backoff_ms;
  size_t backoff_count;
  int64_t lease_ms;
  uint32_t dedupe;       /* 0: off */
  int64_t dedupe_age_ms; /* 0: none */
  int ordering;          /* PENSTOCK_PARALLEL, BY_KEY or STRICT */
  int expired;           /* PENSTOCK_EXPIRED_DLQ or SKIP */
} penstock_group_settings;

/* An event that a group took and has not settled. */
typedef struct penstock_pending_info {
  size_t struct_size; /* the library's, in this and other things that visitors are given */
  const char* topic;
  uint64_t offset;
  const char* state;  /* leased, waiting, queued (behind another of its key), dead */
  const char* member; /* who has it, or had it last */
  uint32_t attempts;  /* failed so far */
  uint32_t delivered; /* times handed out */
  int64_t due_ns;     /* the lease's end, or when it comes back */
  const char* error_class;
  const char* reason; /* of the last failure */
} penstock_pending_info;

/* In a group ordered by key: a key with an unsettled event, which its later events wait for. */
typedef struct penstock_key_info {
  size_t struct_size;
  const char* topic;
  const char* key; /* bytes; NULL: the event can no longer be read */
  size_t key_size;
  uint64_t offset;   /* the event's */
  const char* state; /* leased, retrying */
  uint32_t attempt;  /* failed attempts + 1 */
  uint64_t behind;   /* events of the key that wait for it, of those the group has come to */
  int64_t since_ns;  /* when the group took the event */
} penstock_key_info;

/* Called for each topic of a group, unsettled event, or key. */
typedef int (*penstock_group_visitor)(void* context, const penstock_group_info* info);
typedef int (*penstock_pending_visitor)(void* context, const penstock_pending_info* info); /* as above */
typedef int (*penstock_key_visitor)(void* context, const penstock_key_info* info);         /* as above */

/* The groups' names, sorted. */
PENSTOCK_API int penstock_group_list(penstock_bus* bus, penstock_name_visitor visitor, void* context);
/* Fills in `info`, whose struct_size the caller sets. */
PENSTOCK_API int penstock_group_describe(penstock_bus* bus, const char* group, const char* topic,
                                         penstock_group_info* info);
/* The same of each topic that the group wants, and of its dead-letter queue while redriven letters are under way. */
PENSTOCK_API int penstock_group_topics(penstock_bus* bus, const char* group, penstock_group_visitor visitor,
                                       void* context);
/* Fills in `settings`, whose struct_size the caller sets. */
PENSTOCK_API int penstock_group_get(penstock_bus* bus, const char* group, penstock_group_settings* settings);
/* Changes its options, and its subscriptions unless `count` is 0; what is zero in the options stays as it is. */
PENSTOCK_API int penstock_group_set(penstock_bus* bus, const char* group, const char* const* topics, size_t count,
                                    const penstock_consumer_options* options);
/* Events that are leased, wait or are to be dead letters, by topic and offset. */
PENSTOCK_API int penstock_group_pending(penstock_bus* bus, const char* group, penstock_pending_visitor visitor,
                                        void* context);
/* The keys that have an unsettled event, by topic and offset. */
PENSTOCK_API int penstock_group_keys(penstock_bus* bus, const char* group, penstock_key_visitor visitor, void* context);
/* It goes on there in all its topics; what was in flight is given up. */
PENSTOCK_API int penstock_group_seek(penstock_bus* bus, const char* group, penstock_start to);
/* 1: gives its members nothing until it is called with 0, also after a restart. */
PENSTOCK_API int penstock_group_pause(penstock_bus* bus, const char* group, int paused);
/* Removes it and its progress; its dead letters stay. */
PENSTOCK_API int penstock_group_delete(penstock_bus* bus, const char* group);

/* Called for each letter. */
typedef int (*penstock_letter_visitor)(void* context, const penstock_event* event);
/* The group's dead letters that are neither redriven nor purged, oldest first. penstock_event_dead_letter has their
 * history, penstock_event_offset the number that redrive and purge take. */
PENSTOCK_API int penstock_dead_letters(penstock_bus* bus, const char* group, penstock_letter_visitor visitor,
                                       void* context);
/* Gives a letter back to the group that failed, and to no other. */
PENSTOCK_API int penstock_redrive(penstock_bus* bus, const char* group, uint64_t letter);
/* Marks a letter as done with; the log keeps it. */
PENSTOCK_API int penstock_purge(penstock_bus* bus, const char* group, uint64_t letter);

/* ---- The daemon, hosted by this process ---- */

/* How a daemon is started. */
typedef struct penstock_daemon_options {
  size_t struct_size;
  int force_pwrite; /* 1: does not try io_uring */
  int64_t checkpoint_ms;
  /* Called from the daemon's thread; level: 0 info, 1 warning, 2 error. Must not stop the daemon. */
  void (*log)(void* context, int level, const char* text);
  void* context;
} penstock_daemon_options;

/* Does the daemon's work in a thread until it is stopped. -EBUSY: another daemon has the bus. */
PENSTOCK_API int penstock_daemon_start(penstock_bus* bus, const penstock_daemon_options* options,
                                       penstock_daemon** daemon);
/* Persists all that is committed, ends the thread, and frees the handle, also when it answers an error. */
PENSTOCK_API int penstock_daemon_stop(penstock_daemon* daemon);

#ifdef __cplusplus
}
#endif

#endif
