"""Speed and memory of the metrics: prints JSON.

Two sets: 2,000 binary images of 128 x 128 with 16 samples and 4 readers, and 500 images of 256 x 512 with 16
samples, 32 modes and 10 evaluated classes out of 24. Each is scored (all distances and the energy distance)
and set beside a plain NumPy double loop over pairs, timed on the first images and scaled to the whole set,
and beside the time that the same threads need merely to read the same bytes once.

    python benchmarks/metrics.py > benchmarks/results/metrics.json
    python benchmarks/metrics.py --share 0.1    (a tenth of the images)
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from probunet.metrics import FOREGROUND, Convention, energy_distance

SWITCHABLE, FLIPPED = (1, 11, 13, 8, 0), (19, 20, 21, 22, 23)
CORES = len(os.sched_getaffinity(0))


def lesions(images: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Ellipses around the centre of 128 x 128 crops, half of the images with empty masks among them."""
    y, x = np.mgrid[-64:64, -64:64].astype(np.float32)
    maps = np.empty((images, 20, 128, 128), np.uint8)
    for image in maps:
        radius = rng.uniform(4, 25) * rng.uniform(0.8, 1.25, (20, 2, 1, 1)).astype(np.float32)
        centre = rng.normal(0, 2, (20, 2, 1, 1)).astype(np.float32)
        image[:] = ((y - centre[:, 0]) / radius[:, 0]) ** 2 + ((x - centre[:, 1]) / radius[:, 1]) ** 2 < 1
        image[rng.random(20) < rng.choice([0, 0.5])] = 0
    return maps[:, :16], maps[:, 16:]


def noise(images: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The worst case: every pixel of every map drawn on its own, so that no word is empty."""
    bits = np.frombuffer(rng.bytes(images * 20 * 128 * 16), np.uint8)
    maps = np.unpackbits(bits).reshape(images, 20, 128, 128)
    return maps[:, :16], maps[:, 16:]


def streets(images: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Scenes of 24 classes: 32 modes by flips of five classes; samples are modes moved by some pixels."""
    flips = np.array([[k >> (4 - i) & 1 for i in range(5)] for k in range(32)], bool)
    tables = np.tile(np.arange(24, dtype=np.uint8), (32, 1))
    for table, flip in zip(tables, flips, strict=True):
        table[np.array(SWITCHABLE)[flip]] = np.array(FLIPPED)[flip]
    samples = np.empty((images, 16, 256, 512), np.uint8)
    references = np.empty((images, 32, 256, 512), np.uint8)
    for b in range(images):
        scene = street(rng)
        references[b] = tables[:, scene]
        for sample in samples[b]:
            moved = np.roll(scene, rng.integers(-4, 5, 2), axis=(0, 1))
            sample[:] = tables[rng.integers(32)][moved]
    return samples, references


def street(rng: np.random.Generator) -> np.ndarray:
    """(256, 512) sky, buildings, trees, road, sidewalk, and boxes for people, cars and other things."""
    scene = np.full((256, 512), 10, np.uint8)
    scene[rng.integers(40, 90) :] = 2
    road = rng.integers(130, 170)
    scene[road - 15 :], scene[road:] = 1, 0
    for label, count, height, width in (
        (8, 8, 60, 60),
        (13, 6, 40, 70),
        (11, 10, 45, 15),
        (5, 12, 50, 6),
        (7, 6, 12, 12),
    ):
        for _ in range(count):
            top, left = rng.integers(60, 190), rng.integers(0, 500)
            scene[top : top + rng.integers(4, height), left : left + rng.integers(3, width)] = label
    return scene


def plain_loop(samples: np.ndarray, references: np.ndarray, classes: Sequence[int], skip: bool) -> list[float]:
    """Energy distance per image, the way most code computes it."""

    def distance(a: np.ndarray, b: np.ndarray) -> float:
        values = []
        for label in classes:
            in_a, in_b = a == label, b == label
            union = np.logical_or(in_a, in_b).sum()
            if union:
                values.append(1 - np.logical_and(in_a, in_b).sum() / union)
            elif not skip:
                values.append(0.0)
        return float(np.mean(values))

    def mean(first: np.ndarray, second: np.ndarray) -> float:
        return float(np.mean([[distance(a, b) for b in second] for a in first]))

    return [2 * mean(s, r) - mean(s, s) - mean(r, r) for s, r in zip(samples, references, strict=True)]


def seconds(work: Callable[[], Any], repeats: int) -> float:
    def once() -> float:
        start = time.perf_counter()
        work()
        return time.perf_counter() - start

    return min(once() for _ in range(repeats))


def read_once(arrays: Sequence[np.ndarray], threads: int) -> None:
    """Every byte through a core once: the maximum of 64-bit words, image by image."""

    def read(part: np.ndarray) -> int:
        return int(part.view(np.uint64).max())

    parts = [a[i : i + 16] for a in arrays for i in range(0, len(a), 16)]
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(read, parts))


def measure(
    make: Callable[..., tuple[np.ndarray, np.ndarray]],
    images: int,
    plain_images: int,
    convention: Convention = FOREGROUND,
) -> dict[str, Any]:
    samples, references = make(images, np.random.default_rng(0))
    read_once([samples, references], CORES)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    result = energy_distance(samples, references, convention)
    extra = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    fast = seconds(lambda: energy_distance(samples, references, convention), 3)
    one = seconds(lambda: energy_distance(samples, references, convention, workers=1), 1)
    read = seconds(lambda: read_once([samples, references], CORES), 5)
    start = time.perf_counter()
    plain = plain_loop(
        samples[:plain_images], references[:plain_images], convention.evaluated, convention.empty == "skip"
    )
    plain_seconds = (time.perf_counter() - start) * images / plain_images
    return {
        "images": images,
        "samples": samples.shape[1],
        "references": references.shape[1],
        "size": list(samples.shape[2:]),
        "evaluated_classes": len(convention.evaluated),
        "label_bytes": samples.nbytes + references.nbytes,
        "seconds": round(fast, 4),
        "seconds_one_thread": round(one, 4),
        "read_once_seconds": round(read, 4),
        "plain_loop_seconds": round(plain_seconds, 2),
        "plain_loop_timed_on_images": plain_images,
        "times_faster_than_plain_loop": round(plain_seconds / fast, 1),
        "times_read_once": round(fast / read, 2),
        "extra_memory_mib": round(extra / 1024, 1),
        "largest_difference_from_plain_loop": float(np.abs(result.value[:plain_images] - plain).max()),
    }


def machine() -> dict[str, Any]:
    return {
        "cores": CORES,
        "architecture": platform.machine(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "load_before_start": round(os.getloadavg()[0], 1),
    }


def cases(share: float) -> Iterator[tuple[str, dict[str, Any]]]:
    yield "binary_128x128_lesions", measure(lesions, round(2000 * share), round(200 * share))
    yield "binary_128x128_noise", measure(noise, round(2000 * share), round(200 * share))
    flips = Convention(24, SWITCHABLE + FLIPPED, empty="skip")
    yield "ten_classes_256x512_streets", measure(streets, round(500 * share), 2, flips)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--share", type=float, default=1.0, help="of the images")
    print(json.dumps({"machine": machine(), **dict(cases(parser.parse_args().share))}, indent=2))
