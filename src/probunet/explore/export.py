"""Chosen hypotheses as a file to save: what ``probunet sample`` writes, packed where it is several files."""

from __future__ import annotations

import io
import json
import tempfile
import zipfile
from pathlib import Path

import numpy as np

from probunet.core.errors import InputError
from probunet.core.names import safe_name
from probunet.explore.asked import Drawn, numbers
from probunet.inference.writers import WRITERS, Format
from probunet.inference.writers import Drawn as Hypotheses


def packed(drawn: Hypotheses, format: Format, case: str) -> tuple[str, bytes]:
    """Write hypotheses in a format.

    Args:
        drawn: the hypotheses on the whole picture, and facts about them.
        format: in which they are written.
        case: whose they are; the file is called after it.

    Returns:
        Name of the file and its content: the file alone where it is one, else a ZIP of all with ``facts.json``.

    Raises:
        InputError: the format cannot hold this picture, or a package that it needs is missing.
    """
    called = f"{safe_name(case)}-hypotheses"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        WRITERS[format](folder, drawn, {"samples"})
        files = sorted(file for file in folder.rglob("*") if file.is_file())
        if len(files) == 1:
            _, dot, ending = files[0].name.partition(".")
            return f"{called}{dot}{ending}", files[0].read_bytes()
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as zipped:
            for file in files:
                zipped.write(file, file.relative_to(folder).as_posix())
            zipped.writestr("facts.json", json.dumps(dict(drawn.facts), indent=2) + "\n")
        return f"{called}.zip", archive.getvalue()


def written(drawn: Drawn, pick: int | None, z: str | None) -> Hypotheses:
    """Chosen hypotheses on the whole picture, with what a program should know of them."""
    encoded, shown = drawn.encoded()
    latents: list[list[float]] | None
    if z is not None:
        latent = numbers(z)
        chosen, latents = drawn.engine.decode_volume(encoded, latent)[None], [latent]
    else:
        if pick is not None and pick >= drawn.n:
            raise InputError(f"there is no hypothesis {pick} among {drawn.n}")
        draws, which = drawn.draws()[0], slice(None) if pick is None else slice(pick, pick + 1)
        every = drawn.engine.volume(drawn.key, encoded, drawn.n, drawn.seed)
        if every is None and shown.picture.shape[0] > 1:  # the other slices would be background in the file
            raise InputError(
                f"{drawn.n} hypotheses of {shown.picture.shape[0]} slices are more than the page can save; ask for "
                "fewer of them, or use probunet sample"
            )
        chosen = draws.labels[which, None] if every is None else every.labels[which]
        latents = None if draws.latents is None else draws.latents[which].tolist()
    whole = np.zeros((len(chosen), *shown.picture.shape), np.uint8)
    slices = slice(None) if chosen.shape[1] == len(whole[0]) else slice(encoded.index, encoded.index + 1)
    encoded.field.of(whole[:, slices])[...] = chosen
    about = {
        "case": drawn.case.name,
        "model": drawn.engine.trained.path.resolve().name,
        "classes": drawn.engine.predictor.classes,
        "slices": list(range(len(whole[0])))[slices],
        "field": vars(encoded.field),
        "spacing_mm": shown.picture.spacing_mm,
        "seed": None if z is not None else drawn.seed,
        "latents": latents,
    }
    predictor = drawn.engine.predictor
    origin = json.dumps([predictor.identity, about["seed"], about["latents"]])
    return Hypotheses(shown.picture, whole, None, None, [], predictor.classes, about["model"], origin, about)
