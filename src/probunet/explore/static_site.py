"""The page as a folder that any web server can serve: the encoder runs in the browser, and pictures never leave it."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import shutil
import subprocess
import tarfile
import tempfile
from importlib import resources
from pathlib import Path
from typing import Any

from probunet.core.descriptions import write_json
from probunet.core.errors import InputError
from probunet.core.files import shown
from probunet.core.writing import writing_folder
from probunet.explore.about import describe_model
from probunet.inference.predictor import Predictor
from probunet.inference.units import crop_of_range
from probunet.runs.calibration import Calibration
from probunet.runs.description import TrainedModel
from probunet.runs.onnx_graphs import write_onnx

PACKAGE, VERSION = "onnxruntime-web", "1.30.0"
SHA512 = "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
"""Of the package of this version, as the registry states it."""
RUNTIME = ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm")
"""Files of the package that the page needs."""
LARGEST = 64 * 2**20
"""Bytes of any of them, and of a picture that the page opens."""
SUFFIXES = [".png", ".npy"]
_POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'"
)
_SERVED = re.compile(r'^.*class="served".*\n', re.MULTILINE)
"""Lines of the page that need a server."""
_HEAD = '<meta charset="utf-8">'


def write_static(trained: TrainedModel, folder: Path, package: Path | None = None) -> None:
    """Write page, encoder and runtime.

    Args:
        trained: a model of slices with f_comb and a Gaussian prior.
        folder: to make.
        package: of onnxruntime-web, as ``npm pack`` makes it (.tgz) or unpacked; fetched by npm if not given.

    Raises:
        InputError: another model, a calibration of another one, no such package and no npm to fetch it, or a folder
            that exists.
    """
    if crop_of_range(trained.intensity.unit):
        raise InputError(
            f"{shown(trained.path)} was trained on crops that each have their own range of values, which the page "
            "without a server cannot cut; use 'probunet explore' without --static"
        )
    predictor = Predictor(trained, "cpu")
    with writing_folder(folder) as made, tempfile.TemporaryDirectory() as scratch:
        write_onnx(predictor.model, Path(scratch))  # refuses a model before anything is fetched
        shutil.copy(Path(scratch) / "encode.onnx", made)
        for name, content in runtime(package, Path(scratch)).items():
            (made / name).write_bytes(content)
        for part in ("static", "browser"):  # the second has its own way to answer what the page asks
            for file in resources.files("probunet.explore").joinpath(part).iterdir():
                (made / file.name).write_bytes(file.read_bytes())
        page = _SERVED.sub("", (made / "index.html").read_text(encoding="utf-8"))
        policy = f'{_HEAD}\n  <meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        (made / "index.html").write_text(page.replace(_HEAD, policy, 1), encoding="utf-8")
        write_json(made / "model.json", _description(predictor))


def _description(predictor: Predictor) -> dict[str, Any]:
    intensity, spacing = predictor.trained.intensity, predictor.trained.spacing_mm
    return describe_model(predictor) | {
        "intensity": {"offset": intensity.offset, "scale": intensity.scale},
        "spacing_mm": spacing and list(spacing),
        "formats": ["npy"],
        "upload": {"bytes": LARGEST, "suffixes": SUFFIXES},
        "statements": predictor.calibration and _statements(predictor.calibration),
    }


def _statements(calibration: Calibration) -> dict[str, Any]:
    """What the page needs to say what the server says of a reader."""
    parts = [part.model_dump(mode="json", exclude={"figures"}) for part in calibration.classes]
    return {
        "risk": calibration.risk,
        "words": calibration.words,
        "hypotheses": calibration.hypotheses,
        "notes": calibration.notes,
        "sizes": calibration.data.sizes,
        "classes": parts,
    }


def runtime(package: Path | None, scratch: Path) -> dict[str, bytes]:
    """Content of the files of the package that the page needs, by name.

    Args:
        package: as in :func:`write_static`.
        scratch: folder into which it is fetched.

    Raises:
        InputError: no such package, or no npm to fetch it.
    """
    if package is not None and package.is_dir():
        files = {name: package / "dist" / name for name in RUNTIME}
        if missing := [str(file) for file in files.values() if not file.is_file()]:
            raise InputError(f"{missing[0]} is missing; give the package {PACKAGE} {VERSION} as npm has it")
        return {name: file.read_bytes() for name, file in files.items()}
    archive = package if package is not None else _fetched(scratch)
    try:
        content = archive.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {shown(archive)}: {error.strerror or error}") from error
    if package is None and base64.b64encode(hashlib.sha512(content).digest()).decode() != SHA512:
        raise InputError(f"npm gave another {PACKAGE} {VERSION} than the one that is known here; nothing was written")
    return _unpacked(content, archive)


def _unpacked(content: bytes, archive: Path) -> dict[str, bytes]:
    found = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(content)) as packed:
            for name in RUNTIME:
                member = packed.extractfile(f"package/dist/{name}")
                found[name] = member.read(LARGEST) if member else b""
    except (tarfile.TarError, KeyError, OSError, EOFError) as error:
        raise InputError(
            f"{shown(archive)} is no package {PACKAGE}; 'npm pack {PACKAGE}@{VERSION}' makes it"
        ) from error
    return found


def _fetched(scratch: Path) -> Path:
    command = ["npm", "pack", f"{PACKAGE}@{VERSION}", "--json", "--pack-destination", str(scratch)]
    advice = f"run 'npm pack {PACKAGE}@{VERSION}' where npm works, and give the file with --onnxruntime-web FILE"
    try:
        answer = subprocess.run(command, cwd=scratch, capture_output=True, text=True, timeout=600, check=True)
        return scratch / Path(json.loads(answer.stdout)[0]["filename"]).name
    except FileNotFoundError as error:
        raise InputError(f"npm is not installed; {advice}") from error
    except (subprocess.SubprocessError, ValueError, LookupError, TypeError) as error:
        raise InputError(f"npm could not fetch {PACKAGE} {VERSION}; {advice}") from error
