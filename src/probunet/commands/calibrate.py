"""``probunet calibrate``: what may be said of a reader of a new picture, with a risk that holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from probunet.core.console import say
from probunet.core.descriptions import write_json
from probunet.core.errors import InputError
from probunet.core.files import check_outputs
from probunet.data.manifest import Split
from probunet.evaluation.calibrate import HYPOTHESES
from probunet.evaluation.calibrate import calibrate as calibrate_model
from probunet.evaluation.fit import store_of
from probunet.runs.calibration import CALIBRATION, FORMAT, Calibration, ClassPart
from probunet.runs.published import FOLDER
from probunet.runs.trained import open_model

MARK = f'"format": "{FORMAT}"'.encode()


def calibrate(
    run: Path,
    /,
    data: Path | None = None,
    split: Split = "validation",
    risk: float = 0.1,
    n: int = HYPOTHESES,
    check: Split | None = None,
    seed: int = 0,
    device: str = "auto",
    trust: list[str] | None = None,
) -> None:
    """Choose outlines, intervals of the area and a probability of an empty reading that hold for new patients.

    Writes calibration.json beside the model: an outer outline, outside of which lies at most this share of a reader's
    pixels; an inner one, of whose pixels a reader left at most this share unmarked; an interval that misses a reader's
    area at most so often; each on average over patients like these. Of volumes, which are looked at whole, it is the
    volume in place of the area. 'sample --write inner outer' uses it.

    Args:
        run: run directory, experiment with exactly one, or exported folder.
        data: prepared store with readers; the training store if not given.
        split: whose patients it is calibrated on; none of them may have been trained on.
        risk: of each statement on its own; the smaller, the more patients are needed.
        n: hypotheses drawn for every picture, now and whenever a statement is made.
        check: split of other patients, on whom the realised risk is measured and told.
        seed: of the hypotheses.
        device: where the model runs: auto, cpu, cuda, cuda:N or mps
        trust: modules whose code may run, for models of your own; those of probunet need none

    Raises:
        InputError: no model, data of another kind, patients that were trained on, or too few for this risk.

    Examples:
        probunet calibrate runs/demo/probabilistic_unet --risk 0.1
        probunet calibrate runs/demo/probabilistic_unet --data data/demo --split validation --risk 0.05 --check test
    """
    trained = open_model(run, trust or ())
    if trained.path.resolve().parent == FOLDER.resolve():
        raise InputError(
            f"{run} comes with the package, which everyone here uses; run 'probunet export {run} --out FOLDER' and "
            "calibrate FOLDER"
        )
    file = trained.path / CALIBRATION
    check_outputs([file], [], [MARK])
    made = calibrate_model(trained, store_of(trained, data), split, risk, n, check=check, seed=seed, device=device)
    write_json(file, made.model_dump(mode="json"))
    for part in made.classes:
        _tell(made, part)
    for note in made.notes:
        say(f"note: {note[0].lower()}{note[1:].removesuffix('.')}")
    say(f"{made.words}; it is {file}")


def _tell(made: Calibration, part: ClassPart) -> None:
    cost = part.figures["cost"]
    pixels, area = ("pixels", "area") if len(made.data.sizes[0]) == 2 else ("voxels", "volume")
    inner = "there is none" if part.inner is None else f"p >= {part.inner:.4g}"
    outer = "that holds nothing" if part.outer is None else f"p >= {part.outer:.4g}"
    say(f"{part.name}: outer outline {outer}, inner outline {inner}")
    say(
        f"  on average {cost['inner_pixels']:.1f} {pixels} inside the inner one, {cost['hypothesis_pixels']:.1f} in a "
        f"hypothesis, {cost['outer_pixels']:.1f} inside the outer one; the interval of the {area} is "
        f"{cost['interval_pixels']:.1f} wide"
    )
    if made.checked:
        measured: dict[str, Any] = made.checked[part.name]
        risks = [
            f"{word} {measured[name]['mean']:.3f} ({measured[name]['low']:.3f} to {measured[name]['high']:.3f})"
            for name, word in (("outer", "outer"), ("inner", "inner"), ("area", area))
        ]
        where = f"{made.checked['patients']} patients of the {made.checked['split']} split"
        say(f"  realised on {where}: {', '.join(risks)}")
