"""What the tests of the Python package share: a bus of their own, threads and processes that cannot hang them."""

import faulthandler
import os
import subprocess
import sys
import threading
import time

import pytest

import penstock

DEADLINE = 60  # seconds: a hang, not a slow machine


@pytest.fixture(autouse=True)
def no_hang():
    faulthandler.dump_traceback_later(2 * DEADLINE, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


@pytest.fixture
def directory(tmp_path):
    path = str(tmp_path / "bus")
    yield path
    if os.path.exists(path):
        penstock.Bus.remove(path)


@pytest.fixture
def bus(directory):
    with penstock.Bus(directory) as opened:
        yield opened


@pytest.fixture
def memory_bus(bus):
    """With a topic `ticks` that lives in memory only, in the smallest ring."""
    bus.create_topic("ticks", durability="memory", ring_bytes=65536)
    return bus


def until(condition, what):
    """Waits for a condition that another thread or process brings about."""
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end, f"waited for: {what}"
        time.sleep(0.002)


class Running(threading.Thread):
    """A call in a thread of its own; result() is what it came to."""

    def __init__(self, call, *arguments, **options):
        super().__init__(daemon=True)
        self._call = lambda: call(*arguments, **options)
        self._value = self._raised = None
        self.start()

    def run(self):
        try:
            self._value = self._call()
        except BaseException as raised:
            self._raised = raised

    def sleeps(self):
        return asleep(os.getpid(), self.native_id)

    def result(self):
        self.join(DEADLINE)
        assert not self.is_alive(), "the thread hangs"
        if self._raised:
            raise self._raised
        return self._value


def asleep(pid, tid):
    """Is this thread waiting in the kernel?"""
    with open(f"/proc/{pid}/task/{tid}/stat") as stat:
        return stat.read().rpartition(")")[2].split()[0] == "S"


class Script:
    """A Python program as a process; it prints `ready` before the call that is to be watched."""

    def __init__(self, text, *arguments):
        self.process = subprocess.Popen(
            [sys.executable, "-c", text, *arguments],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ)
        assert self.process.stdout.readline() == "ready\n", self.process.communicate()[1]

    def until_asleep(self):
        until(lambda: asleep(self.process.pid, self.process.pid), "the program to wait")

    def end(self):
        out, err = self.process.communicate(timeout=DEADLINE)
        return self.process.returncode, out, err


def in_child(call):
    """What a call came to in a forked child: its return value or its exception, as text."""
    readable, writable = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            said = str(call())
        except BaseException as raised:
            said = type(raised).__name__
        os.write(writable, said.encode())
        os._exit(0)
    os.close(writable)
    with os.fdopen(readable) as pipe:
        said = pipe.read()
    _, status = os.waitpid(pid, 0)
    return said if status == 0 else f"{said} and status {status}"
