"""The HTTP interface of ``probunet explore``; ``GET /api`` lists it, ``/openapi.json`` describes it."""

from __future__ import annotations

from importlib import resources
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import Depends, FastAPI, HTTPException, Query, Request, Response
from fastapi import Path as InPath
from fastapi.responses import JSONResponse
from fastapi.staticfiles import StaticFiles
from starlette.concurrency import run_in_threadpool

from probunet.core.errors import InputError
from probunet.core.version import VERSION as __version__
from probunet.explore.cases import Case, Cases, Shown
from probunet.explore.engine import MAXIMUM_SAMPLES, Draws, Encoded, Engine, Field
from probunet.explore.export import WRITERS
from probunet.explore.guard import Guard
from probunet.io.uploads import MAXIMUM_BYTES, SUFFIXES
from probunet.metrics.clusters import modes

BINARY = "application/octet-stream"
Format = Literal["png", "npz", "nifti", "dicomseg"]


class Asked:
    """The case of a request, and the field of it."""

    def __init__(
        self,
        request: Request,
        case: Annotated[str, InPath(description="number of a case, or key of an upload")],
        row: Annotated[int | None, Query(ge=0, le=10_000, description="centre of the field, pixels")] = None,
        column: Annotated[int | None, Query(ge=0, le=10_000, description="centre of the field, pixels")] = None,
        size: Annotated[int | None, Query(ge=16, le=512, description="side of the field, pixels")] = None,
    ) -> None:
        self.key, self.field, self.engine = case, Field(row, column, size), request.app.state.engine
        try:
            self.case: Case = request.app.state.cases[case]
        except KeyError as error:
            raise HTTPException(404, f"there is no case '{case[:40]}' (any more); choose or upload one") from error

    def encoded(self) -> tuple[Encoded, Shown]:
        """Load the picture and run the networks on the field."""
        picture = self.case.load()
        return self.engine.encode(self.key, picture, self.field), picture


class Drawn(Asked):
    """The hypotheses of a request."""

    def __init__(
        self,
        asked: Annotated[Asked, Depends()],
        n: Annotated[int, Query(ge=1, le=MAXIMUM_SAMPLES, description="how many hypotheses")] = 16,
        seed: Annotated[int, Query(ge=0, le=2**31)] = 0,
    ) -> None:
        self.key, self.field, self.engine, self.case = asked.key, asked.field, asked.engine, asked.case
        self.n, self.seed = n, seed

    def draws(self) -> tuple[Draws, Encoded, Shown]:
        """Draw them, or remember them."""
        encoded, picture = self.encoded()
        return self.engine.draw(self.key, encoded, self.n, self.seed), encoded, picture


A = Annotated[Asked, Depends()]
D = Annotated[Drawn, Depends()]


def make_app(engine: Engine, cases: Cases, hosts: tuple[str, ...] | None, token: str | None = None) -> FastAPI:
    """Put page, interface and guard together.

    Args:
        engine: the model.
        cases: what can be chosen.
        hosts: names that the Host header may have; ``None``: any.
        token: what every request must carry; ``None``: nothing.
    """
    app = FastAPI(title="probunet explore", version=__version__, docs_url=None, redoc_url=None)
    app.state.engine, app.state.cases = engine, cases
    app.add_middleware(Guard, hosts=hosts, token=token)
    app.add_exception_handler(InputError, _sentence)
    _about(app, engine, cases)
    _pictures(app)
    _hypotheses(app)
    app.mount("/", StaticFiles(directory=str(resources.files("probunet.explore") / "static"), html=True))
    return app


def _sentence(_: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"detail": str(error)}, 422)


def _about(app: FastAPI, engine: Engine, cases: Cases) -> None:
    @app.get("/api")
    def interface() -> list[dict[str, str]]:
        """What can be asked: method, path, one line. The full description is at /openapi.json."""
        return [
            {"method": method.upper(), "path": path, "summary": facts.get("description", "").split("\n")[0]}
            for path, methods in app.openapi()["paths"].items()
            for method, facts in methods.items()
        ]

    @app.get("/api/model")
    def model() -> dict[str, Any]:
        """The model: classes, unit, crop, and the weights of f_comb behind the features (null without f_comb)."""
        return {
            "name": engine.run.path.resolve().name,
            "kind": type(engine.model).__name__,
            "classes": engine.run.classes,
            "channels": engine.model.in_channels,
            "unit": engine.run.intensity.unit,
            "crop": engine.crop,
            "title": engine.run.settings["input"].get("title", ""),
            "combine": _combine(engine),
            "maximum_samples": MAXIMUM_SAMPLES,
            "upload": {"bytes": MAXIMUM_BYTES, "suffixes": SUFFIXES},
        }

    @app.get("/api/cases")
    def listed() -> list[str]:
        """Names of the cases; a case is asked for by its position in this list."""
        return [case.name for case in cases.given]

    @app.post("/api/images", status_code=201)
    async def upload(request: Request, name: Annotated[str, Query(max_length=200)]) -> dict[str, str]:
        """Upload an image: the file as the body, its name as query. Answers with the key of a new case."""
        content = bytearray()
        async for chunk in request.stream():
            content += chunk
            if len(content) > MAXIMUM_BYTES:
                raise HTTPException(413, f"the file is larger than {MAXIMUM_BYTES // 2**20} MiB")
        return {"case": await run_in_threadpool(cases.add, name, bytes(content)), "name": name}


def _pictures(app: FastAPI) -> None:
    @app.get("/api/cases/{case}")
    def describe(asked: A) -> dict[str, Any]:
        """A case: its size, unit, range and spacing, the field that the model sees, prior and readers' posteriors."""
        encoded, picture = asked.encoded()
        low, high = np.percentile(asked_values := encoded.box.of(picture.values), [0.5, 99.5])
        return {
            "case": asked.key,
            "name": asked.case.name,
            "shape": picture.values.shape,
            "unit": picture.picture.unit or asked.engine.run.intensity.unit,
            "range": [float(picture.values.min()), float(picture.values.max())],
            "window": [float(low), float(high if high > low else asked_values.max() + 1)],
            "spacing_mm": picture.spacing,
            "readers": len(picture.readers),
            "dicom": picture.picture.series is not None,
            "field": vars(encoded.box),
            "note": encoded.note,
            "latent": asked.engine.latent(encoded, picture),
        }

    @app.get("/api/cases/{case}/picture")
    def values(asked: A) -> Response:
        """Raw intensities: float32 (C, H, W), little endian."""
        return _binary(asked.case.load().values.astype("<f4"))

    @app.get("/api/cases/{case}/readers")
    def readers(asked: A) -> Response:
        """What the readers said: uint8 class ids (R, H, W)."""
        return _binary(asked.case.load().readers)

    @app.get("/api/cases/{case}/features")
    def features(asked: A) -> Response:
        """W_f f + b, the share of f_comb's first layer that all hypotheses have: float32 (h, w, channels)."""
        found = asked.engine.features(asked.encoded()[0])
        if found is None:
            raise InputError("this model has no f_comb behind features; ask /decode for a latent's labels")
        return _binary(found.astype("<f4", copy=False))


def _hypotheses(app: FastAPI) -> None:
    @app.get("/api/cases/{case}/hypotheses")
    def hypotheses(drawn: D, distance: Annotated[float, Query(gt=0, le=1)] = 0.3) -> dict[str, Any]:
        """Hypotheses: latents, pixels of every class, and modes (average linkage of 1 - IoU below ``distance``)."""
        draws, encoded, _ = drawn.draws()
        classes = len(drawn.engine.run.classes)
        counted = [np.bincount(one.ravel(), minlength=classes).tolist() for one in draws.labels]
        groups = [vars(mode) for mode in modes(draws.labels, classes, distance)]
        latents = None if draws.latents is None else draws.latents.tolist()
        return {"field": vars(encoded.box), "latents": latents, "pixels": counted, "modes": groups}

    @app.get("/api/cases/{case}/labels")
    def labels(drawn: D) -> Response:
        """The hypotheses themselves: uint8 class ids (n, h, w)."""
        return _binary(drawn.draws()[0].labels)

    @app.get("/api/cases/{case}/probabilities")
    def probabilities(drawn: D) -> Response:
        """Pixel-wise probability of every class: float32 (K, h, w), little endian."""
        return _binary(drawn.draws()[0].probabilities.astype("<f4", copy=False))

    @app.get("/api/cases/{case}/decode")
    def decode(asked: A, z: Annotated[str, Query(max_length=2000, description="numbers with commas")]) -> Response:
        """The hypothesis of one latent: uint8 class ids (h, w)."""
        return _binary(asked.engine.decode(asked.encoded()[0], _numbers(z)))

    @app.get("/api/cases/{case}/export")
    def export(
        drawn: D,
        format: Format = "npz",
        pick: Annotated[int | None, Query(ge=0, description="one hypothesis; all if not given")] = None,
        z: Annotated[str | None, Query(max_length=2000, description="a latent instead of a draw")] = None,
    ) -> Response:
        """Hypotheses as a file, on the pixels of the whole picture (class 0 outside of the field)."""
        encoded, picture = drawn.encoded()
        if z is not None:
            chosen = drawn.engine.decode(encoded, _numbers(z))[None]
            latents: list[list[float]] | None = [_numbers(z)]
        else:
            draws = drawn.draws()[0]
            if pick is not None and pick >= drawn.n:
                raise InputError(f"there is no hypothesis {pick} among {drawn.n}")
            which = slice(None) if pick is None else slice(pick, pick + 1)
            chosen = draws.labels[which]
            latents = None if draws.latents is None else draws.latents[which].tolist()
        whole = np.zeros((len(chosen), *picture.values.shape[-2:]), np.uint8)
        encoded.box.of(whole)[:] = chosen
        ending, write = WRITERS[format]
        ending = "zip" if format == "png" and len(whole) > 1 else ending
        facts = {
            "case": drawn.case.name,
            "model": str(drawn.engine.run.path.resolve().name),
            "classes": drawn.engine.run.classes,
            "field": vars(encoded.box),
            "spacing_mm": picture.spacing,
            "seed": None if z is not None else drawn.seed,
            "latents": latents,
        }
        where = {"Content-Disposition": f'attachment; filename="hypotheses.{ending}"'}
        return Response(write(whole, facts, picture), media_type=BINARY, headers=where)


def _combine(engine: Engine) -> dict[str, Any] | None:
    split = engine.model.split
    if split is None:
        return None
    layers = [layer.state_dict() for layer in split.combine.rest]
    return {
        "from_latent": split.combine.from_latent.weight.float().tolist(),
        "layers": [
            {"weight": layer["weight"][:, :, 0, 0].float().tolist(), "bias": layer["bias"].float().tolist()}
            for layer in layers
        ],
    }


def _numbers(text: str) -> list[float]:
    try:
        return [float(word) for word in text.split(",")]
    except ValueError as error:
        raise InputError(f"'{text[:80]}' is no list of numbers with commas between them") from error


def _binary(array: np.ndarray[Any, Any]) -> Response:
    shape = ",".join(map(str, array.shape))
    return Response(np.ascontiguousarray(array).tobytes(), media_type=BINARY, headers={"X-Shape": shape})
