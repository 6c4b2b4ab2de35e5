"""Events as Python sees them: what was published comes back, and no view ever dangles."""

import gc
from datetime import datetime, timedelta, timezone

import pytest

import penstock


def read(bus, topic, count):
    with bus.reader(topic, start="beginning") as reader:
        return [reader.next(timeout=10) for _ in range(count)]


def test_everything_given_at_publish_comes_back(bus):
    later = datetime(2040, 1, 2, 3, 4, 5, 678901, tzinfo=timezone.utc)
    before = datetime.now(timezone.utc)
    with bus.producer("orders", precise_clock=True) as producer:
        offset = producer.publish(
            b"paid", key="order-17", id="pay-91", headers={"currency": "EUR", "n": "1"}, content_type="text/plain",
            schema="payment/1", deliver_at=later, ttl=timedelta(hours=1))
        identity = producer.last_id()
    (event,) = read(bus, "orders", 1)
    assert (event.topic, event.offset, bytes(event.payload)) == ("orders", offset, b"paid")
    assert (event.key, event.id_text, event.id) == ("order-17", "pay-91", identity)
    assert event.headers == {"currency": "EUR", "n": "1"}
    assert (event.content_type, event.schema) == ("text/plain", "payment/1")
    assert event.deliver_at == later
    assert event.expires_at - event.time == timedelta(hours=1)
    assert before - timedelta(microseconds=1) <= event.time <= datetime.now(timezone.utc)
    assert event.time == datetime.fromtimestamp(0, timezone.utc) + timedelta(microseconds=event.time_ns // 1000)
    assert event.dead_letter is None


def test_what_was_not_given_is_none(bus):
    with bus.producer("orders") as producer:
        producer.publish(b"")
        producer.publish(b"x", key="")
    bare, empty_key = read(bus, "orders", 2)
    assert (bare.key, bare.id_text, bare.headers, bare.content_type, bare.expires_at) == (None, None, {}, None, None)
    assert len(bare.payload) == 0 and len(bare.id) == 32
    assert empty_key.key == ""


def test_text_that_is_no_utf8_survives(bus):
    with bus.producer("orders") as producer:
        producer.publish(b"x", key=b"\xff\x00k", id="ü", headers={"h": b"\xfe"})
    (event,) = read(bus, "orders", 1)
    assert event.key.encode("utf-8", "surrogateescape") == b"\xff\x00k"
    assert event.id_text == "ü"
    with bus.producer("orders") as producer:
        producer.publish(b"x", key=event.key, headers=event.headers)
    assert [again.key for again in read(bus, "orders", 2)] == [event.key, event.key]


@pytest.mark.parametrize("payload", [b"abc", bytearray(b"abc"), memoryview(b"xabcx")[1:4]])
def test_a_payload_is_anything_with_bytes(bus, payload):
    with bus.producer("orders") as producer:
        producer.publish(payload)
    assert bytes(read(bus, "orders", 1)[0].payload) == b"abc"


@pytest.mark.parametrize("payload", ["text", 7, None, memoryview(b"abcd")[::2]])
def test_other_payloads_are_refused(bus, payload):
    with bus.producer("orders") as producer, pytest.raises((TypeError, BufferError)):
        producer.publish(payload)
    assert bus.describe_topic("orders").next_offset == 0


def test_a_view_is_read_only_and_outlives_event_reader_and_bus(directory):
    bus = penstock.Bus(directory)
    producer = bus.producer("orders")
    producer.publish(bytes(range(256)) * 64)
    reader = bus.reader("orders", start="beginning")
    event = reader.next(timeout=10)
    view = event.payload
    part = event.payload[256:512]
    assert view.readonly and view.nbytes == 16384 and view.format == "B"
    with pytest.raises(TypeError):
        view[0] = 1
    for handle in (producer, reader, bus):
        handle.close()
    del event, reader, producer, bus
    gc.collect()
    assert bytes(part) == bytes(range(256)) and bytes(view) == bytes(range(256)) * 64


def test_polled_events_outlive_the_ring_they_were_read_from(memory_bus):
    with memory_bus.producer("ticks") as producer, memory_bus.reader("ticks", start="beginning") as reader:
        producer.publish(b"first" * 100)
        (first,) = reader.poll()
        view = first.payload
        for number in range(1000):  # several times around the ring
            producer.publish(number.to_bytes(4, "little") * 100)
            event = reader.next(timeout=10)
            assert bytes(event.payload[:4]) == number.to_bytes(4, "little") and event.offset == number + 1
        assert bytes(view) == b"first" * 100
        assert reader.poll() == []


def test_a_batch_is_published_whole_or_not_at_all(memory_bus):
    with memory_bus.producer("ticks") as producer, memory_bus.reader("ticks", start="beginning") as reader:
        assert producer.publish_batch([b"a", (b"b", {"key": "k"}), bytearray(b"c")]) == range(0, 3)
        assert [(bytes(e.payload), e.key) for e in reader.poll()] == [(b"a", None), (b"b", "k"), (b"c", None)]
        with pytest.raises(penstock.TooLarge):
            producer.publish_batch([b"x", b"y" * 60000])
        with pytest.raises(TypeError):
            producer.publish_batch([b"x", "text"])
        assert reader.poll() == [] and memory_bus.describe_topic("ticks").next_offset == 3


def test_a_claim_is_written_in_place(memory_bus):
    with memory_bus.producer("ticks") as producer, memory_bus.reader("ticks", start="beginning") as reader:
        with producer.claim(5, key="k") as claim:
            claim.payload[:] = b"hello"
            assert reader.poll() == []
            assert claim.commit() == claim.offset == 0
        with pytest.raises(penstock.Closed):
            claim.commit()
        with pytest.raises(ZeroDivisionError), producer.claim(3) as aborted:
            1 / 0
        assert aborted.settled
        producer.publish(b"after")
        assert [(e.offset, bytes(e.payload), e.key) for e in reader.poll()] == [(0, b"hello", "k"), (2, b"after", None)]


def test_no_view_of_a_claim_can_write_to_a_settled_event(memory_bus):
    with memory_bus.producer("ticks") as producer, memory_bus.reader("ticks", start="beginning") as reader:
        claim = producer.claim(4)
        view = claim.payload
        view[:] = b"good"
        part = view[1:]
        with pytest.raises(BufferError):
            claim.commit()
        with pytest.raises(BufferError):
            producer.close()
        part.release()
        claim.commit()
        with pytest.raises(ValueError):
            view[0] = 0
        with pytest.raises(penstock.Closed):
            claim.payload
        assert bytes(reader.poll()[0].payload) == b"good"


def test_a_forgotten_claim_is_aborted_when_its_last_view_goes(memory_bus):
    with memory_bus.producer("ticks") as producer, memory_bus.reader("ticks", start="beginning") as reader:
        view = producer.claim(4).payload
        producer.publish(b"after")
        view[:] = b"lost"
        assert reader.poll() == []
        del view
        assert [e.offset for e in reader.poll()] == [1]


def test_closing_a_producer_aborts_its_claims(memory_bus):
    producer = memory_bus.producer("ticks")
    claim = producer.claim(4)
    producer.close()
    assert claim.settled and producer.closed
    with memory_bus.producer("ticks") as another, memory_bus.reader("ticks", start="beginning") as reader:
        another.publish(b"after")
        assert [e.offset for e in reader.poll()] == [1]


def test_a_reader_starts_where_it_is_told(bus):
    with bus.producer("orders") as producer:
        producer.publish_batch([bytes([i]) for i in range(10)])

    def offsets(start):
        with bus.reader("orders", start) as reader:
            return [event.offset for event in reader.poll()]

    assert offsets("beginning") == list(range(10))
    assert offsets("end") == []
    assert offsets(7) == offsets(penstock.StartAt.offset(7)) == [7, 8, 9]
    assert offsets(penstock.StartAt.last(2)) == [8, 9]
    assert offsets(datetime(2020, 1, 1, tzinfo=timezone.utc)) == list(range(10))
    assert offsets(datetime.now(timezone.utc) + timedelta(hours=1)) == []


def test_a_reader_of_patterns_tells_topics_and_places(bus):
    with bus.producer("a.one") as one, bus.producer("b") as two, bus.reader(["a.*", "b"], "beginning") as reader:
        one.publish(b"1")
        two.publish(b"2")
        assert {reader.next(timeout=10).topic for _ in range(2)} == {"a.one", "b"}
        assert reader.places() == {"a.one": 1, "b": 1} and reader.missed == 0 and reader.damaged == 0
