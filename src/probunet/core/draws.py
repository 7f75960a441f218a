"""Random numbers from a generator on any device, so that one on the processor draws the same for all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch


def drawn(
    draw: Callable[..., torch.Tensor],
    shape: Sequence[int],
    generator: torch.Generator | None,
    device: torch.device,
    dtype: torch.dtype | None = None,
) -> torch.Tensor:
    """Draw random numbers where the generator is, and bring them to where they are needed.

    Args:
        draw: ``torch.rand`` or what is called like it.
        shape: of the numbers.
        generator: source of randomness; that of the process on ``device`` if not given.
        device: where the numbers are needed.
        dtype: their type; torch's own if not given.
    """
    source = device if generator is None else generator.device
    return draw(tuple(shape), generator=generator, device=source, dtype=dtype).to(device)
