"""What fails raises the class of its code, with a sentence that says what to do."""

import pickle

import pytest

import penstock


def classes():
    return {each for each in vars(penstock).values() if isinstance(each, type) and issubclass(each, penstock.Error)}


def test_each_code_has_one_class_below_the_base():
    below = classes() - {penstock.Error}
    assert {each.code for each in below} == set(penstock.Errc) and len(below) == len(penstock.Errc)
    assert all(each.__base__ is penstock.Error and each.__doc__ for each in below)


def test_an_error_carries_code_message_and_detail(bus):
    with pytest.raises(penstock.NotFound) as caught:
        bus.describe_topic("nobody")
    error = caught.value
    assert error.code is penstock.Errc.not_found and "nobody" in error.message and str(error) == error.message
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is penstock.NotFound and str(copy) == error.message and copy.detail == error.detail


@pytest.mark.parametrize("call, raised", [
    (lambda bus: bus.producer("no such", create=True), penstock.InvalidName),
    (lambda bus: bus.producer("missing", create=False), penstock.NotFound),
    (lambda bus: bus.reader([]), penstock.InvalidArgument),
    (lambda bus: bus.producer("t").publish(b"x" * (17 << 20)), penstock.TooLarge),
    (lambda bus: bus.producer("t").claim(1 << 40), penstock.TooLarge),
    (lambda bus: (bus.create_topic("t"), bus.create_topic("t")), penstock.AlreadyExists),
    (lambda bus: (bus.consumer("g", "t", dedupe=1).close(), bus.consumer("g", "t", dedupe=2)), penstock.OptionsDiffer),
    (lambda bus: bus.producer("t").await_durable(0, timeout=0), penstock.NoDaemon),
    (lambda bus: penstock.Bus(bus.directory + "/none", create=False), penstock.NotFound),
    (lambda bus: bus.producer("t", blok=1), TypeError),
    (lambda bus: bus.producer("t").publish(b"x", kye="k"), TypeError),
    (lambda bus: bus.producer("t").publish(b"x", key=7), TypeError),
    (lambda bus: bus.producer("t").publish(b"x", headers={"a\0b": "c"}), ValueError),
    (lambda bus: bus.create_topic("t", durability="paper"), ValueError),
    (lambda bus: bus.reader("t", start="middle"), ValueError),
    (lambda bus: bus.reader("t").next(timeout=-1), ValueError),
    (lambda bus: bus.reader("t").next(timeout=float("nan")), ValueError),
    (lambda bus: bus.reader("t").next(timeout="soon"), TypeError),
    (lambda bus: bus.consumer("g", max_attempts="two"), TypeError),
    (lambda bus: bus.consumer("g", max_attempts=-1), ValueError),
    (lambda bus: bus.consumer("g", 7), TypeError),
])
def test_mistakes_are_named(bus, call, raised):
    with pytest.raises(raised) as caught:
        call(bus)
    assert str(caught.value)


def test_a_full_ring_is_told_when_the_time_to_block_has_passed(memory_bus):
    with memory_bus.reader("ticks", "beginning"), memory_bus.producer("ticks", block=0.2) as producer:
        with pytest.raises(penstock.Full) as caught:
            for _ in range(100):
                producer.publish(b"x" * 8000)
        assert "held by" in caught.value.message


def test_a_topic_that_fails_when_full_does_so(bus):
    bus.create_topic("ticks", durability="memory", ring_bytes=65536, full="fail")
    with bus.reader("ticks", "beginning"), bus.producer("ticks", block=3600) as producer:
        with pytest.raises(penstock.Full):
            for _ in range(100):
                producer.publish(b"x" * 8000)


def test_a_durable_ring_that_nobody_writes_to_disk_names_the_daemon(bus):
    bus.create_topic("orders", ring_bytes=65536)
    with bus.producer("orders", block=0.3) as producer, pytest.raises(penstock.NoDaemon):
        for _ in range(100):
            producer.publish(b"x" * 8000)


def test_closed_handles_say_so(bus):
    producer, reader = bus.producer("t"), bus.reader("t")
    claim = producer.claim(1)
    for handle in (producer, reader, bus):
        handle.close()
        handle.close()
    for use in (lambda: producer.publish(b"x"), lambda: producer.topic, lambda: claim.commit(), reader.poll,
                lambda: reader.next(timeout=0), lambda: reader.missed, bus.topics, lambda: bus.producer("t")):
        with pytest.raises(penstock.Closed):
            use()


def test_a_single_producer_is_one(bus):
    bus.create_topic("ticks", durability="memory", single_producer=True)
    with bus.producer("ticks"), pytest.raises(penstock.Busy):
        bus.producer("ticks")
    bus.producer("ticks").close()
