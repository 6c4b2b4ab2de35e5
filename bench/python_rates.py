"""What does the Python package cost? Events a second through one process, and the round trip between two.

usage: PYTHONPATH=<where penstock is> python3 bench/python_rates.py

Measures the calls a program makes, on topics in memory, 64-byte payloads, one thread: publish, publish_batch, claim,
Reader.next, Reader.poll, and next with ack. The round trip is publish, another process's Reader.next and publish, and
our Reader.next. It does not measure the disk, several members, or a busy interpreter lock. Every payload is checked
outside the measured time, or is the answer itself.
"""

import multiprocessing
import os
import shutil
import sys
import tempfile
import time

import penstock

SMOKE = "PENSTOCK_BENCH_SMOKE" in os.environ
EVENTS = 1_000 if SMOKE else 200_000
TRIPS = 200 if SMOKE else 20_000
PAYLOADS = [number.to_bytes(64, "little") for number in range(EVENTS)]


def rate(name, work):
    begin = time.perf_counter()
    value = work()
    seconds = time.perf_counter() - begin
    print(f"{name:34}{EVENTS / seconds:12,.0f} events/s{seconds / EVENTS * 1e9:10,.0f} ns each")
    return value


def check(name, events):
    numbers = [int.from_bytes(payload, "little") for payload in events]
    if numbers != list(range(EVENTS)):
        sys.exit(f"{name}: the events that came are not those that were published")


def topic(bus, name):
    bus.create_topic(name, durability="memory", ring_bytes=max(1 << 20, EVENTS * 256))
    return bus.producer(name)


def publishing(bus):
    def one_by_one(producer):
        for payload in PAYLOADS:
            producer.publish(payload)

    def with_options(producer):
        for payload in PAYLOADS:
            producer.publish(payload, key="order-17", headers={"currency": "EUR"})

    def batches(producer):
        for begin in range(0, EVENTS, 500):
            producer.publish_batch(PAYLOADS[begin:begin + 500])

    def claims(producer):
        for payload in PAYLOADS:
            claim = producer.claim(64)
            claim.payload[:] = payload
            claim.commit()

    for name, work in [("publish", one_by_one), ("publish with key and header", with_options),
                       ("publish_batch of 500", batches), ("claim, write, commit", claims)]:
        producer = topic(bus, work.__name__)
        rate(name, lambda: work(producer))
        with bus.reader(work.__name__, "beginning") as reader:
            check(name, [event.payload for _ in range(EVENTS) for event in reader.poll(1)])


def reading(bus):
    def following(reader):
        return [bytes(reader.next(timeout=10).payload) for _ in range(EVENTS)]

    def polling(reader):
        out = []
        while len(out) < EVENTS:
            out += [bytes(event.payload) for event in reader.poll(500)]
        return out

    def acking(consumer):
        out = []
        for _ in range(EVENTS):
            delivery = consumer.next(timeout=10)
            out.append(bytes(delivery.payload))
            delivery.ack()
        return out

    topic(bus, "read").publish_batch(PAYLOADS[:500])
    with bus.producer("read") as producer:
        for begin in range(500, EVENTS, 500):
            producer.publish_batch(PAYLOADS[begin:begin + 500])
    with bus.consumer("desk", "read") as consumer:
        check("next and ack", rate("Consumer.next and ack", lambda: acking(consumer)))
    with bus.reader("read", "beginning") as reader:
        check("next", rate("Reader.next", lambda: following(reader)))
    with bus.reader("read", "beginning") as reader:
        check("poll", rate("Reader.poll of 500", lambda: polling(reader)))


def answer(directory, wait):
    """The other process: sends back what comes, until an empty event."""
    with penstock.Bus(directory) as bus, bus.reader("ping", "beginning", wait=wait) as pings, \
            bus.producer("pong") as pongs:
        pongs.publish(b"ready")
        while len(payload := pings.next(timeout=60).payload):
            pongs.publish(payload)


def round_trips(directory, wait):
    with penstock.Bus(directory) as bus:
        for name in ("ping", "pong"):
            bus.create_topic(name, durability="memory")
        with bus.producer("ping") as pings, bus.reader("pong", wait=wait) as pongs:
            other = multiprocessing.get_context("spawn").Process(target=answer, args=(directory, wait))
            other.start()
            assert bytes(pongs.next(timeout=60).payload) == b"ready"
            took = []
            for payload in PAYLOADS[:TRIPS] if TRIPS <= EVENTS else PAYLOADS:
                begin = time.perf_counter_ns()
                pings.publish(payload)
                back = pongs.next(timeout=60)
                took.append(time.perf_counter_ns() - begin)
                if back is None or back.payload != payload:
                    sys.exit("round trip: another answer than the question")
            pings.publish(b"")
            other.join(60)
    took.sort()
    print(f"round trip, wait='{wait}'".ljust(34) + "".join(
        f"  {name} {took[int((len(took) - 1) * part)] / 1000:.1f} us" for name, part in
        [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)]))


def main():
    scratch = tempfile.mkdtemp(prefix="penstock-bench-")
    directory = os.path.join(scratch, "bus")
    try:
        with penstock.Bus(directory) as bus:
            publishing(bus)
            reading(bus)
        penstock.Bus.remove(directory)
        for wait in ("spin", "sleep"):
            round_trips(directory, wait)
            penstock.Bus.remove(directory)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


if __name__ == "__main__":
    main()
