"""asyncio: waiting for events blocks no loop, takes nothing when it is cancelled, and ends."""

import asyncio
import os
import selectors
import threading
from datetime import timedelta

import pytest

import penstock
from conftest import DEADLINE, Running


def run(coroutine):
    return asyncio.run(asyncio.wait_for(coroutine, DEADLINE))


def test_async_for_gives_every_event(bus):
    async def publish(producer):
        for number in range(200):
            producer.publish(b"%d" % number)
            await asyncio.sleep(0)

    async def follow(handle, settle):
        seen = []
        async with handle:
            async for event in handle:
                seen.append(int(bytes(event.payload)))
                settle(event)
                if len(seen) == 200:
                    return seen

    async def main():
        with bus.producer("orders") as producer:
            consumer, reader = bus.consumer("desk", "orders"), bus.reader("orders")
            _, consumed, read = await asyncio.gather(
                publish(producer), follow(consumer, lambda d: d.ack()), follow(reader, lambda e: None))
            assert consumed == read == list(range(200)) and consumer.closed and reader.closed

    run(main())
    assert bus.group_topics("desk")[0].lag == 0


def test_next_async_ends_with_its_timeout(bus):
    async def main():
        with bus.consumer("desk", "orders") as consumer:
            assert await consumer.next_async(timeout=0) is None
            assert await consumer.next_async(timeout=timedelta(milliseconds=20)) is None
            with pytest.raises(ValueError):
                await consumer.next_async(timeout=-1)

    run(main())


def test_deliveries_are_settled_while_the_loop_waits_for_more(bus):
    async def main():
        with bus.producer("orders") as producer, bus.consumer("desk", "orders") as consumer:
            producer.publish_batch([b"x"] * 20)
            gate = asyncio.Event()

            async def handle(delivery):
                await gate.wait()
                delivery.ack()

            async def take():
                async with asyncio.TaskGroup() as tasks:
                    for _ in range(20):
                        tasks.create_task(handle(await anext(consumer)))
                    waiting = tasks.create_task(consumer.next_async())
                    await asyncio.sleep(0)
                    gate.set()
                    while not consumer.settled_through({"orders": 20}):
                        await asyncio.sleep(0)
                    assert not waiting.done()
                    producer.publish(b"last")
                    (await waiting).ack()

            await take()

    run(main())
    assert bus.group_topics("desk")[0].acked == 21


def test_a_cancelled_wait_loses_nothing(bus):
    async def main():
        with bus.producer("orders") as producer, bus.consumer("desk", "orders") as consumer:
            for number in range(20):
                waiting = asyncio.create_task(consumer.next_async())
                await asyncio.sleep(0)
                waiting.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await waiting
                producer.publish(b"%d" % number)
                delivery = await consumer.next_async(timeout=30)
                assert (delivery.offset, delivery.attempt) == (number, 1)
                delivery.ack()

    run(main())


def test_many_wait_in_one_loop(bus):
    async def main():
        readers = [bus.reader(f"topic.{i}") for i in range(40)]
        producers = [bus.producer(f"topic.{i}") for i in range(40)]
        waits = [asyncio.create_task(reader.next_async()) for reader in readers]
        await asyncio.sleep(0)
        for i in reversed(range(40)):
            producers[i].publish(b"%d" % i)
            assert bytes((await waits[i]).payload) == b"%d" % i
        for handle in readers + producers:
            handle.close()

    run(main())


def test_tasks_that_share_a_consumer_get_an_event_each(bus):
    async def main():
        with bus.producer("orders") as producer, bus.consumer("desk", "orders") as consumer:
            waits = [asyncio.create_task(consumer.next_async()) for _ in range(5)]
            await asyncio.sleep(0)
            producer.publish_batch([b"x"] * 5)
            assert sorted(d.offset for d in await asyncio.gather(*waits)) == [0, 1, 2, 3, 4]

    run(main())


def test_closing_and_interrupting_end_a_wait(bus):
    async def main():
        consumer, reader = bus.consumer("desk", "orders"), bus.reader("orders")
        waits = [asyncio.create_task(handle.next_async()) for handle in (consumer, reader)]
        await asyncio.sleep(0)
        consumer.close()
        reader.interrupt()
        ended = await asyncio.gather(*waits, return_exceptions=True)
        assert [type(each) for each in ended] == [penstock.Closed, penstock.Interrupted]
        reader.close()

    run(main())


def test_waits_for_events_leave_the_executor_to_the_program(bus):
    async def main():
        readers = [bus.reader(f"topic.{i}") for i in range(40)]
        waits = [asyncio.create_task(reader.next_async()) for reader in readers]
        while any(not penstock._asyncio._news.get(reader) for reader in readers):
            await asyncio.sleep(0)
        threads = {thread.name for thread in threading.enumerate()}
        assert len(threads) == 1, threads
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)
        before = len(os.listdir("/proc/self/fd"))
        for reader in readers:  # again and again: no descriptor stays
            assert await reader.next_async(timeout=0.001) is None
        assert len(os.listdir("/proc/self/fd")) == before
        for reader in readers:
            reader.close()

    run(main())


def test_another_thread_closes_or_interrupts_what_a_task_waits_for(bus):
    async def main():
        for end, raised in (("close", penstock.Closed), ("interrupt", penstock.Interrupted)):
            for _ in range(50):
                consumer = bus.consumer("desk", "orders")
                waiting = asyncio.create_task(consumer.next_async())
                await asyncio.sleep(0)
                thread = Running(getattr(consumer, end))
                with pytest.raises(raised):
                    await waiting
                thread.result()
                consumer.close()

    run(main())


def test_a_selector_takes_a_handle(bus):
    with bus.producer("orders") as producer, bus.consumer("desk", "orders") as consumer, \
            bus.reader("orders") as reader, selectors.DefaultSelector() as selector:
        for handle in (consumer, reader):
            selector.register(handle, selectors.EVENT_READ)
            while handle.next(timeout=0) is not None:
                pass
        producer.publish(b"news")
        seen = {}
        while len(seen) < 2:
            for key, _ in selector.select(timeout=DEADLINE):
                if (event := key.fileobj.next(timeout=0)) is not None:
                    seen[type(key.fileobj)] = bytes(event.payload)
        assert seen == {penstock.Consumer: b"news", penstock.Reader: b"news"}
        closed = bus.reader("orders")
    closed.close()
    with pytest.raises(penstock.Closed):
        closed.fileno()


def test_the_disk_is_awaited_without_blocking_the_loop(bus):
    async def main():
        async with bus.producer("orders") as producer, bus.consumer("desk", "orders") as consumer:
            offset = producer.publish(b"paid")
            (await consumer.next_async(timeout=10)).ack()
            for early in (producer.await_durable_async(offset, timeout=0.001), consumer.await_settled_async(timeout=0)):
                with pytest.raises(penstock.NoDaemon):
                    await early
            waits = [asyncio.create_task(producer.await_durable_async(offset)),
                     asyncio.create_task(consumer.await_settled_async())]
            await asyncio.sleep(0)
            with penstock.Daemon(bus):
                await asyncio.gather(*waits)
            never = asyncio.create_task(producer.await_durable_async(1000))
            await asyncio.sleep(0)
            never.cancel()
            with pytest.raises(asyncio.CancelledError):
                await never
        with pytest.raises(penstock.Closed):
            await producer.await_durable_async(offset)

    run(main())
