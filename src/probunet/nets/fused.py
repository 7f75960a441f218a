"""f_comb on a GPU, from the features of images to the label maps of all their hypotheses, in one kernel (Triton).

What f_comb computes for a hypothesis is little beside what it would write between its layers. Here a block of pixels is
read once, all its hypotheses are decoded where the arithmetic is done, and a byte a pixel and hypothesis is written.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

PIXELS = 128
"""Of a block, decoded together."""
HYPOTHESES = 32
"""That one block of pixels is decoded for before it is read again, so that few pixels still make many blocks."""


@triton.jit
def _labels(  # type: ignore[no-untyped-def]
    maps,
    shifts,
    weight,
    bias,
    towards,
    threshold,
    out,
    pixels,
    images,
    hypotheses,
    CHANNELS: tl.constexpr,
    PIXELS: tl.constexpr,
    HYPOTHESES: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """One block of pixels of one image, for some hypotheses; see :func:`labels_of_two`."""
    image, pixel = tl.program_id(1).to(tl.int64), tl.program_id(0) * PIXELS + tl.arange(0, PIXELS)
    first = tl.program_id(2) * HYPOTHESES
    channel, inside = tl.arange(0, CHANNELS), pixel < pixels
    block = tl.load(
        maps + (image * pixels + pixel[:, None]) * CHANNELS + channel[None, :],
        mask=inside[:, None],
        other=0.0,
    )
    second = tl.load(weight + channel[None, :] * CHANNELS + channel[:, None])  # (in, out)
    offset, last = tl.load(bias + channel), tl.load(towards + channel)
    for i in range(first, tl.minimum(first + HYPOTHESES, hypotheses)):
        row = i * images + image
        shift = tl.load(shifts + row * CHANNELS + channel)
        x = tl.maximum(block + shift[None, :], 0.0).to(second.dtype)
        x = tl.maximum(tl.dot(x, second, input_precision=PRECISION) + offset[None, :], 0.0)
        difference = tl.sum(x * last[None, :], axis=1)
        tl.store(out + row * pixels + pixel, (difference > tl.load(threshold)).to(tl.uint8), mask=inside)


def labels_of_two(
    maps: torch.Tensor,
    shifts: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor,
    towards: torch.Tensor,
    threshold: torch.Tensor,
) -> torch.Tensor:
    """Compare ``towards`` . relu(``weight`` relu(maps + shift) + ``bias``) with a threshold, for many shifts.

    Args:
        maps: (B, P, C), contiguous; C a power of two from 16 up.
        shifts: (n, B, C), of the same type.
        weight: (C, C), outputs first, of the same type.
        bias: (C,) float32.
        towards: (C,) float32.
        threshold: one number, float32.

    Returns:
        (n, B, P) uint8, 1 where it is above the threshold.
    """
    (images, pixels, channels), n = maps.shape, len(shifts)
    out = torch.empty((n, images, pixels), dtype=torch.uint8, device=maps.device)
    grid = (triton.cdiv(pixels, PIXELS), images, triton.cdiv(n, HYPOTHESES))
    _labels[grid](
        maps,
        shifts.contiguous(),
        weight.contiguous(),
        bias,
        towards,
        threshold,
        out,
        pixels,
        images,
        n,
        CHANNELS=channels,
        PIXELS=PIXELS,
        HYPOTHESES=HYPOTHESES,
        PRECISION="tf32" if torch.backends.cudnn.allow_tf32 else "ieee",
    )
    return out
