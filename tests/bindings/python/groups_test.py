"""Consumers, deliveries and their settlement; dead letters; what operators ask of a bus."""

import gc
import pathlib
import sys
import threading
from datetime import timedelta
from unittest import mock

import pytest

import penstock
from conftest import until


@pytest.fixture
def shop(bus):
    """A daemon, a producer of `orders` with five events and a member of the group `desk`."""
    with penstock.Daemon(bus), bus.producer("orders") as producer:
        producer.publish_batch([bytes([i]) for i in range(5)])
        with bus.consumer("desk", "orders", max_attempts=2, backoff=[0.001]) as consumer:
            yield bus, producer, consumer


def settled(bus, group="desk"):
    (where,) = bus.group_topics(group)
    return where.lag == 0


def test_each_settlement_does_what_it_says(shop):
    bus, producer, consumer = shop
    seen = [consumer.next(timeout=10) for _ in range(5)]
    assert [d.offset for d in seen] == [0, 1, 2, 3, 4] and {d.group for d in seen} == {"desk"}
    acked, failed, rejected, released, extended = seen
    acked.ack()
    failed.nak(error_class="parse", reason="not a number", delay=0)
    rejected.reject(error_class="policy", reason="not ours")
    released.release()
    extended.extend(60)
    assert [d.settled for d in seen] == [True, True, True, True, False]
    again = {d.offset: d for d in (consumer.next(timeout=10) for _ in range(2))}
    assert {offset: d.attempt for offset, d in again.items()} == {1: 2, 3: 1}
    again[1].nak(error_class="parse", reason="still not")
    again[3].ack()
    extended.ack()
    with bus.reader("desk.dlq", "beginning") as letters:
        found = {letter.dead_letter.offset: letter.dead_letter for letter in (letters.next(timeout=10) for _ in range(2))}
    assert (found[1].error_class, found[1].reason, found[1].attempts) == ("parse", "still not", 2)
    assert (found[2].error_class, found[2].disposition) == ("policy", "rejected")
    until(lambda: settled(bus), "the group to be done")
    assert consumer.settled_through({"orders": 5}) and not consumer.settled_through({"orders": 6})


def test_a_settled_delivery_is_refused(shop):
    delivery = shop[2].next(timeout=10)
    delivery.ack()
    for settle in (delivery.ack, delivery.nak, delivery.reject, delivery.release, lambda: delivery.extend(1)):
        with pytest.raises(penstock.StaleLease):
            settle()
    assert bytes(delivery.payload) == b"\0"


def test_ack_through_acks_what_this_member_holds_and_await_settled_waits_for_the_disk(shop):
    bus, _, consumer = shop
    seen = [consumer.next(timeout=10) for _ in range(4)]
    assert consumer.ack_through("orders", 2) == 3
    with pytest.raises(penstock.StaleLease):
        seen[0].ack()
    seen[3].ack()
    consumer.await_settled(timeout=30)
    (where,) = bus.group_topics("desk")
    assert where.acked == 4 and where.dead_letters_wait is None


def test_with_delivery_settles_by_how_the_block_ends(shop):
    _, _, consumer = shop
    first, second, third, fourth, fifth = (consumer.next(timeout=10) for _ in range(5))
    with first:
        pass
    assert first.settled
    with pytest.raises(ValueError), second:
        raise ValueError("seven")
    with pytest.raises(KeyboardInterrupt), third:
        raise KeyboardInterrupt
    with fourth:
        fourth.nak(reason="own words")
    with pytest.raises(SystemExit), fifth:
        sys.exit()
    back = {d.offset: d for d in (consumer.next(timeout=10) for _ in range(4))}
    assert {offset: d.attempt for offset, d in back.items()} == {1: 2, 2: 1, 3: 2, 4: 1}
    (pending,) = [p for p in shop[0].group_pending("desk") if p.offset == 1]
    assert (pending.state, pending.attempts) == ("leased", 1)


def test_the_reason_of_an_exception_reaches_the_dead_letter(shop):
    bus, _, consumer = shop
    for _ in range(2):
        with pytest.raises(KeyError), bus.consumer("other", "orders", max_attempts=2, backoff=[0.001]) as other:
            delivery = next(d for d in other if d.offset == 0 or d.ack())
            with delivery:
                raise KeyError("carrier")
    with bus.reader("other.dlq", "beginning") as letters:
        letter = letters.next(timeout=10).dead_letter
    assert (letter.offset, letter.error_class, letter.reason) == (0, "KeyError", "'carrier'")


def test_a_dropped_delivery_counts_as_failed(shop):
    _, _, consumer = shop
    dropped = consumer.next(timeout=10)
    view = dropped.payload
    assert dropped.attempt == 1
    del dropped
    gc.collect()
    rest = [consumer.next(timeout=10) for _ in range(4)]
    assert [d.offset for d in rest] == [1, 2, 3, 4]  # the view holds the delivery
    del view
    back = consumer.next(timeout=10)
    assert (back.offset, back.attempt) == (0, 2)


def test_a_view_outlives_its_delivery_and_consumer(shop):
    _, _, consumer = shop
    delivery = consumer.next(timeout=10)
    view = delivery.payload
    consumer.close()
    with pytest.raises(penstock.Closed):
        delivery.ack()
    del delivery
    gc.collect()
    assert bytes(view) == b"\0"
    with pytest.raises(penstock.Closed):
        consumer.next(timeout=0)
    consumer.close()


def test_what_a_closed_member_held_goes_to_another(shop):
    bus, _, consumer = shop
    held = consumer.next(timeout=10)
    with bus.consumer("desk") as other:
        consumer.close()
        taken = [other.next(timeout=10) for _ in range(5)]  # kept: a delivery that is dropped comes again
        back = {d.offset: d.attempt for d in taken}
    assert back == {0: 2, 1: 1, 2: 1, 3: 1, 4: 1} and not held.settled


def test_a_redriven_letter_shows_its_history(shop):
    bus, _, consumer = shop
    consumer.next(timeout=10).reject(error_class="parse", reason="bad")
    until(lambda: bus.dead_letters("desk"), "the daemon to move the letter")
    ((event, letter),) = bus.dead_letters("desk")
    assert (bytes(event.payload), letter.reason, letter.redrives) == (b"\0", "bad", 0)
    assert bus.dead_letters("desk", most=0) == []
    bus.redrive("desk", event.offset)
    back = next(d for d in consumer if d.redriven or d.ack())
    assert (back.topic, back.offset, back.attempt) == ("orders", 0, 1)
    assert (back.redriven.reason, back.redriven.redrives) == ("bad", 1)
    back.ack()
    assert bus.dead_letters("desk") == []


def test_iterating_gives_one_delivery_after_another(shop):
    _, producer, consumer = shop
    seen = []
    for delivery in consumer:
        with delivery:
            seen.append(delivery.offset)
        if len(seen) == 5:
            break
    assert seen == [0, 1, 2, 3, 4] and consumer.next(timeout=0) is None
    assert consumer.wait(timeout=0) is False
    producer.publish(b"more")
    assert consumer.wait() is True and consumer.next(timeout=0).offset == 5


def test_a_durable_publish_is_awaited(shop):
    bus, producer, _ = shop
    producer.await_durable(4, timeout=30)
    assert bus.describe_topic("orders").durable_offset == 5
    with pytest.raises(penstock.TimedOut):
        producer.await_durable(1000, timeout=0)


def test_the_daemon_is_one_and_ends_with_its_block(bus):
    said = []
    with penstock.Daemon(bus, force_pwrite=True, log=lambda level, text: said.append((level, text))) as daemon:
        assert daemon.backend == "pwrite" and bus.describe().backend == "pwrite"
        with pytest.raises(penstock.Busy):
            penstock.Daemon(bus)
    assert bus.describe().daemon_pid is None
    daemon.stop()
    with pytest.raises(penstock.Closed):
        daemon.backend
    assert all(level in (0, 1, 2) and text for level, text in said)


def test_a_log_function_may_raise_but_not_stop_its_daemon(bus):
    with penstock.Daemon(bus), bus.producer("orders") as producer:
        producer.await_durable(producer.publish(b"x"), timeout=30)
    (segment,) = pathlib.Path(bus.directory, "topics", "orders").glob("*.seg")
    segment.write_bytes(b"nothing that a daemon wrote")
    started, told, daemons, refused = threading.Event(), threading.Event(), [], []

    def log(level, text):
        assert started.wait(60)
        try:
            daemons[0].stop()
        except RuntimeError as raised:
            refused.append(str(raised))
        told.set()
        raise ValueError(text)

    with mock.patch("sys.unraisablehook") as unraisable, penstock.Daemon(bus, log=log) as daemon:
        daemons.append(daemon)
        started.set()
        assert told.wait(60)
        until(lambda: unraisable.called, "what the log function raised to be told")
        assert daemon.backend
    assert "cannot stop it" in refused[0]


def test_a_bus_is_described_and_changed(bus):
    bus.create_topic("ticks", durability="memory", ring_bytes=65536, full="drop_oldest", single_producer=True)
    bus.create_topic("orders", retention_time=3600)
    assert bus.topics() == ["orders", "ticks"]
    options = bus.describe_topic("ticks").options
    assert (options.durability, options.full, options.single_producer) == ("memory", "drop_oldest", True)
    bus.set_retention("orders", bytes=1 << 20)
    kept = bus.describe_topic("orders").options
    assert (kept.retention_bytes, kept.retention_time) == (1 << 20, 0)
    assert not kept.retain_unacked
    bus.set_retain_unacked("orders", True)
    assert bus.describe_topic("orders").options.retain_unacked
    assert bus.describe_topic("orders").retention_waits_for is None
    bus.create_topic("kept", retain_unacked=True)
    assert bus.describe_topic("kept").options.retain_unacked
    bus.delete_topic("kept")
    with bus.consumer("desk", ["orders", "tick*"][:1], max_attempts=7, backoff=[0.5, 2], start="end"):
        group = bus.describe_group("desk")
        assert (group.patterns, group.options.max_attempts, group.options.backoff) == (["orders"], 7, [0.5, 2.0])
        assert group.members == 1 and bus.groups() == ["desk"]
    bus.set_group("desk", max_attempts=3)
    bus.pause_group("desk")
    assert bus.describe_group("desk").options.max_attempts == 3 and bus.describe_group("desk").paused
    bus.pause_group("desk", False)
    bus.seek_group("desk", "beginning")
    bus.delete_group("desk")
    bus.delete_topic("ticks")
    assert (bus.groups(), bus.topics()) == ([], ["orders"])
    assert "orders" in repr(bus.describe_topic("orders")) and bus.describe().topics == 1
    assert "[topics]" in penstock.Bus.settings(bus.directory)


def test_the_keys_that_hold_others_up_are_shown(bus):
    with bus.producer("orders") as producer, bus.consumer("desk", "orders", ordering="key") as consumer:
        for key in ("order-17", "order-17", "order-17", "order-18"):
            producer.publish(b"x", key=key)
        first, other = consumer.next(timeout=10), consumer.next(timeout=10)  # the two between are behind the first
        other.nak(reason="odd", delay=3600)
        keys = bus.group_keys("desk")
        assert [(k.key, k.offset, k.state, k.attempt, k.behind) for k in keys] == [
            ("order-17", 0, "leased", 1, 2), ("order-18", 3, "retrying", 2, 0)]
        assert keys[0].topic == "orders" and abs(keys[0].since - first.time) < timedelta(minutes=5)
        assert bus.group_topics("desk")[0].queued == 2
        first.ack()
    with pytest.raises(penstock.NotFound):
        bus.group_keys("nobody")


def test_a_duration_without_end_is_for_ever(bus):
    with bus.producer("orders", wait="yield") as producer, bus.consumer("desk", "orders") as consumer:
        producer.publish(b"x", ttl=float("inf"))
        delivery = consumer.next(timeout=10)
        assert delivery.expires_at > delivery.time
        delivery.extend(float("inf"))
        delivery.nak(delay=float("inf"))
        assert consumer.next(timeout=0) is None
        (pending,) = bus.group_pending("desk")
        assert (pending.state, pending.due > delivery.time) == ("waiting", True)


def test_a_topic_that_refuses_duplicates_tells_of_the_first(bus):
    bus.create_topic("once", publish_dedupe=16)
    with bus.producer("once") as producer:
        assert [(producer.publish(b"x", id="pay-1"), producer.last_duplicate) for _ in range(2)] == [(0, False), (0, True)]
        with pytest.raises(penstock.Duplicate):
            producer.publish_batch([(b"x", {"id": "pay-1"})])
