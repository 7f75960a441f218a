"""Which files of probunet work on one PNG in ``probunet sample``: prints JSON, files by room in the order of first use.

The functions that run are listed, not what is imported. The first picture is sampled before anything is listed, so that
what is loaded or made once (arguments, model, results) is told apart from what every picture goes through.

    python benchmarks/walk.py > benchmarks/results/walk.json
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch
from archive import write_model
from PIL import Image

import probunet
from probunet.core.console import speaking
from probunet.inference.predictor import Predictor
from probunet.inference.request import Request
from probunet.inference.results import Results
from probunet.io.search import Search
from probunet.runs.trained import open_model

SOURCE = Path(probunet.__file__).parent


def walk(folder: Path) -> dict[str, list[str]]:
    """Files whose functions run while the command goes through one picture, by room."""
    (folder / "crop.png").parent.mkdir(exist_ok=True)
    for name in ("first", "second"):
        Image.fromarray(np.full((128, 128), 120, np.uint8)).save(folder / f"{name}.png")
    request = Request(16, 0, None, None, 0.5, "png", frozenset({"samples", "groups"}))
    results = Results(folder / "out", Predictor(open_model(write_model(folder)), "cpu"), request)
    files: dict[str, None] = {}

    def sample(name: str) -> None:
        for picture in Search([folder / name]):
            if not results.has(picture):
                results.write(picture, lambda: None)

    def note(frame: FrameType, event: str, _: Any) -> None:
        if event == "call" and (file := Path(frame.f_code.co_filename)).is_relative_to(SOURCE):
            files[file.relative_to(SOURCE).as_posix()] = None

    with speaking(quiet=True):
        sample("first.png")
        sys.setprofile(note)
        try:
            sample("second.png")
        finally:
            sys.setprofile(None)
    rooms: dict[str, list[str]] = {}
    for file in files:
        rooms.setdefault(file.partition("/")[0], []).append(file)
    return rooms


def main() -> None:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as place:
        rooms = walk(Path(place))
    print(json.dumps({"files": sum(map(len, rooms.values())), "rooms": rooms}, indent=2))


if __name__ == "__main__":
    main()
