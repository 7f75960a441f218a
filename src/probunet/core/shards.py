"""Work dealt out to processes that need not know of each other: on one machine, on many, or one after the other."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from probunet.core.errors import InputError

LAUNCHERS = (("RANK", "WORLD_SIZE", "LOCAL_RANK"), ("SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID"))
"""Environment variables of torchrun and of srun: number of the process, how many, its number on its machine."""

Piece = TypeVar("Piece")


@dataclass(frozen=True)
class Shard:
    """One of several equal shares of the work.

    Attributes:
        index: which one, from 0.
        count: how many there are.
        local: number of the process on its machine, from 0, which says which GPU is its own; ``None``: unknown.
    """

    index: int = 0
    count: int = 1
    local: int | None = None

    def of(self, pieces: Sequence[Piece]) -> Sequence[Piece]:
        """Take every ``count``-th piece, so that long and short ones are spread evenly."""
        return pieces[self.index :: self.count]

    def device(self, device: str) -> str:
        """Turn ``cuda`` into the GPU of this process, where a launcher started several on one machine."""
        if device != "cuda" or self.local is None:
            return device
        import torch  # preparing data deals out work too, and needs none

        if torch.cuda.device_count():
            return f"cuda:{self.local % torch.cuda.device_count()}"
        return device

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"


WHOLE = Shard()
"""All of it, in one process."""


def read_shard(text: str | None) -> Shard:
    """Read which share is meant.

    Args:
        text: ``i/n`` with i from 0 to n - 1; ``auto``: as torchrun or srun say; ``None``: all of it.

    Raises:
        InputError: neither of these, or ``auto`` where no launcher said anything.
    """
    if text is None:
        return WHOLE
    if text == "auto":
        return _launched()
    try:
        index, count = (int(word) for word in text.split("/"))
    except ValueError as error:
        raise InputError(f"--shard {text} is neither i/n, as in 0/4, nor auto") from error
    return _checked(Shard(index, count), f"--shard {text}")


def _launched() -> Shard:
    for names in LAUNCHERS:
        words = [os.environ.get(name) for name in names]
        if words[0] is not None and words[1] is not None:
            said = f"{names[0]}={words[0]} and {names[1]}={words[1]}"
            try:
                shard = Shard(int(words[0]), int(words[1]), None if words[2] is None else int(words[2]))
            except ValueError as error:
                raise InputError(f"the environment has {said}, which are not numbers; give --shard i/n") from error
            return _checked(shard, said)
    raise InputError("--shard auto needs a process that torchrun or srun started; give --shard i/n, as in 0/4")


def _checked(shard: Shard, said: str) -> Shard:
    if not 0 <= shard.index < shard.count:
        raise InputError(f"{said} is out of range; the shards of {shard.count} count from 0 to {shard.count - 1}")
    return shard
