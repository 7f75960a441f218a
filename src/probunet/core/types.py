"""Names for the arrays that flow through the package, with their shapes.

B images in a batch, C channels, size (H, W) of an image or (D, H, W) of a volume, K classes, D latents.
"""

from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import torch

Image: TypeAlias = "torch.Tensor"
"""(B, C, *size) float32, normalised intensities."""

Label: TypeAlias = "torch.Tensor"
"""(B, *size) integer class ids, or ``IGNORE`` where nothing is known."""

Logits: TypeAlias = "torch.Tensor"
"""(B, K, *size) float32 unnormalised class scores (nats)."""

Latent: TypeAlias = "torch.Tensor"
"""(B, D) float32."""

IGNORE = 255
"""Label of pixels that count nowhere: not in the loss, not in a metric."""
