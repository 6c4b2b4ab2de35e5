/* Penstock for C: publish to topics, consume as a member of a group. C11.
 *
 * Every call that can fail returns 0 or a negative errno and leaves a sentence that says what to do with
 * penstock_last_error(), for the calling thread, until its next failing call. Handles are opaque; each belongs to one
 * thread at a time, but for the bus, which any thread may use. Close producers and consumers before their bus.
 * Structs of options begin with struct_size, set to sizeof the struct, so that later versions can add fields; a zero or
 * NULL field means the default. Strings are UTF-8 or bytes without NUL.
 *
 *   -EAGAIN     nothing came within the timeout          -EMSGSIZE  larger than the topic's limit; nothing published
 *   -ENOBUFS    the ring is full and stayed so           -ENETDOWN  the ring is full and no daemon runs
 *   -ESTALE     the lease ran out or was settled         -ENOENT    no such topic or group
 *   -EBUSY      somebody else has it                     -EINVAL    an argument, a name or options that differ
 *   -ENOSPC, -EIO, -EACCES  the disk or the system       -EINTR     penstock_consumer_interrupt was called
 *   -EPROTO     corrupt or of another version            -ETIMEDOUT a deadline passed
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

typedef struct penstock_bus penstock_bus;
typedef struct penstock_producer penstock_producer;
typedef struct penstock_consumer penstock_consumer;
typedef struct penstock_delivery penstock_delivery;

typedef struct penstock_bus_options {
  size_t struct_size;
  int must_exist; /* 1: -ENOENT instead of making a missing bus */
} penstock_bus_options;

typedef struct penstock_producer_options {
  size_t struct_size;
  int must_exist;   /* 1: -ENOENT instead of making a missing topic */
  int64_t block_ms; /* how long to wait for a full ring; 0: 10000; negative: not at all */
} penstock_producer_options;

typedef struct penstock_event_options {
  size_t struct_size;
  const char* key;
  const char* id; /* deduplicates; NULL: a generated one */
  const char* content_type;
  int64_t ttl_ms; /* 0: none */
} penstock_event_options;

typedef struct penstock_consumer_options {
  size_t struct_size;
  uint32_t max_attempts;
  uint32_t max_in_flight;
  const int64_t* backoff_ms; /* the last repeats */
  size_t backoff_count;
  int64_t lease_ms;
  int from_end; /* 1: a new group begins at the end of its topics */
} penstock_consumer_options;

/* An open claim: write payload, then commit or abort. Must be settled before its producer is closed. */
typedef struct penstock_claim {
  void* payload; /* in shared memory, 8-byte aligned */
  size_t size;
  uint64_t offset;
  void* impl; /* the library's */
} penstock_claim;

/* The last failure of this thread, in a sentence; "" when there was none. Valid until the next failing call. */
PENSTOCK_API const char* penstock_last_error(void);
PENSTOCK_API const char* penstock_version(void);

PENSTOCK_API int penstock_bus_open(const char* directory, const penstock_bus_options* options, penstock_bus** bus);
PENSTOCK_API void penstock_bus_close(penstock_bus* bus);

PENSTOCK_API int penstock_producer_open(penstock_bus* bus, const char* topic, const penstock_producer_options* options,
                                        penstock_producer** producer);
PENSTOCK_API void penstock_producer_close(penstock_producer* producer);
/* Copies the event into the log and makes it visible. `offset` may be NULL. */
PENSTOCK_API int penstock_publish(penstock_producer* producer, const void* payload, size_t size,
                                  const penstock_event_options* options, uint64_t* offset);
/* A claim of `size` bytes to be written in place. */
PENSTOCK_API int penstock_claim_begin(penstock_producer* producer, size_t size, const penstock_event_options* options,
                                      penstock_claim* claim);
PENSTOCK_API int penstock_claim_commit(penstock_claim* claim, uint64_t* offset);
PENSTOCK_API void penstock_claim_abort(penstock_claim* claim);
/* Waits until every offset up to this one is on disk. */
PENSTOCK_API int penstock_await_durable(penstock_producer* producer, uint64_t offset, int64_t timeout_ms);

/* A member of the group, which is made when missing. `topics`: names and patterns; none: as the group has them. */
PENSTOCK_API int penstock_consumer_open(penstock_bus* bus, const char* group, const char* const* topics, size_t count,
                                        const penstock_consumer_options* options, penstock_consumer** consumer);
PENSTOCK_API void penstock_consumer_close(penstock_consumer* consumer);
/* The next event, waiting up to timeout_ms (0 only looks). Settle the delivery, then free it. */
PENSTOCK_API int penstock_consumer_next(penstock_consumer* consumer, int64_t timeout_ms, penstock_delivery** delivery);
/* Ends a wait from another thread or a signal handler. */
PENSTOCK_API void penstock_consumer_interrupt(penstock_consumer* consumer);

/* What was delivered: valid until penstock_delivery_free. */
PENSTOCK_API const void* penstock_delivery_payload(const penstock_delivery* delivery, size_t* size);
PENSTOCK_API uint64_t penstock_delivery_offset(const penstock_delivery* delivery);
PENSTOCK_API uint32_t penstock_delivery_attempt(const penstock_delivery* delivery); /* failed attempts + 1 */
PENSTOCK_API const char* penstock_delivery_topic(const penstock_delivery* delivery);
PENSTOCK_API const char* penstock_delivery_key(const penstock_delivery* delivery, size_t* size); /* NULL: none */
PENSTOCK_API int64_t penstock_delivery_time_ns(const penstock_delivery* delivery);               /* since the epoch */

PENSTOCK_API int penstock_delivery_ack(penstock_delivery* delivery);
PENSTOCK_API int penstock_delivery_nak(penstock_delivery* delivery, const char* error_class, const char* reason);
PENSTOCK_API int penstock_delivery_reject(penstock_delivery* delivery, const char* error_class, const char* reason);
PENSTOCK_API int penstock_delivery_release(penstock_delivery* delivery);
PENSTOCK_API int penstock_delivery_extend(penstock_delivery* delivery, int64_t duration_ms);
/* An unsettled delivery counts as a failed attempt. */
PENSTOCK_API void penstock_delivery_free(penstock_delivery* delivery);

#ifdef __cplusplus
}
#endif

#endif
