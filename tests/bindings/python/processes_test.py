"""Signals and forks: Ctrl-C ends any wait, and a child never acts in its parent's name."""

import os
import signal
import subprocess
import sys

import pytest

import penstock
from conftest import DEADLINE, Script, in_child

WAITS = {
    "next": "bus.consumer('desk', 'orders').next()",
    "next with a timeout": "bus.consumer('desk', 'orders').next(timeout=3600)",
    "reader": "next(bus.reader('orders'))",
    "wait": "bus.reader('orders').wait()",
    "await_durable": "producer = bus.producer('orders'); producer.await_durable(producer.publish(b'x'), timeout=3600)",
    "publish": "bus.create_topic('ticks', durability='memory', ring_bytes=65536)\n"
               "reader = bus.reader('ticks', 'beginning'); producer = bus.producer('ticks', block=3600)\n"
               "while True: producer.publish(b'x' * 8000)",
    "asyncio": "import asyncio; asyncio.run(bus.consumer('desk', 'orders').next_async())",
}


@pytest.mark.parametrize("wait", WAITS)
def test_ctrl_c_ends_a_wait(directory, wait):
    script = Script("import penstock, sys\nbus = penstock.Bus(sys.argv[1])\nprint('ready', flush=True)\n" + WAITS[wait],
                    directory)
    script.until_asleep()
    script.process.send_signal(signal.SIGINT)
    code, _, err = script.end()
    assert code == -signal.SIGINT and "KeyboardInterrupt" in err, err


def test_a_signal_handler_may_interrupt_and_a_harmless_one_does_not(directory):
    script = Script(
        "import penstock, signal, sys\n"
        "bus = penstock.Bus(sys.argv[1]); consumer = bus.consumer('desk', 'orders')\n"
        "signal.signal(signal.SIGUSR1, lambda *_: print('seen', flush=True))\n"
        "signal.signal(signal.SIGTERM, lambda *_: consumer.interrupt())\n"
        "print('ready', flush=True)\n"
        "try: consumer.next()\n"
        "except penstock.Interrupted: print('interrupted')\n", directory)
    script.until_asleep()
    script.process.send_signal(signal.SIGUSR1)
    assert script.process.stdout.readline() == "seen\n"
    script.process.send_signal(signal.SIGTERM)
    assert script.end() == (0, "interrupted\n", "")


def test_a_child_is_refused_every_handle(bus):
    with penstock.Daemon(bus) as daemon, bus.producer("orders") as producer, bus.reader("orders", 0) as reader, \
            bus.consumer("desk", "orders") as consumer:
        producer.publish(b"first")
        delivery = consumer.next(timeout=10)
        claim = producer.claim(4)
        uses = {
            "publish": lambda: producer.publish(b"x"), "batch": lambda: producer.publish_batch([b"x"]),
            "claim": lambda: producer.claim(1), "await_durable": lambda: producer.await_durable(0),
            "last_id": producer.last_id, "topic": lambda: producer.topic, "payload": lambda: claim.payload, "commit": claim.commit, "abort": claim.abort,
            "next": lambda: consumer.next(timeout=0), "wait": lambda: consumer.wait(timeout=0),
            "interrupt": consumer.interrupt, "ack": delivery.ack, "nak": delivery.nak, "release": delivery.release,
            "extend": lambda: delivery.extend(1), "read": lambda: reader.next(timeout=0), "poll": reader.poll,
            "fileno": consumer.fileno, "reader's fileno": reader.fileno, "last_duplicate": lambda: producer.last_duplicate,
            "group_keys": lambda: bus.group_keys("desk"), "places": reader.places, "topics": bus.topics, "producer": lambda: bus.producer("orders"),
            "describe": bus.describe, "stop": daemon.stop, "backend": lambda: daemon.backend,
            "close producer": producer.close, "close consumer": consumer.close, "close reader": reader.close,
            "close bus": bus.close,
        }
        assert {name: in_child(use) for name, use in uses.items()} == dict.fromkeys(uses, "Forked")
        assert in_child(lambda: bytes(delivery.payload)) == "b'first'"  # its own bytes are the child's too
        # The parent goes on undisturbed.
        assert producer.publish(b"second") == 2 and reader.next(timeout=10).offset == 0
        delivery.ack()
        claim.abort()
        assert consumer.next(timeout=10).offset == 2


def test_a_child_opens_its_own(directory, bus):
    def publish_and_read():
        with penstock.Bus(directory) as own, own.producer("orders") as producer, own.reader("orders", 0) as reader:
            producer.publish(b"from the child")
            return bytes(reader.next(timeout=10).payload).decode()

    with bus.reader("orders") as reader:
        assert in_child(publish_and_read) == "from the child"
        assert bytes(reader.next(timeout=10).payload) == b"from the child"


def test_a_child_that_drops_everything_settles_nothing(bus):
    with bus.producer("orders") as producer, bus.consumer("desk", "orders", backoff=[0.001]) as consumer:
        producer.publish_batch([b"a", b"b"])
        held = [consumer, consumer.next(timeout=10), producer, producer.claim(4), bus.reader("orders"), bus]
        assert in_child(held.clear) == "None"
        (where,) = bus.group_topics("desk")
        assert (where.in_flight, where.retrying) == (1, 0)
        held[1].ack()
        assert consumer.next(timeout=10).attempt == 1


def test_an_interpreter_that_ends_in_a_child_and_one_with_a_daemon_end_well(directory):
    text = (
        "import os, penstock, sys\n"
        "bus = penstock.Bus(sys.argv[1])\n"
        "daemon = penstock.Daemon(bus, log=lambda level, text: None)\n"
        "producer = bus.producer('orders'); offset = producer.publish(b'x')\n"
        "consumer = bus.consumer('desk', 'orders'); delivery = consumer.next(timeout=30)\n"
        "pid = os.fork()\n"
        "if pid: assert os.waitpid(pid, 0)[1] == 0; delivery.ack()\n")
    done = subprocess.run([sys.executable, "-c", text, directory], capture_output=True, text=True, timeout=DEADLINE,
                          env=os.environ)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    with penstock.Bus(directory) as bus:
        assert bus.describe().daemon_pid is None and bus.describe_topic("orders").durable_offset == 1
        (where,) = bus.group_topics("desk")
        assert (where.acked, where.lag) == (1, 0)
