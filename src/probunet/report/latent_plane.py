"""The latent plane: what every point of the prior's box decodes to, and where readers fall (paper, appendix A)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from matplotlib.patches import Ellipse
from torch.distributions import Normal, kl_divergence

from probunet.distributions.base import LatentSpace
from probunet.drawing.pictures import new_figure, show
from probunet.drawing.pixels import Palette, Pixels, mosaic, paint, titled_mosaic
from probunet.report.results import Results
from probunet.report.section import Picture, Section
from probunet.report.shown import Shown, shown, store_palette

GRID, SIGMAS, IMAGES, CASES, SHOWN = 9, 3.0, 48, 2, 10
NEAREST = 0.28
"""Sigma between two numbers in the plane."""


def section(results: Results) -> Section | None:
    """Planes of a few ambiguous images, of the full model (or of the first one with a latent space)."""
    if results.store.dims == 3 or not results.chosen:  # a plane of volumes is in the explorer
        return None
    candidates = [results.reference, *results.names]
    name = next((name for name in candidates if _has_plane(results.distribution(name, 0).latent)), None)
    if name is None:
        return None
    kl = _kl_per_dimension(results, name)
    if len(kl) < 2:  # a line, not a plane
        return None
    first, second = (int(i) for i in np.argsort(-kl, kind="stable")[:2])
    kind = "modes" if results.store.flips else "readers"
    images = min(IMAGES, len(results.images))
    text = [
        f"{name} has {len(kl)} latent dimensions. KL(posterior, prior) in nats by dimension, over {images} images with "
        f"their {kind}: {', '.join(f'{v:.2f}' for v in kl)}. Shown are the two with most, {first + 1} (across) and "
        f"{second + 1} (up); the others stay at the mean of the prior. Ellipses: 1, 2 and 3 sigma of the prior; "
        f"numbers: mean of the posterior of each of the {kind}.",
    ]
    positions = next(iter(results.chosen.values()))[:CASES]
    pictures = [_plane(results, name, p, (first, second), f"latent_plane_{i + 1}") for i, p in enumerate(positions)]
    return Section("The latent plane", text, [], pictures)


def _has_plane(latent: LatentSpace | None) -> bool:
    return latent is not None and latent.axes is not None and latent.infers


def _latent(results: Results, name: str, position: int) -> LatentSpace:
    latent = results.distribution(name, position).latent
    if latent is None:
        raise TypeError(f"{name} has no latent space")
    return latent


def _kl_per_dimension(results: Results, name: str) -> npt.NDArray[np.float64]:
    total: list[npt.NDArray[np.float64]] = []
    for position in np.linspace(0, len(results.images) - 1, min(IMAGES, len(results.images))).astype(int):
        latent = _latent(results, name, int(position))
        with torch.inference_mode():
            for label in results.images[int(position)]["labels"][:8]:
                total.append(
                    kl_divergence(latent.posterior(label[None]).base_dist, Normal(*latent.moments()))[0]
                    .double()
                    .numpy()
                )
    return np.mean(total, axis=0)


def _plane(results: Results, name: str, position: int, dimensions: tuple[int, int], file: str) -> Picture:
    case, latent, palette = shown(results, position), _latent(results, name, position), store_palette(results.store)
    mean, sigma = latent.moments()
    with torch.inference_mode():
        labels = torch.from_numpy(results.labels(position)[:SHOWN])
        places = np.stack([((latent.posterior(y[None]).mean - mean) / sigma)[0].numpy() for y in labels])
    ratio = case.image.shape[-2] / case.image.shape[-1]
    figure = new_figure(11, 8 * ratio + 0.6)
    left, right = figure.subplots(1, 2, width_ratios=[4, 1])
    box = (-SIGMAS, SIGMAS, -SIGMAS, SIGMAS)
    left.imshow(_grid(case, latent, palette, dimensions), extent=box, aspect=ratio, interpolation="nearest")
    for size in (1, 2, 3):
        left.add_patch(Ellipse((0, 0), 2 * size, 2 * size, fill=False, color="white", lw=1))
    points = np.clip(places[:, list(dimensions)], -SIGMAS * 0.98, SIGMAS * 0.98)
    for i, (point, beside) in enumerate(zip(points, apart(points), strict=True)):
        left.annotate(
            str(i + 1),
            point,
            beside,
            ha="center",
            va="center",
            fontsize=9,
            bbox={"boxstyle": "circle", "fc": "white"},
            arrowprops={"arrowstyle": "-", "color": "white"},
        )
        left.plot(*point, "o", color="white", ms=3)
    left.set_xlabel(f"latent {dimensions[0] + 1}, in sigma of the prior")
    left.set_ylabel(f"latent {dimensions[1] + 1}")
    heads, names = case.painted(palette, SHOWN)
    numbered = [(f"{i + 1}: {name}", head) for i, (name, head) in enumerate(zip(names, heads, strict=True))]
    show(right, titled_mosaic(numbered, 1 + (len(numbered) > SHOWN // 2)))
    caption = f"{case.case}: {case.first_of(SHOWN)}. A number at the edge lies outside the box of ±{SIGMAS:.0f} sigma."
    return Picture(file, case.case, figure, caption)


def _grid(case: Shown, latent: LatentSpace, palette: Palette, dimensions: tuple[int, int]) -> Pixels:
    """What the points of the plane decode to, tile by tile."""
    mean, sigma = latent.moments()
    across, up = dimensions
    steps = np.linspace(-SIGMAS, SIGMAS, GRID) * (1 - 1 / GRID)  # the middles of the tiles
    tiles = []
    with torch.inference_mode():
        for vertical in steps[::-1]:
            for horizontal in steps:
                z = mean.clone()
                z[0, across] += horizontal * sigma[0, across]
                z[0, up] += vertical * sigma[0, up]
                tiles.append(paint(case.image, case.on(latent.labels(z[None])[0].numpy())[0], palette))
    return mosaic(tiles, GRID, gap=0)


def apart(points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Places (n, 2) for numbers, each beside its point, no two nearer than ``NEAREST`` to each other."""
    placed: list[npt.NDArray[np.float64]] = []
    turns = np.deg2rad(np.arange(0, 360, 30))
    for point in points:
        rings = [(point + r * np.stack([np.cos(turns), np.sin(turns)], axis=-1)) for r in (0.3, 0.6, 0.9)]
        places = np.concatenate([point[None], *rings])
        free = [place for place in places if all(np.hypot(*(place - other)) >= NEAREST for other in placed)]
        placed.append(free[0] if free else point)
    return np.array(placed).reshape(-1, 2)
