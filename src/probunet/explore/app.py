"""The HTTP interface of ``probunet explore``; ``GET /api`` lists it, ``/openapi.json`` describes it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
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
from probunet.explore.engine import MAXIMUM_SAMPLES, Draws, Encoded, Engine, Place
from probunet.explore.export import packed
from probunet.explore.guard import HEALTH, UPLOADS, Guard
from probunet.explore.limits import Load, client_of
from probunet.explore.schema import BINARY, array_answer, describe_schema, file_answer, file_body
from probunet.inference.writers import Drawn as Written
from probunet.io.uploads import MAXIMUM_BYTES, SUFFIXES
from probunet.metrics.clusters import groups

Format = Literal["png", "npz", "nifti", "dicomseg"]
LARGEST_PLACE = 100_000
"""Rows, columns and slices that may be asked for."""


async def computing(request: Request) -> AsyncIterator[None]:
    """Wait until this client has fewer requests under way; holds no thread meanwhile."""
    async with request.app.state.load.computation(client_of(request.scope)):
        yield


class Asked:
    """The case of a request, and the field of it."""

    def __init__(
        self,
        request: Request,
        case: Annotated[str, InPath(description="number of a case, or key of an upload")],
        slice: Annotated[int | None, Query(ge=0, le=LARGEST_PLACE, description="number of a volume's slice")] = None,
        row: Annotated[int | None, Query(ge=0, le=LARGEST_PLACE, description="centre of the field, pixels")] = None,
        column: Annotated[int | None, Query(ge=0, le=LARGEST_PLACE, description="centre of the field, pixels")] = None,
        size: Annotated[int | None, Query(ge=16, le=512, description="side of the field, the model's pixels")] = None,
    ) -> None:
        self.key, self.place, self.engine = case, Place(slice, row, column, size), request.app.state.engine
        try:
            self.case: Case = request.app.state.cases[case]
        except KeyError as error:
            raise HTTPException(404, f"there is no case '{case[:40]}' (any more); choose or upload one") from error

    def encoded(self) -> tuple[Encoded, Shown]:
        """Load the picture and run the networks on the field."""
        shown = self.case.load()
        return self.engine.encode(self.key, shown, self.place), shown

    def index(self, shown: Shown) -> int:
        """Number of the slice."""
        depth = shown.picture.shape[0]
        return depth // 2 if self.place.slice is None else min(self.place.slice, depth - 1)


class Drawn(Asked):
    """The hypotheses of a request."""

    def __init__(
        self,
        asked: Annotated[Asked, Depends()],
        n: Annotated[int, Query(ge=1, le=MAXIMUM_SAMPLES, description="how many hypotheses")] = 16,
        seed: Annotated[int, Query(ge=0, le=2**31)] = 0,
    ) -> None:
        self.key, self.place, self.engine, self.case = asked.key, asked.place, asked.engine, asked.case
        self.n, self.seed = n, seed

    def draws(self) -> tuple[Draws, Encoded, Shown]:
        """Draw them, or remember them."""
        encoded, shown = self.encoded()
        return self.engine.draw(self.key, encoded, self.n, self.seed), encoded, shown


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
    app.state.engine, app.state.cases, app.state.load = engine, cases, Load()
    app.add_middleware(Guard, hosts=hosts, token=token)
    app.add_exception_handler(InputError, _sentence)
    _about(app, engine, cases)
    _uploads(app, cases)
    _pictures(app)
    _hypotheses(app)
    describe_schema(app, token is not None)
    app.mount("/", StaticFiles(directory=str(resources.files("probunet.explore") / "static"), html=True))
    return app


def _sentence(_: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"detail": str(error)}, 422)


def _about(app: FastAPI, engine: Engine, cases: Cases) -> None:
    @app.get(HEALTH)
    async def health() -> dict[str, str]:
        """Whether the server answers; needs no token and computes nothing."""
        return {"status": "ok"}

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
            "name": engine.trained.path.resolve().name,
            "kind": engine.predictor.kind,
            "classes": engine.predictor.classes,
            "channels": engine.model.in_channels,
            "unit": engine.trained.intensity.unit,
            "crop": engine.crop,
            "title": engine.trained.settings["input"].get("title", ""),
            "combine": _combine(engine),
            "maximum_samples": MAXIMUM_SAMPLES,
            "upload": {"bytes": MAXIMUM_BYTES, "suffixes": SUFFIXES},
        }

    @app.get("/api/cases")
    def listed() -> list[str]:
        """Names of the cases; a case is asked for by its position in this list."""
        return [case.name for case in cases.listed]


def _uploads(app: FastAPI, cases: Cases) -> None:
    @app.post(UPLOADS, status_code=201, openapi_extra=file_body())
    async def upload(request: Request, name: Annotated[str, Query(max_length=200)]) -> dict[str, str]:
        """Upload a picture: the file as the body, its name as query. Answers with the key of a new case."""
        content = bytearray()
        async with request.app.state.load.upload():
            async for chunk in request.stream():
                content += chunk
                if len(content) > MAXIMUM_BYTES:
                    raise HTTPException(413, f"the file is larger than {MAXIMUM_BYTES // 2**20} MiB")
            return {"case": await run_in_threadpool(cases.add, name, bytes(content)), "name": name}


def _pictures(app: FastAPI) -> None:
    @app.get("/api/cases/{case}", dependencies=[Depends(computing)])
    def describe(asked: A) -> dict[str, Any]:
        """A case: its size, unit, range and spacing, the field that the model sees, prior and readers' posteriors."""
        encoded, shown = asked.encoded()
        picture, prediction = shown.picture, encoded.prediction
        values = picture.slice(encoded.index)
        in_field = encoded.field.of(values)
        low, high = np.percentile(in_field, [0.5, 99.5])
        return {
            "case": asked.key,
            "name": asked.case.name,
            "slice": encoded.index,
            "slices": picture.shape[0],
            "shape": values.shape,
            "unit": picture.unit or asked.engine.trained.intensity.unit,
            "range": [float(values.min()), float(values.max())],
            "window": [float(low), float(high if high > low else in_field.max() + 1)],
            "spacing_mm": picture.spacing_mm and picture.spacing_mm[1:],
            "readers": len(shown.readers),
            "dicom": picture.series is not None,
            "field": vars(encoded.field),
            "decodes_in_page": asked.engine.model.split is not None and prediction.view.grid.same,
            "note": "; ".join(prediction.notes),
            "latent": asked.engine.latent(encoded, shown),
        }

    @app.get("/api/cases/{case}/picture", dependencies=[Depends(computing)], **array_answer("float32"))
    def values(asked: A) -> Response:
        """Raw intensities of a slice: float32 (C, H, W), little endian."""
        shown = asked.case.load()
        return _binary(shown.picture.slice(asked.index(shown)).astype("<f4"))

    @app.get("/api/cases/{case}/readers", dependencies=[Depends(computing)], **array_answer("uint8"))
    def readers(asked: A) -> Response:
        """What the readers who looked said of a slice: uint8 class ids (R, H, W)."""
        shown = asked.case.load()
        return _binary(shown.readers[:, asked.index(shown)])

    @app.get("/api/cases/{case}/features", dependencies=[Depends(computing)], **array_answer("float32"))
    def features(asked: A) -> Response:
        """W_f f + b, the share of f_comb's first layer that all hypotheses have: float32 (h, w, channels)."""
        projected = asked.engine.features(asked.encoded()[0])
        if projected is None:
            raise InputError("there are no features from which labels could be decoded here; ask /decode for them")
        return _binary(projected.astype("<f4", copy=False))


def _hypotheses(app: FastAPI) -> None:
    @app.get("/api/cases/{case}/hypotheses", dependencies=[Depends(computing)])
    def hypotheses(drawn: D, distance: Annotated[float, Query(gt=0, le=1)] = 0.3) -> dict[str, Any]:
        """Hypotheses: latents, pixels of every class, and groups (average linkage of 1 - IoU below ``distance``)."""
        draws, encoded, _ = drawn.draws()
        classes = len(drawn.engine.predictor.classes)
        counted = [np.bincount(labels.ravel(), minlength=classes).tolist() for labels in draws.labels]
        alike = [vars(group) for group in groups(draws.labels, classes, distance)]
        latents = None if draws.latents is None else draws.latents.tolist()
        return {"field": vars(encoded.field), "latents": latents, "pixels": counted, "groups": alike}

    @app.get("/api/cases/{case}/labels", dependencies=[Depends(computing)], **array_answer("uint8"))
    def labels(drawn: D) -> Response:
        """The hypotheses themselves: uint8 class ids (n, h, w)."""
        return _binary(drawn.draws()[0].labels)

    @app.get("/api/cases/{case}/probabilities", dependencies=[Depends(computing)], **array_answer("float32"))
    def probabilities(drawn: D) -> Response:
        """Pixel-wise probability of every class, of these hypotheses: float32 (K, h, w), little endian."""
        return _binary(drawn.draws()[0].probabilities.astype("<f4", copy=False))

    @app.get("/api/cases/{case}/decode", dependencies=[Depends(computing)], **array_answer("uint8"))
    def decode(asked: A, z: Annotated[str, Query(max_length=2000, description="numbers with commas")]) -> Response:
        """The hypothesis of one latent: uint8 class ids (h, w)."""
        return _binary(asked.engine.decode(asked.encoded()[0], _numbers(z)))

    @app.get("/api/cases/{case}/export", dependencies=[Depends(computing)], **file_answer())
    def export(
        drawn: D,
        format: Format = "npz",
        pick: Annotated[int | None, Query(ge=0, description="one hypothesis; all if not given")] = None,
        z: Annotated[str | None, Query(max_length=2000, description="a latent instead of a draw")] = None,
    ) -> Response:
        """Hypotheses as a file, on the pixels of the whole picture (class 0 outside of the field)."""
        name, content = packed(_written(drawn, pick, z), format)
        where = {"Content-Disposition": f'attachment; filename="{name}"'}
        return Response(content, media_type=BINARY, headers=where)


def _written(drawn: Drawn, pick: int | None, z: str | None) -> Written:
    """Chosen hypotheses on the whole picture, with what a program should know of them."""
    encoded, shown = drawn.encoded()
    latents: list[list[float]] | None
    if z is not None:
        numbers = _numbers(z)
        chosen, latents = drawn.engine.decode(encoded, numbers)[None], [numbers]
    else:
        if pick is not None and pick >= drawn.n:
            raise InputError(f"there is no hypothesis {pick} among {drawn.n}")
        draws, which = drawn.draws()[0], slice(None) if pick is None else slice(pick, pick + 1)
        chosen, latents = draws.labels[which], None if draws.latents is None else draws.latents[which].tolist()
    whole = np.zeros((len(chosen), *shown.picture.shape), np.uint8)
    encoded.field.of(whole[:, encoded.index])[...] = chosen
    facts = {
        "case": drawn.case.name,
        "model": drawn.engine.trained.path.resolve().name,
        "classes": drawn.engine.predictor.classes,
        "slice": encoded.index,
        "field": vars(encoded.field),
        "spacing_mm": shown.picture.spacing_mm,
        "seed": None if z is not None else drawn.seed,
        "latents": latents,
    }
    predictor = drawn.engine.predictor
    origin = json.dumps([predictor.identity, facts["seed"], facts["latents"]])
    return Written(shown.picture, whole, None, None, [], predictor.classes, facts["model"], origin, facts)


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
