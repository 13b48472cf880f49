"""What the moderator knows about conversations that it has read, so that a new turn costs one turn.

Clients send a conversation whole each time. Its beginning is recognised by a chain of hashes, one for each
message, that starts from a secret of the tenant: tenants never share an entry, so timing tells nothing about
others. An entry holds the state of the reading and the verdict; no text is kept.
"""

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from safemt.core.schema import ImageRef, Message
from safemt.core.verdict import Verdict
from safemt.moderation.moderator import Session

ENTRY_BYTES: Final = 3_600
"""Memory of an entry for one turn, measured (`tests/serve/test_state.py` holds it)."""
TURN_BYTES: Final = 300
"""What each further turn adds to it: its risks, and its place in the verdict."""
UNSCANNED_BYTES: Final = 120
IDS_KEPT: Final = 50_000
"""Ids of responses and conversations that are remembered; each takes some 200 bytes."""

_SIZE: Final = 16


@dataclass(frozen=True, slots=True)
class State:
    """A conversation up to some message."""

    verdict: Verdict
    session: Session | None
    """To be forked, never continued; None for a moderator whose sessions cannot be forked."""
    conversation: str
    """Names the conversation by its first user message; means nothing outside this process."""

    @property
    def bytes(self) -> int:
        """Memory that the entry takes, roughly."""
        unscanned = len(self.verdict.coverage.unscanned)
        return ENTRY_BYTES + TURN_BYTES * len(self.verdict.turns) + UNSCANNED_BYTES * unscanned


def chain(start: bytes, messages: Sequence[Message]) -> list[bytes]:
    """A hash after each message: of the message and of the hash before it."""
    digests: list[bytes] = []
    for message in messages:
        digest = hashlib.blake2b(start, digest_size=_SIZE)
        digest.update(message.role.encode())
        for part in message.parts:
            if isinstance(part, str):
                data = part.encode("utf-8", "replace")
                digest.update(b"t%d:" % len(data))
                digest.update(data)
            elif isinstance(part, ImageRef):
                digest.update(b"i%s" % part.sha256.encode())
            else:
                digest.update(b"u%d:%s" % (len(part.kind), part.kind.encode()))
        start = digest.digest()
        digests.append(start)
    return digests


def chain_start(secret: bytes, identity: str) -> bytes:
    """Where the chains of one tenant and one moderator begin."""
    return hashlib.blake2b(identity.encode(), key=secret, digest_size=_SIZE).digest()


class States:
    """The entries of a gateway, the least recently used of which go when they take too much memory."""

    def __init__(self, limit: int, lifetime: float, clock: Callable[[], float] = time.monotonic) -> None:
        """`limit` in bytes, `lifetime` in seconds since the last use."""
        self.limit = limit
        self.bytes = 0
        self.hits = self.misses = self.evictions = 0
        self._lifetime = lifetime
        self._clock = clock
        self._entries: OrderedDict[bytes, tuple[State, float]] = OrderedDict()
        self._ids: OrderedDict[tuple[bytes, str], bytes] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def longest(self, digests: Sequence[bytes]) -> tuple[int, State | None]:
        """How many of the messages are known, and the state after them."""
        for known in range(len(digests), 0, -1):
            state = self.get(digests[known - 1])
            if state is not None:
                self.hits += 1
                return known, state
        self.misses += 1
        return 0, None

    def get(self, digest: bytes) -> State | None:
        """The state after the message with this hash."""
        found = self._entries.get(digest)
        if found is None:
            return None
        state, _ = found
        self._entries[digest] = (state, self._clock())
        self._entries.move_to_end(digest)
        return state

    def put(self, digest: bytes, state: State) -> None:
        """Keep a state, and let go of what is too old or too much."""
        now = self._clock()
        before = self._entries.pop(digest, None)
        if before is not None:
            self.bytes -= before[0].bytes
        self._entries[digest] = (state, now)
        self.bytes += state.bytes
        while self._entries:
            oldest, (kept, used) = next(iter(self._entries.items()))
            if self.bytes <= self.limit and now - used <= self._lifetime:
                return
            del self._entries[oldest]
            self.bytes -= kept.bytes
            self.evictions += 1

    def name(self, start: bytes, response: str, digest: bytes) -> None:
        """Remember under which id the upstream knows the conversation that ends at `digest`."""
        self._ids[start, response] = digest
        self._ids.move_to_end((start, response))
        if len(self._ids) > IDS_KEPT:
            self._ids.popitem(last=False)

    def named(self, start: bytes, response: str) -> bytes | None:
        """The hash at the end of the conversation that the upstream knows under an id."""
        return self._ids.get((start, response))
