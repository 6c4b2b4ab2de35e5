"""Penstock: events between the processes of one Linux host, through shared memory.

    with penstock.Bus("/var/lib/shop") as bus, bus.consumer("fulfillment", ["payment.*"]) as consumer:
        for delivery in consumer:
            with delivery:
                ship(delivery.payload)

Handles are made by a Bus, closed by `with` or close(), and may be shared by threads, which then take turns. A forked
child opens its own. What fails raises a class below Error.
"""

from penstock import _asyncio, _penstock
from penstock._penstock import *  # noqa: F401,F403
from penstock._penstock import __version__  # noqa: F401

__all__ = sorted(name for name in vars(_penstock) if not name.startswith("_"))

for _name in __all__:  # what people see is the package, not how it is split
    getattr(_penstock, _name).__module__ = "penstock"
_asyncio.install()
