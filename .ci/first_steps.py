"""What a stranger does first with the installed wheel and no extras; run by ``.ci/wheel`` in an empty folder."""

import contextlib
import io
from pathlib import Path

import numpy as np

import probunet as pu
from probunet.cli import main


def run(line: str) -> None:
    """Type a command."""
    main(line.split())


def refused(line: str) -> str:
    """What a command says that ends with an error."""
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.suppress(SystemExit):
        run(line)
    return said.getvalue()


run("doctor")
run("prepare readers --limit 8 --spacing 0.7 --size 128 --jobs 1 --out few --quiet")
run("prepare pictures few --split train -n 1 --out pictures")
run("sample lidc-crops pictures --out hypotheses --write samples groups sheet")
[file], [picture] = Path("hypotheses").glob("*/samples.npy"), Path("pictures").glob("*.npy")
samples = pu.Predictor.load("lidc-crops")(picture).sample(16)
assert samples.shape == (16, 1, 128, 128)
assert 0 < samples.mean() < 1
assert (samples == np.load(file)).all()

for extra, line in {
    "train": "train --config demo",
    "explore": "explore lidc-crops",
    "nifti": "sample lidc-crops pictures --out volumes --format nifti",
}.items():
    assert f"pip install 'probunet[{extra}]'" in refused(line)
with contextlib.suppress(pu.InputError):
    pu.train  # noqa: B018
    raise AssertionError("pu.train needs an extra that is not installed")
print("the wheel works in an empty environment")
