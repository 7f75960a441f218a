"""Checkpoints that survive whatever happens: written whole or not at all, and the one before the last is kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pytorch_lightning.plugins.io import TorchCheckpointIO

from probunet.core.console import console
from probunet.core.errors import InputError
from probunet.core.files import remove_remains
from probunet.runs.checkpoints import read_checkpoint, write_checkpoint
from probunet.runs.run import Run


class WholeCheckpoints(TorchCheckpointIO):
    """Writes a checkpoint beside its place, forces it to disk and renames it; the last one becomes the previous one.

    Args:
        run: the run directory of the training.
    """

    def __init__(self, run: Run) -> None:
        self.run = run

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write one.

        Raises:
            InputError: the run directory is gone, or it cannot be written; the checkpoints before are untouched.
        """
        if not (self.run.path / "run.yaml").is_file():
            raise InputError(
                f"{self.run.path} is gone (no run.yaml), so step {checkpoint['global_step']} cannot be saved; "
                "look whether its disk is still there, then give the same command again"
            )
        target = Path(path)
        write_checkpoint(target, checkpoint, kept=self.run.previous if target == self.run.last else None)

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        """Read one, and check that it is what was written."""
        return read_checkpoint(Path(path))


def newest_readable(run: Run) -> Path | None:
    """Find the checkpoint to go on from, and tell when it is not the last one; ``None`` where nothing was begun.

    What a killed training left half-written is removed.

    Raises:
        InputError: there are checkpoints and none can be read.
    """
    for file in (run.best, run.last, run.previous):
        remove_remains(file)
    found = [file for file in (run.last, run.previous) if file.is_file()]
    for file in found:
        try:
            step = read_checkpoint(file)["global_step"]
        except InputError:
            console.print(f"{file} is damaged and is passed over")
            continue
        console.print(f"{run.path} goes on from step {step}, {file.name}")
        return file
    if found:
        raise InputError(f"no checkpoint of {run.path} can be read; remove {found[0].parent} to train it anew")
    return None
