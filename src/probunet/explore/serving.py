"""The server's connections: how long a head may take to come, and how many connections there may be."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from probunet.core.errors import InputError

HEAD_SECONDS = 10.0
HEAD_BYTES = 16 * 1024
CONNECTIONS = 512


class PatientForAMoment(H11Protocol):
    """HTTP/1.1 whose connection ends when no whole head of a request comes within ``HEAD_SECONDS``.

    The time runs from the connection, and again from every answer, whether or not single bytes come meanwhile: who
    sends slowly is cut off before a token is asked for. Beyond ``CONNECTIONS`` a new connection is closed at once.
    """

    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a head."""
        super().connection_made(transport)
        if len(self.connections) > CONNECTIONS:
            transport.abort()
        else:
            self._watch()

    def data_received(self, data: bytes) -> None:
        """Take bytes, and stop waiting when they complete a head."""
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        """Wait for the next head."""
        super().on_response_complete()
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._stop()
        super().connection_lost(exc)

    def _watch(self) -> None:
        answering = self.cycle is not None and not self.cycle.response_complete
        if answering or self.transport.is_closing():
            self._stop()
        elif self._timer is None:
            self._timer = self.loop.call_later(HEAD_SECONDS, self.transport.abort)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def server(app: FastAPI, **options: Any) -> uvicorn.Server:
    """A server with these limits; ``run(sockets=[...])`` serves."""
    config = uvicorn.Config(
        app,
        http=PatientForAMoment,
        ws="none",
        log_level="error",
        server_header=False,
        h11_max_incomplete_event_size=HEAD_BYTES,
        **options,
    )
    return uvicorn.Server(config)


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises:
        InputError: no such address, or a port that is taken or none.
    """
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=128)
    except (OSError, OverflowError) as error:
        raise InputError(f"cannot listen on {host}:{port} ({error}); choose another --port") from error
