"""The HTTP interface of ``probunet explore``; ``GET /docs`` is a page about it, ``/openapi.json`` describes it."""

from __future__ import annotations

from importlib import resources
from typing import Annotated, Any, cast

import numpy as np
from fastapi import Depends, FastAPI, HTTPException, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from fastapi.staticfiles import StaticFiles
from starlette.concurrency import run_in_threadpool

from probunet.core.errors import InputError
from probunet.core.version import VERSION as __version__
from probunet.explore.about import Format, describe_model
from probunet.explore.asked import A, D, computing, known_parameters, numbers
from probunet.explore.calibrated import add_calibrated
from probunet.explore.cases import Cases
from probunet.explore.engine import Engine
from probunet.explore.export import packed, written
from probunet.explore.guard import HEALTH, UPLOADS, Guard
from probunet.explore.limits import Load
from probunet.explore.reference import reference_page
from probunet.explore.schema import REFUSALS, array_answer, attachment, binary, describe_schema, file_answer, file_body
from probunet.explore.sections import add_sections
from probunet.explore.volumes import letters
from probunet.io.uploads import MAXIMUM_BYTES
from probunet.metrics.clusters import ALIKE, groups


def make_app(engine: Engine, cases: Cases, hosts: tuple[str, ...] | None, token: str | None = None) -> FastAPI:
    """Put page, interface and guard together.

    Args:
        engine: the model.
        cases: what can be chosen.
        hosts: names that the Host header may have; ``None``: any.
        token: what every request must carry; ``None``: nothing.
    """
    app = FastAPI(
        title="probunet explore",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        dependencies=[Depends(known_parameters)],
        responses={422: REFUSALS[422]},
    )
    app.state.engine, app.state.cases, app.state.load = engine, cases, Load()
    app.add_middleware(Guard, hosts=hosts, token=token)
    app.add_exception_handler(InputError, _sentence)
    app.add_exception_handler(RequestValidationError, _parameter)
    _about(app, engine, cases)
    _uploads(app, cases)
    _pictures(app)
    _hypotheses(app)
    add_sections(app)
    add_calibrated(app)
    describe_schema(app, token is not None)
    app.mount("/", StaticFiles(directory=str(resources.files("probunet.explore") / "static"), html=True))
    return app


def _sentence(_: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"detail": str(error)}, 422)


def _parameter(_: Request, error: Exception) -> JSONResponse:
    """One sentence on the first parameter that is wrong, as all other refusals are one."""
    first = cast(RequestValidationError, error).errors()[0]
    value = "" if first["type"] == "missing" else f"={str(first['input'])[:40]}"
    return JSONResponse({"detail": f"{first['loc'][-1]}{value}: {first['msg'][0].lower()}{first['msg'][1:]}"}, 422)


def _about(app: FastAPI, engine: Engine, cases: Cases) -> None:
    @app.get(HEALTH)
    async def health() -> dict[str, str]:
        """Whether the server answers; needs no token and computes nothing."""
        return {"status": "ok"}

    @app.get("/api")
    def interface() -> list[dict[str, str]]:
        """What can be asked: method, path, one line. The full description is at /docs and /openapi.json."""
        return [
            {"method": method.upper(), "path": path, "summary": facts.get("description", "").split("\n")[0]}
            for path, methods in app.openapi()["paths"].items()
            for method, facts in methods.items()
        ]

    @app.get("/docs", include_in_schema=False)
    def reference() -> HTMLResponse:
        """The interface as a page to read."""
        return HTMLResponse(reference_page(app.openapi()))

    @app.get("/api/model")
    def model() -> dict[str, Any]:
        """The model: classes, unit, crop, and the weights of f_comb behind the features (null without f_comb).

        And its calibration, risk and data in words; null where there is none, and a sentence that says why.
        """
        return describe_model(engine.predictor)

    @app.get("/api/cases")
    def listed() -> list[str]:
        """Names of the cases; a case is asked for by its position in this list."""
        return [case.name for case in cases.listed]


def _uploads(app: FastAPI, cases: Cases) -> None:
    @app.post(UPLOADS, status_code=201, openapi_extra=file_body(), responses=REFUSALS)
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
    @app.get("/api/cases/{case}", dependencies=[Depends(computing)], responses=REFUSALS)
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
            "between_mm": picture.spacing_mm and picture.spacing_mm[0],
            "sides": letters(picture),
            "readers": len(shown.readers),
            "reader_names": shown.names,
            "dicom": picture.series is not None,
            "field": vars(encoded.field),
            "decodes_in_page": asked.engine.decodes_in_page(encoded),
            "note": "; ".join(prediction.notes),
            "latent": asked.engine.latent(encoded, shown),
        }

    @app.get("/api/cases/{case}/picture", dependencies=[Depends(computing)], **array_answer("float32"))
    def values(asked: A) -> Response:
        """Raw intensities of a slice: float32 (C, H, W), little endian."""
        shown = asked.case.load()
        return binary(shown.picture.slice(asked.index(shown)).astype("<f4"))

    @app.get("/api/cases/{case}/readers", dependencies=[Depends(computing)], **array_answer("uint8"))
    def readers(asked: A) -> Response:
        """What the readers who looked said of a slice: uint8 class ids (R, H, W)."""
        shown = asked.case.load()
        return binary(shown.readers[:, asked.index(shown)])

    @app.get("/api/cases/{case}/features", dependencies=[Depends(computing)], **array_answer("float32"))
    def features(asked: A) -> Response:
        """W_f f + b, the share of f_comb's first layer that all hypotheses have: float32 (h, w, channels)."""
        projected = asked.engine.features(asked.encoded()[0])
        if projected is None:
            raise InputError("there are no features from which labels could be decoded here; ask /decode for them")
        return binary(projected.astype("<f4", copy=False))


def _hypotheses(app: FastAPI) -> None:
    @app.get("/api/cases/{case}/hypotheses", dependencies=[Depends(computing)], responses=REFUSALS)
    def hypotheses(drawn: D, distance: Annotated[float, Query(gt=0, le=1)] = ALIKE) -> dict[str, Any]:
        """Hypotheses: latents, pixels of every class, and groups (average linkage of 1 - IoU below ``distance``).

        Of a volume: how large the hypotheses and readings are, what they mark in every slice, and groups of volumes.
        """
        draws, encoded, shown = drawn.draws()
        classes = len(drawn.engine.predictor.classes)
        counted = [np.bincount(labels.ravel(), minlength=classes).tolist() for labels in draws.labels]
        volume = drawn.engine.facts(drawn.key, shown, encoded, drawn.n, drawn.seed, distance)
        alike = volume["groups"] if volume else [vars(group) for group in groups(draws.labels, classes, distance)]
        latents = None if draws.latents is None else draws.latents.tolist()
        answer = {"field": vars(encoded.field), "latents": latents, "pixels": counted, "groups": alike}
        return {**answer, "volume": volume}

    @app.get("/api/cases/{case}/labels", dependencies=[Depends(computing)], **array_answer("uint8"))
    def labels(drawn: D) -> Response:
        """The hypotheses themselves: uint8 class ids (n, h, w)."""
        return binary(drawn.draws()[0].labels)

    @app.get("/api/cases/{case}/probabilities", dependencies=[Depends(computing)], **array_answer("float32"))
    def probabilities(drawn: D) -> Response:
        """Pixel-wise probability of every class, of these hypotheses: float32 (K, h, w), little endian."""
        return binary(drawn.draws()[0].probabilities.astype("<f4", copy=False))

    @app.get("/api/cases/{case}/decode", dependencies=[Depends(computing)], **array_answer("uint8"))
    def decode(asked: A, z: Annotated[str, Query(max_length=2000, description="numbers with commas")]) -> Response:
        """The hypothesis of one latent: uint8 class ids (h, w)."""
        return binary(asked.engine.decode(asked.encoded()[0], numbers(z)))

    @app.get("/api/cases/{case}/export", dependencies=[Depends(computing)], **file_answer())
    def export(
        drawn: D,
        format: Format = "npz",
        pick: Annotated[int | None, Query(ge=0, description="one hypothesis; all if not given")] = None,
        z: Annotated[str | None, Query(max_length=2000, description="a latent instead of a draw")] = None,
    ) -> Response:
        """Hypotheses as a file, on the pixels of the whole picture (class 0 outside of the field)."""
        return attachment(*packed(written(drawn, pick, z), format, drawn.case.name))
