"""What a request asks for: a case, a field of it, hypotheses; checked before anything is computed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Depends, HTTPException, Query, Request
from fastapi import Path as InPath

from probunet.core.errors import InputError
from probunet.explore.cases import Case, Shown
from probunet.explore.engine import MAXIMUM_SAMPLES, Draws, Encoded, Place
from probunet.explore.limits import client_of, new_asker
from probunet.inference.view import checked_slice

LARGEST_PLACE = 100_000
"""Rows, columns and slices that may be asked for."""
Seed = Annotated[int, Query(ge=0, le=2**31, description="of the hypotheses")]


async def known_parameters(request: Request) -> None:
    """Refuse a parameter that the route does not have: a misspelt one would count as not given.

    Raises:
        InputError: there is one; those that the route has are named.
    """
    described = request.app.openapi()["paths"].get(request.scope["route"].path, {}).get(request.method.lower())
    if described is None:
        return
    known = [given["name"] for given in described.get("parameters", ()) if given["in"] == "query"]
    for name in request.query_params:
        if name not in known:
            raise InputError(f"there is no parameter '{name[:40]}' here; there are {', '.join(known) or 'none'}")


async def computing(request: Request) -> AsyncIterator[None]:
    """Wait until this client has fewer requests under way; holds no thread meanwhile."""
    async with request.app.state.load.computation(client_of(request.scope)):
        new_asker()
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
        reader: Annotated[str | None, Query(max_length=200, description="who draws; any reader if not given")] = None,
    ) -> None:
        self.key, self.place, self.engine = case, Place(slice, row, column, size, reader), request.app.state.engine
        try:
            self.case: Case = request.app.state.cases[case]
        except KeyError as error:
            raise HTTPException(404, f"there is no case '{case[:40]}' (any more); choose or upload one") from error

    def encoded(self) -> tuple[Encoded, Shown]:
        """Load the picture and run the networks on the field."""
        shown = self.case.load()
        return self.engine.encode(self.key, shown, self.place), shown

    def index(self, shown: Shown) -> int:
        """Number of the slice.

        Raises:
            InputError: it is outside of the picture.
        """
        depth = shown.picture.shape[0]
        return depth // 2 if self.place.slice is None else checked_slice(self.place.slice, depth)


class Drawn(Asked):
    """The hypotheses of a request."""

    def __init__(
        self,
        asked: Annotated[Asked, Depends()],
        n: Annotated[int, Query(ge=1, le=MAXIMUM_SAMPLES, description="how many hypotheses")] = 16,
        seed: Seed = 0,
    ) -> None:
        self.key, self.place, self.engine, self.case = asked.key, asked.place, asked.engine, asked.case
        self.n, self.seed = n, seed

    def draws(self) -> tuple[Draws, Encoded, Shown]:
        """Draw them, or remember them."""
        encoded, shown = self.encoded()
        return self.engine.draw(self.key, encoded, self.n, self.seed), encoded, shown


A = Annotated[Asked, Depends()]
D = Annotated[Drawn, Depends()]


def numbers(text: str) -> list[float]:
    """A latent out of a query.

    Raises:
        InputError: no numbers with commas between them.
    """
    try:
        return [float(word) for word in text.split(",")]
    except ValueError as error:
        raise InputError(f"'{text[:80]}' is no list of numbers with commas between them") from error
