"""Configurations that come with this package; ``--config demo`` takes one by its name."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent / "configs"
