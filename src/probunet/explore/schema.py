"""What ``/openapi.json`` says beyond what types say: binary answers and bodies, who may ask."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote

import numpy as np
import numpy.typing as npt
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.responses import Response

from probunet.explore.guard import COOKIE, HEALTH
from probunet.io.uploads import MAXIMUM_BYTES

BINARY = "application/octet-stream"
_WORDS = {"text/plain": {"schema": {"type": "string"}}}
_SENTENCE = {
    "application/json": {
        "schema": {"type": "object", "required": ["detail"], "properties": {"detail": {"type": "string"}}}
    }
}
REFUSALS: dict[int | str, dict[str, Any]] = {
    403: {"description": "a host or site that this server does not answer to", "content": _WORDS},
    404: {"description": "no such case (any more)", "content": _SENTENCE},
    422: {
        "description": "one sentence on what cannot be done, or on a parameter that is wrong or unknown",
        "content": _SENTENCE,
    },
    429: {"description": "too many requests of this client wait already", "content": _SENTENCE},
}
"""What every route about a case may answer instead."""


def array_answer(kind: str) -> dict[str, Any]:
    """Arguments of a route that answers with the bytes of an array."""
    shape = {"description": "its shape, numbers with commas", "schema": {"type": "string"}}
    return _answer(f"the bytes of a {kind} array, little endian", {"X-Shape": shape})


def binary(array: npt.NDArray[Any]) -> Response:
    """The bytes of an array, and its shape."""
    shape = ",".join(map(str, array.shape))
    return Response(np.ascontiguousarray(array).tobytes(), media_type=BINARY, headers={"X-Shape": shape})


def attachment(name: str, content: bytes) -> Response:
    """A file to save under a name in any script; programs that know no such names are given one without (RFC 6266)."""
    plain = re.sub(r"[^A-Za-z0-9._-]", "_", name)
    where = f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name)}"
    return Response(content, media_type=BINARY, headers={"Content-Disposition": where})


def file_answer() -> dict[str, Any]:
    """Arguments of a route that answers with a file."""
    name = {"description": "attachment with its name", "schema": {"type": "string"}}
    return _answer("a file", {"Content-Disposition": name})


def file_body() -> dict[str, Any]:
    """The body of an upload."""
    content = {BINARY: {"schema": {"type": "string", "format": "binary", "maxLength": MAXIMUM_BYTES}}}
    return {"requestBody": {"required": True, "content": content}}


def _answer(description: str, headers: dict[str, Any]) -> dict[str, Any]:
    content = {BINARY: {"schema": {"type": "string", "format": "binary"}}}
    answers = {200: {"description": description, "headers": headers, "content": content}, **REFUSALS}
    return {"response_class": Response, "responses": answers}


def describe_schema(app: FastAPI, with_token: bool) -> None:
    """Have the app describe its security scheme, where it asks for a token."""

    def described() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = get_openapi(title=app.title, version=app.version, routes=app.routes)
            if with_token:
                bearer = {"type": "http", "scheme": "bearer"}
                cookie = {"type": "apiKey", "in": "cookie", "name": COOKIE}
                schema.setdefault("components", {})["securitySchemes"] = {"bearer": bearer, "cookie": cookie}
                schema["security"] = [{"bearer": []}, {"cookie": []}]
                schema["paths"][HEALTH]["get"]["security"] = []
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = described  # type: ignore[method-assign]
