"""The command ``probunet explore``."""

from __future__ import annotations

import socket
from pathlib import Path

import uvicorn

from probunet.core.console import console
from probunet.core.devices import chosen_device
from probunet.core.errors import InputError
from probunet.data.store import Split
from probunet.explore.app import make_app
from probunet.explore.cases import Cases, cases_of
from probunet.explore.engine import Engine
from probunet.explore.guard import LOOPBACK
from probunet.runs.exported import open_model

SHORTEST_TOKEN = 16


def explore(
    model: Path,
    data: Path | None = None,
    split: Split = "test",
    host: str = "127.0.0.1",
    port: int = 8777,
    token: str | None = None,
    device: str = "auto",
) -> None:
    """Look at the hypotheses of a trained model in the browser; nothing leaves this machine.

    Args:
        model: run directory of a trained model.
        data: store, folder of images, or one image (PNG, JPEG, TIFF, .npy, CT slice in DICOM); without it, drop
            images on the page.
        split: part of a store.
        host: address to listen on; one that other machines reach needs a token.
        port: to listen on, 0 for any free one.
        token: secret of at least 16 characters that a visitor must know.
        device: where the model runs: auto (a GPU, where there is one), cpu, cuda, cuda:N or mps

    Raises:
        InputError: no model, no images, a port that is taken, or an open host without a token.
    """
    loopback = host in LOOPBACK
    if not loopback and token is None:
        raise InputError(f"--host {host} lets other machines in; give --token with a secret of your own")
    if token is not None and (len(token) < SHORTEST_TOKEN or not token.isalnum() or not token.isascii()):
        raise InputError(f"the token must be at least {SHORTEST_TOKEN} letters and digits, got {len(token)} characters")
    engine, cases = Engine(open_model(model), chosen_device(device)), Cases(cases_of(data, split))
    app = make_app(engine, cases, LOOPBACK if loopback else None, token)
    with _listening(host, port) as listener:
        shown = f"[{host}]" if ":" in host else host
        address = f"http://{shown}:{listener.getsockname()[1]}/" + (f"?token={token}" if token else "")
        console.print(f"{len(cases.given)} cases at {address} (Ctrl-C ends)", markup=False, soft_wrap=True)
        uvicorn.Server(uvicorn.Config(app, log_level="warning", server_header=False)).run(sockets=[listener])


def _listening(host: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=128)
    except (OSError, OverflowError) as error:
        raise InputError(f"cannot listen on {host}:{port} ({error}); choose another --port") from error
