"""How much one client may ask for: wrong tokens by rate, computations side by side, uploads under way."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from itertools import count

from fastapi import HTTPException
from starlette.types import Scope

GUESSES, WINDOW = 10, 60.0
"""Wrong tokens that one address may show within so many seconds."""
CLIENTS = 10_000
"""Addresses that are remembered."""
COMPUTING, WAITING = 8, 64
"""Requests of one client that compute side by side, and that wait for those."""
UPLOADING, UPLOAD_SECONDS = 4, 60.0
"""Uploads under way at once, of all clients, and how long each may take."""


def client_of(scope: Scope) -> str:
    """The address that a request came from; of IPv6 the network, within which a client chooses freely."""
    host = (scope.get("client") or ("",))[0]
    return ":".join(host.split(":")[:4]) if host.count(":") > 1 and host != "::1" else host


class Guesses:
    """Counts wrong tokens by client."""

    def __init__(self) -> None:
        self._times: OrderedDict[str, deque[float]] = OrderedDict()

    def add(self, client: str) -> None:
        """Count one."""
        self._times.setdefault(client, deque(maxlen=GUESSES)).append(time.monotonic())
        self._times.move_to_end(client)
        while len(self._times) > CLIENTS:
            self._times.popitem(last=False)

    def exhausted(self, client: str) -> bool:
        """Whether this client has guessed too often of late."""
        times = self._times.get(client)
        return times is not None and len(times) == GUESSES and time.monotonic() - times[0] < WINDOW


class Load:
    """Bounds what clients have under way; a request beyond its client's share waits without holding a thread."""

    def __init__(self) -> None:
        self._computing: dict[str, asyncio.Semaphore] = {}
        self._asked: dict[str, int] = {}
        self._uploading = 0

    @asynccontextmanager
    async def computation(self, client: str) -> AsyncIterator[None]:
        """Hold one of the client's places.

        Raises:
            HTTPException: 429, too many of this client's requests wait already.
        """
        if self._asked.get(client, 0) >= COMPUTING + WAITING:
            raise HTTPException(429, "too many requests of yours wait already; let them end first")
        self._asked[client] = self._asked.get(client, 0) + 1
        try:
            async with self._computing.setdefault(client, asyncio.Semaphore(COMPUTING)):
                yield
        finally:
            self._asked[client] -= 1
            if not self._asked[client]:
                del self._asked[client], self._computing[client]

    @asynccontextmanager
    async def upload(self) -> AsyncIterator[None]:
        """Hold one of the places for uploads, for a bounded time.

        Raises:
            HTTPException: 503, all places are taken; 408, it took too long.
        """
        if self._uploading >= UPLOADING:
            raise HTTPException(503, "other uploads are under way; try again in a moment")
        self._uploading += 1
        try:
            async with asyncio.timeout(UPLOAD_SECONDS):
                yield
        except TimeoutError as error:
            raise HTTPException(408, f"the file did not come within {UPLOAD_SECONDS:g} s") from error
        finally:
            self._uploading -= 1


@dataclass(eq=False)
class _Asker:
    """A request for turns, and the seconds that it held them so far."""

    held: float = 0.0


_asker: ContextVar[_Asker | None] = ContextVar("asker", default=None)


class Turns:
    """A lock that short work gets between the steps of long work.

    It goes to whoever asked first, where every second that a request held it so far counts as if it had asked so much
    later. What has just come waits for the step that runs and no other, and nobody waits for ever.
    """

    def __init__(self) -> None:
        self._state = threading.Condition()
        self._waiting: list[tuple[float, int]] = []
        self._numbers = count()
        self._taken = False

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for the others before, then hold it."""
        asker = _asker.get() or _Asker()
        with self._state:
            mine = time.monotonic() + asker.held, next(self._numbers)
            self._waiting.append(mine)
            self._state.wait_for(lambda: not self._taken and min(self._waiting) == mine)
            self._waiting.remove(mine)
            self._taken, start = True, time.monotonic()
        try:
            yield
        finally:
            with self._state:
                self._taken = False
                asker.held += time.monotonic() - start
                self._state.notify_all()


def new_asker() -> None:
    """From here on, turns are of a new request, also those that are asked for in threads of its own."""
    _asker.set(_Asker())
