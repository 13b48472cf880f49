"""One commit for all that happens in one turn of the event loop.

While little happens, a turn holds one result, and no result waits for another. The busier the loop, the more
results share a commit, and the less each of them costs.
"""

import asyncio

from safemt.core.errors import RunError
from safemt.run.store import Store


class Commits:
    """Commits what many tasks add to a store within `Store.grouped`."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: list[asyncio.Future[None]] = []
        """One for each task: a future that several await is cancelled with the first of them."""

    async def settled(self) -> None:
        """Return once all that was added before is on disk. Only then may anything be built on it.

        Raises:
            RunError: it could not be written; nothing that was added in this turn is stored.
        """
        loop = asyncio.get_running_loop()
        if not self._waiting:
            loop.call_soon(self._commit)
        committed = loop.create_future()
        self._waiting.append(committed)
        await committed

    def _commit(self) -> None:
        waiting, self._waiting = self._waiting, []
        failed: RunError | None = None
        try:
            self._store.commit()
        except RunError as error:
            failed = error
        for one in waiting:
            if one.done():
                continue
            if failed is None:
                one.set_result(None)
            else:
                one.set_exception(RunError(str(failed)))
