"""Hypotheses as a model gives them, (n, B, ...), told from label maps in the order of files and metrics, (B, n, ...).

Where n = B nothing in the numbers tells the two apart. So what a model gives carries its order in its type, as long as
its axes are those it came with; :func:`images_first` reads it. What is sliced, moved, joined or calculated with is a
plain array, whose order is its owner's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, overload

import numpy as np
import numpy.typing as npt
import torch

from probunet.core.errors import InputError

_SAME_AXES = {
    *(
        getattr(torch.Tensor, name)
        for name in (
            *("to", "cpu", "cuda", "type", "byte", "short", "int", "long", "bool", "float", "double"),
            *("clone", "contiguous", "detach", "pin_memory", "requires_grad_"),
        )
    ),
    *(torch.clone, torch.detach),
}
"""What gives the same maps in the same order."""

_MOVED_IN_PLACE = {getattr(torch.Tensor, name) for name in ("transpose_", "swapaxes_", "swapdims_")}


class Samples(torch.Tensor):
    """(n, B, *size) uint8 class ids: n hypotheses of each of B images. A tensor like any other in all else.

    Copies on another device or of another number type are of this kind, too; everything else that is done to it gives
    a plain tensor, and a file holds it as one.

    >>> drawn = torch.zeros(4, 2, 8, 8, dtype=torch.uint8).as_subclass(Samples)
    >>> type(drawn.long()).__name__, type(drawn.movedim(0, 1)).__name__, type(drawn[0]).__name__
    ('Samples', 'Tensor', 'Tensor')
    """

    @classmethod
    def __torch_function__(
        cls, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run a function of PyTorch on the plain tensors, and keep the kind where it keeps the axes.

        Raises:
            InputError: the axes would be exchanged in place.
        """
        if func in _MOVED_IN_PLACE:
            raise InputError("samples keep their axes; use movedim(0, 1), which gives a tensor of its own")
        with torch._C.DisableTorchFunctionSubclass():
            result = func(*args, **(kwargs or {}))
            if func is torch.Tensor.numpy:
                return array_of_samples(result)
            return result.as_subclass(cls) if func in _SAME_AXES else result

    def __deepcopy__(self, memo: dict[int, Any]) -> Samples:
        """Be copied as hypotheses."""
        return self.detach().clone().as_subclass(Samples)

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Be kept in files as a plain tensor."""
        with torch._C.DisableTorchFunctionSubclass():
            return self.as_subclass(torch.Tensor).__reduce_ex__(protocol)


class SamplesArray(np.ndarray[Any, np.dtype[Any]]):
    """The same in NumPy: ``hypotheses_first`` until anything but a copy is made of it (``np.asarray`` forgets it)."""

    hypotheses_first = False

    def copy(self, *args: Any, **kwargs: Any) -> Any:
        """As of any array."""
        return self._like(super().copy(*args, **kwargs))

    def astype(self, *args: Any, **kwargs: Any) -> Any:
        """As of any array."""
        return self._like(super().astype(*args, **kwargs))

    def __reduce__(self) -> Any:
        """Be kept in files as a plain array."""
        return np.asarray(self).__reduce__()

    def _like(self, maps: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return array_of_samples(maps) if self.hypotheses_first else np.asarray(maps)


def array_of_samples(maps: npt.NDArray[Any]) -> SamplesArray:
    """The same memory as hypotheses (n, B, ...)."""
    samples = maps.view(SamplesArray)
    samples.hypotheses_first = True
    return samples


@overload
def images_first(maps: npt.NDArray[Any]) -> npt.NDArray[Any]: ...


@overload
def images_first(maps: torch.Tensor) -> torch.Tensor: ...


def images_first(maps: npt.NDArray[Any] | torch.Tensor) -> npt.NDArray[Any] | torch.Tensor:
    """Label maps (B, n, ...): hypotheses of a model with their axes exchanged, anything else as it is.

    >>> images_first(array_of_samples(np.zeros((4, 2, 8, 8), np.uint8))).shape
    (2, 4, 8, 8)
    """
    if isinstance(maps, Samples):
        return maps.movedim(0, 1)
    if getattr(maps, "hypotheses_first", False) is True:
        return np.moveaxis(np.asarray(maps), 0, 1)
    return maps
