"""Handles that threads share: they take turns, and no wait holds up another thread or the interpreter."""

import os
import subprocess
import sys
import threading

import pytest

import penstock
from conftest import DEADLINE, Running, until


def test_threads_share_a_producer(bus):
    with bus.producer("orders") as producer:
        def publish(name):
            return [producer.publish(b"%d:%d" % (name, i), key=str(name)) for i in range(2000)]
        threads = [Running(publish, name) for name in range(4)]
        offsets = [thread.result() for thread in threads]
    assert sorted(sum(offsets, [])) == list(range(8000)) and all(each == sorted(each) for each in offsets)
    with bus.reader("orders", "beginning") as reader:
        for _ in range(8000):
            event = reader.next(timeout=10)
            name, number = bytes(event.payload).split(b":")
            assert offsets[int(name)][int(number)] == event.offset and event.key == name.decode()


def test_threads_share_a_consumer(bus):
    with bus.producer("orders") as producer:
        producer.publish_batch([b"%d" % i for i in range(2000)])
    with bus.consumer("desk", "orders", max_in_flight=64) as consumer:
        def work():
            done = []
            while not consumer.settled_through({"orders": 2000}):
                if (delivery := consumer.next(timeout=0.01)) is not None:
                    done.append(delivery.offset)
                    delivery.ack()
            return done
        threads = [Running(work) for _ in range(4)]
        assert sorted(sum((thread.result() for thread in threads), [])) == list(range(2000))
        (where,) = bus.group_topics("desk")
        assert (where.acked, where.redelivered) == (2000, 0)


@pytest.fixture
def waiting(bus):
    """A delivery that was taken (alone in a list), and a thread that waits for ever for the next."""
    with bus.producer("orders") as producer, bus.consumer("desk", "orders", backoff=[0.001]) as consumer:
        producer.publish(b"first")
        held = [consumer.next(timeout=10)]
        thread = Running(consumer.next)
        until(thread.sleeps, "the thread to wait")
        yield producer, consumer, held, thread
        if thread.is_alive():
            consumer.interrupt()


def test_a_waiting_thread_lets_python_run(waiting):
    producer, _, _, thread = waiting
    producer.publish(b"second")
    assert bytes(thread.result().payload) == b"second"


def test_an_ack_does_not_stand_behind_a_wait(waiting):
    producer, consumer, (delivery,), thread = waiting
    delivery.ack()
    assert consumer.settled_through({"orders": 1}) and thread.is_alive()
    producer.publish(b"second")
    assert thread.result().offset == 1


def test_a_delivery_dropped_during_a_wait_comes_back(waiting):
    _, _, held, thread = waiting
    held.clear()
    back = thread.result()
    assert (back.offset, back.attempt) == (0, 2)


def test_interrupt_ends_a_wait_or_the_next_one(waiting):
    _, consumer, _, thread = waiting
    consumer.interrupt()
    with pytest.raises(penstock.Interrupted):
        thread.result()
    consumer.interrupt()
    with pytest.raises(penstock.Interrupted):
        consumer.next()
    assert consumer.next(timeout=0) is None


def test_closing_ends_a_wait(waiting):
    _, consumer, _, thread = waiting
    consumer.close()
    with pytest.raises(penstock.Closed):
        thread.result()


def test_two_threads_wait_on_one_consumer(waiting):
    producer, consumer, _, thread = waiting
    second = Running(consumer.next)
    until(second.sleeps, "the second thread to wait")
    producer.publish_batch([b"a", b"b"])
    assert {thread.result().offset, second.result().offset} == {1, 2}


def test_a_blocked_publish_lets_python_run_and_goes_on(memory_bus):
    with memory_bus.reader("ticks", "beginning") as reader, memory_bus.producer("ticks", block=3600) as producer:
        def publish():
            return [producer.publish(b"x" * 8000) for _ in range(100)]
        thread = Running(publish)
        got = 0
        while got < 100:
            got += len(reader.poll())
        assert thread.result() == list(range(100))


def test_a_publish_shares_a_blocked_producer(memory_bus):
    with memory_bus.reader("ticks", "beginning") as reader, memory_bus.producer("ticks", block=3600) as producer:
        def publish():
            return [producer.publish(b"x" * 8000) for _ in range(10)]
        threads = [Running(publish) for _ in range(3)]
        until(lambda: all(thread.sleeps() for thread in threads), "the ring to be full")
        got = 0
        while got < 30:
            got += len(reader.poll())
        assert sorted(sum((thread.result() for thread in threads), [])) == list(range(30))


def test_the_last_error_is_of_the_thread_that_failed(bus):
    def fail(name):
        for _ in range(500):
            with pytest.raises(penstock.NotFound, match=name):
                bus.describe_topic(name)
    for thread in [Running(fail, f"missing-{i}") for i in range(4)]:
        thread.result()


def test_an_interpreter_ends_while_threads_wait(directory):
    text = (
        "import penstock, sys, threading\n"
        "class Last:\n"
        "    def __del__(self, wait=threading.Event().wait): wait(0.2)\n"  # threads come back meanwhile, or would
        "bus = penstock.Bus(sys.argv[1])\n"
        "threads = [threading.Thread(target=bus.reader('t').next, daemon=True) for _ in range(4)]\n"
        "for thread in threads: thread.start()\n"
        "sys.last = Last()\n")
    for _ in range(3):
        done = subprocess.run([sys.executable, "-c", text, directory], capture_output=True, text=True, timeout=DEADLINE,
                              env=os.environ)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_wait_for_the_disk_does_not_hold_up_publishing(bus):
    with bus.producer("orders") as producer:
        waiting = Running(producer.await_durable, 2500)
        for _ in range(2500):  # each behind a slice of the wait would take minutes
            until(waiting.sleeps, "the thread to wait")
            producer.publish(b"x")
        with penstock.Daemon(bus):
            producer.publish(b"the last")
            waiting.result()
        never = Running(producer.await_durable, 100_000)
        until(never.sleeps, "the thread to wait again")
    with pytest.raises(penstock.Closed):
        never.result()


def test_a_producer_is_closed_while_its_claims_are_settled_and_made(memory_bus):
    with memory_bus.reader("ticks", "beginning", lossy=True) as reader:
        for _ in range(100):
            producer = memory_bus.producer("ticks")
            claims = [producer.claim(8) for _ in range(3)]
            gate = threading.Barrier(5)

            def at_once(call):
                gate.wait()
                try:
                    return call()
                except penstock.Closed:
                    return None

            threads = [Running(at_once, call) for call in (*(claim.commit for claim in claims),
                                                           lambda: producer.claim(8) and None, producer.close)]
            committed = [offset for offset in (thread.result() for thread in threads) if offset is not None]
            assert all(claim.settled for claim in claims) and producer.closed
            with memory_bus.producer("ticks") as another:
                last = another.publish(b"last")
            seen = []
            while last not in seen:
                seen += [event.offset for event in reader.poll()]
            assert seen == sorted(committed) + [last]


def test_a_claim_that_could_not_be_settled_gives_a_view_again(memory_bus):
    with memory_bus.producer("ticks") as producer, producer.claim(4) as claim:
        view = claim.payload
        part = view[1:]
        with pytest.raises(BufferError):
            claim.commit()
        with pytest.raises(ValueError):
            view[0] = 0
        claim.payload[:] = b"good"
        part.release()
        assert claim.commit() == 0
