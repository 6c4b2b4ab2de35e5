"""asyncio for consumers and readers: `async with`, `async for` and next_async()."""

import asyncio
import time

_SLICE = 0.05  # how long a cancelled wait may still hold its thread


async def _may_have_something(handle, timeout):
    """Waits until next() may find something; False when the timeout passed.

    The one place that knows how: in a thread of the loop's executor, in slices, so that a cancelled task leaves none
    behind for long. The handle's turns let others use it meanwhile.
    """
    return await asyncio.get_running_loop().run_in_executor(None, handle.wait, min(timeout, _SLICE))


async def next_async(handle, timeout=None):
    """As next(), without blocking the loop. A cancelled call takes nothing."""
    deadline = float("inf") if timeout is None else time.monotonic() + _seconds(timeout)
    while (found := handle.next(timeout=0)) is None:
        left = deadline - time.monotonic()
        if left <= 0:
            return None
        await _may_have_something(handle, left)
    return found


def _seconds(timeout):
    seconds = timeout.total_seconds() if hasattr(timeout, "total_seconds") else timeout
    if not seconds >= 0:
        raise ValueError("a duration is a number of seconds, not below 0")
    return seconds


def _aiter(handle):
    return handle


async def _aenter(handle):
    return handle


async def _aexit(handle, *_):
    handle.close()


async def _anext(handle):
    return await next_async(handle)


def install(*classes):
    for each in classes:
        each.next_async = next_async
        each.__aiter__ = _aiter
        each.__anext__ = _anext
        each.__aenter__ = _aenter
        each.__aexit__ = _aexit
