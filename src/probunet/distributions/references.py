"""Labels that a distribution is asked about: whether they fit, and how well logits fit them."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from probunet.core.errors import InputError
from probunet.core.types import IGNORE, Label, Logits


def cross_entropy(logits: Logits, label: Label) -> torch.Tensor:
    """Cross-entropy summed over the pixels that are not ignored; not averaged over anything.

    Returns:
        (B,) nats.
    """
    return F.cross_entropy(logits, label.long(), ignore_index=IGNORE, reduction="none").sum(
        dim=tuple(range(1, label.ndim))
    )


def check_label(label: Label, shape: tuple[int, ...], num_classes: int) -> None:
    """Refuse labels that do not fit images of shape (B, *size) or name a class that does not exist.

    Raises:
        InputError: wrong shape, or a value that is neither a class id nor ``IGNORE``.
    """
    if label.shape != shape:
        raise InputError(
            f"a label batch of shape {tuple(label.shape)} does not fit images of shape {shape}; "
            f"give (batch, {'depth, ' if len(shape) == 4 else ''}height, width)"
        )
    wrong = ((label < 0) | (label >= num_classes)) & (label != IGNORE)
    if wrong.any():
        raise InputError(
            f"label value {int(label[wrong][0])} is out of range; use 0 to {num_classes - 1}, "
            f"or {IGNORE} for pixels to ignore"
        )
