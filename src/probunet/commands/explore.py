"""The command ``probunet explore``."""

from __future__ import annotations

import secrets
from pathlib import Path

from probunet.core.console import console
from probunet.core.descriptions import read_text
from probunet.core.devices import chosen_device
from probunet.core.errors import InputError
from probunet.data.manifest import Split, is_store
from probunet.data.store import Store
from probunet.evaluation.fit import check_values
from probunet.explore.app import make_app
from probunet.explore.cases import Cases, cases_of
from probunet.explore.engine import Engine
from probunet.explore.guard import LOOPBACK
from probunet.explore.serving import listening, server
from probunet.explore.static_site import write_static
from probunet.runs.trained import open_model

SHORTEST_TOKEN = 16


def explore(
    model: str,
    data: Path | None = None,
    /,
    split: Split = "test",
    host: str = "127.0.0.1",
    port: int = 8777,
    token_file: Path | None = None,
    device: str = "auto",
    trust: list[str] | None = None,
    static: Path | None = None,
    onnxruntime_web: Path | None = None,
) -> None:
    """Look at the hypotheses of a trained model in the browser; nothing leaves this machine.

    Args:
        model: run directory of a trained model, exported folder, or published name.
        data: store, folder of pictures, or one picture (PNG, JPEG, TIFF, .npy, NIfTI, DICOM, ...); without it, drop
            pictures on the page.
        split: part of a store.
        host: address to listen on; on one that other machines reach, visitors need a token.
        port: to listen on, 0 for any free one.
        token_file: file with the token, at least 16 letters and digits; without it one is made where it is needed.
        device: where the model runs: auto, cpu, cuda, cuda:1, mps.
        trust: modules whose code may run, for models of your own; those of probunet need none.
        static: write the page into this folder in place of serving it: any web server can serve it, the model runs in
            the browser, and pictures that are opened there go nowhere.
        onnxruntime_web: the package onnxruntime-web for it, as npm pack makes it; fetched by npm if not given.

    Examples:
        probunet explore runs/demo/probabilistic_unet data/demo
        probunet explore runs/demo/probabilistic_unet crop.png --port 8000
        probunet explore runs/demo/probabilistic_unet --static site

    Raises:
        InputError: no model, no pictures, data of another unit or other channels than the model's, a port that is
            taken, a token that is too short, or a model that does not run in a browser.
    """
    if static is not None:
        if data is not None:
            raise InputError("a page without a server has no pictures of its own, which all would see; leave out DATA")
        write_static(open_model(model, trust or ()), static, onnxruntime_web)
        console.print(f"the page is {static / 'index.html'}; serve the folder: python -m http.server -d {static}")
        return
    loopback = host in LOOPBACK
    token = _token(token_file) if token_file is not None else None if loopback else secrets.token_hex(16)
    device = chosen_device(device)
    store = Store(data) if data is not None and is_store(data) else None
    cases, engine = Cases(cases_of(store or data, split)), Engine(open_model(model, trust or ()), device)
    if store is not None:  # of one kind: what the model says of the first holds of all
        check_values(engine.trained, store, split)
        engine.predictor(cases.listed[0].load().picture)
    app = make_app(engine, cases, LOOPBACK if loopback else None, token)
    with listening(host, port) as listener:
        shown = f"[{host}]" if ":" in host else host
        address = f"http://{shown}:{listener.getsockname()[1]}/" + (f"?token={token}" if token else "")
        console.print(f"{len(cases.listed)} cases at {address} (Ctrl-C ends)", markup=False, soft_wrap=True)
        server(app).run(sockets=[listener])


def _token(file: Path) -> str:
    token = read_text(file).strip()
    if len(token) < SHORTEST_TOKEN or not token.isalnum() or not token.isascii():
        raise InputError(
            f"{file}: the token must be at least {SHORTEST_TOKEN} letters and digits, got {len(token)} characters"
        )
    return token
