"""When two stores are the same data."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Identity:
    """What must be equal for two stores to be the same data, wherever they lie.

    Attributes:
        images: SHA-256 of the images.
        labels: of the readings.
        present: of which reading is there; ``None`` where none is missing.
        cases: of the names, patients and splits of the cases.
        convention: how distances are measured on it, as plain data.
        places: of the sizes, spacings and affines of volumes; ``None`` for images.
    """

    images: str
    labels: str
    present: str | None
    cases: str
    convention: dict[str, Any]
    places: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Plain data; ``Identity(**plain)`` is the way back."""
        return {key: value for key, value in asdict(self).items() if key != "places" or value is not None}

    def differences(self, other: Identity) -> list[str]:
        """Name what differs, in words: images, readings, patients and splits, convention, ..."""
        words = {
            "images": "images",
            "labels": "readings",
            "present": "missing readings",
            "cases": "patients and splits",
            "convention": "convention of the distance",
            "places": "sizes and places of volumes",
        }
        return [word for key, word in words.items() if getattr(self, key) != getattr(other, key)]
