"""One pool of connections for all endpoints of an event loop.

Target and judge are often one server: with a pool each, a run would open twice the connections that it makes
calls on at once.
"""

import asyncio
from typing import Final
from weakref import WeakKeyDictionary

import aiohttp

_POOLS: Final[WeakKeyDictionary[asyncio.AbstractEventLoop, "_Pool"]] = WeakKeyDictionary()


class _Pool:
    def __init__(self) -> None:
        # How many calls are made at once is for `run.limits` to say.
        self.connector = aiohttp.TCPConnector(limit=0)
        self.users = 0


def join_pool() -> aiohttp.TCPConnector:
    """The pool of the running event loop. Each call must be followed by one of `leave_pool`."""
    loop = asyncio.get_running_loop()
    pool = _POOLS.get(loop)
    if pool is None:
        pool = _POOLS[loop] = _Pool()
    pool.users += 1
    return pool.connector


async def leave_pool() -> None:
    """Give back what `join_pool` gave; the last to leave closes the connections."""
    loop = asyncio.get_running_loop()
    pool = _POOLS[loop]
    pool.users -= 1
    if pool.users == 0:
        del _POOLS[loop]
        await pool.connector.close()
