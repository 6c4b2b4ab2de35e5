"""asyncio for handles: `async with`, `async for`, next_async(), and waits for the disk that block no loop."""

import asyncio
import contextlib
import functools
import os
import time
import weakref

from penstock import _penstock

_SLICE = 0.05  # how long a cancelled wait for the disk may still hold its thread


class _News:
    """The tasks of one event loop that wait for news of one handle.

    The loop watches a duplicate of the handle's descriptor, so that a handle may be closed by any thread while it does.
    """

    def __init__(self, loop, handle):
        self._loop = loop
        self._descriptor = os.dup(handle.fileno())
        self._waits = []
        loop.add_reader(self._descriptor, self.tell)

    def add(self):
        self._waits.append(self._loop.create_future())
        return self._waits[-1]

    def leave(self, wait):
        """The last one turns off the light."""
        if wait in self._waits:
            self._waits.remove(wait)
        if not self._waits:
            self._stop()

    def tell(self):
        """Whoever waits looks again."""
        for wait in self._waits:
            if not wait.done():
                wait.set_result(None)
        self._waits.clear()
        self._stop()

    def tell_from_anywhere(self):
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self.tell)

    @property
    def over(self):
        return self._descriptor is None

    def _stop(self):
        if self._descriptor is None:
            return
        descriptor, self._descriptor = self._descriptor, None
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.remove_reader(descriptor)
        os.close(descriptor)


_news = weakref.WeakKeyDictionary()  # by handle, and then by loop


@contextlib.contextmanager
def _listening(handle):
    loop = asyncio.get_running_loop()
    by_loop = _news.setdefault(handle, weakref.WeakKeyDictionary())
    news = by_loop.get(loop)
    if news is None or news.over:
        news = by_loop[loop] = _News(loop, handle)
    wait = news.add()
    try:
        yield wait
    finally:
        news.leave(wait)


def _tells_waiting_tasks(call):
    @functools.wraps(call)
    def told(handle):
        try:
            return call(handle)
        finally:
            for news in list(_news.get(handle, {}).values()):
                news.tell_from_anywhere()

    return told


async def next_async(handle, timeout=None):
    """As next(), without blocking the loop. A cancelled call takes nothing."""
    end = _end(timeout)
    while (found := handle.next(timeout=0)) is None:
        left = end - time.monotonic()
        if left <= 0:
            return None
        with _listening(handle) as wait:
            if (found := handle.next(timeout=0)) is not None:  # it came before we listened
                return found
            await asyncio.wait([wait], timeout=None if left == float("inf") else left)
    return found


async def _await_in_slices(call, timeout):
    """In a thread of the loop's executor, as the disk has no descriptor."""
    end = _end(timeout)
    while True:
        left = max(end - time.monotonic(), 0)
        try:
            return await asyncio.get_running_loop().run_in_executor(None, call, min(left, _SLICE))
        except (_penstock.TimedOut, _penstock.NoDaemon):
            if left <= _SLICE:
                raise


async def await_durable_async(producer, offset, timeout=None):
    """As await_durable(), without blocking the loop."""
    await _await_in_slices(functools.partial(producer.await_durable, offset), timeout)


async def await_settled_async(consumer, timeout=None):
    """As await_settled(), without blocking the loop."""
    await _await_in_slices(consumer.await_settled, timeout)


def _end(timeout):
    if timeout is None:
        return float("inf")
    seconds = timeout.total_seconds() if hasattr(timeout, "total_seconds") else timeout
    if not seconds >= 0:
        raise ValueError("a duration is a number of seconds, not below 0")
    return time.monotonic() + seconds


def _aiter(handle):
    return handle


async def _aenter(handle):
    return handle


async def _aexit(handle, *_):
    handle.close()


async def _anext(handle):
    return await next_async(handle)


def install():
    for each in (_penstock.Consumer, _penstock.Reader):
        each.next_async = next_async
        each.close = _tells_waiting_tasks(each.close)
        each.interrupt = _tells_waiting_tasks(each.interrupt)
        each.__aiter__ = _aiter
        each.__anext__ = _anext
    for each in (_penstock.Consumer, _penstock.Reader, _penstock.Producer):
        each.__aenter__ = _aenter
        each.__aexit__ = _aexit
    _penstock.Producer.await_durable_async = await_durable_async
    _penstock.Consumer.await_settled_async = await_settled_async
