"""The figures of other papers: by hand, against plain loops, and against libraries that have them."""

import math

import numpy as np
import pytest
import SimpleITK
from scipy import integrate
from scipy.spatial.distance import cdist, directed_hausdorff

from probunet.core.errors import InputError
from probunet.metrics import (
    Convention,
    area_crps,
    best_dice,
    best_surface_distance,
    class_frequencies,
    collective_insight,
    cross_correlation,
    dice_at_thresholds,
    gaussian_area_crps,
    matched_dice_from,
    nearest_dice_from,
    pairwise_distances,
    surface_distances,
)
from probunet.metrics.thresholds import CURVAS, QUBIQ, SOFT

DICE = Convention(overlap="dice")
EMPTY, FULL = np.zeros((2, 2), np.uint8), np.ones((2, 2), np.uint8)
LEFT, RIGHT = np.array([[1, 0], [1, 0]], np.uint8), np.array([[0, 1], [0, 1]], np.uint8)


def stack(*maps):
    return np.stack(maps)[None]


def blobs(seed: int, maps: int, shape=(20, 24), images: int = 2) -> np.ndarray:
    """Balls of any size at nearly one place, some of them empty."""
    random = np.random.default_rng(seed)
    grid = np.indices(shape)
    out = np.zeros((images, maps, *shape), np.uint8)
    for place in np.ndindex(images, maps):
        middle = np.array(shape) / 2 + random.normal(0, 1.5, len(shape))
        away = np.sqrt(((grid - middle.reshape(-1, *[1] * len(shape))) ** 2).sum(axis=0))
        out[place] = away < random.uniform(2, min(shape) / 2.5)
    return out


# Dice at thresholds


def test_dice_at_thresholds_by_hand():
    # two of three samples and one of three readers mark the left, one sample and two readers the right
    samples, readers = stack(LEFT, FULL, EMPTY), stack(RIGHT, FULL, EMPTY)
    shares = class_frequencies(samples)
    # above .5: left against right (0); above .2: all against all (1); above .9: nothing against nothing (1)
    for thresholds, expected in (([0.5], 0), ([0.2], 1), ([0.9], 1), ([0.2, 0.5, 0.9], 2 / 3)):
        assert dice_at_thresholds(shares, readers, thresholds).value == pytest.approx([expected])
    assert dice_at_thresholds(shares, readers, [0.9], Convention(empty="one")).value == [0]
    assert dice_at_thresholds(shares, readers, [0.5, 0.9], Convention(empty="skip")).value == [0]
    with pytest.raises(InputError, match="from 0 to below 1"):
        dice_at_thresholds(shares, readers, [1.0])


def test_a_share_is_not_above_itself():
    for count in range(1, 21):
        maps = np.ones((1, 20, 1, 1), np.uint8)
        maps[0, count:] = 0
        at = count / 20
        if at < 1:
            both = dice_at_thresholds(class_frequencies(maps), maps, [at], Convention(empty="one"))
            assert both.value == [0], "nothing is above it on either side"


@pytest.mark.parametrize("thresholds", [QUBIQ, SOFT, CURVAS])
def test_dice_at_thresholds_as_challenges_loop(thresholds):
    samples, readers = blobs(0, 7), blobs(1, 4)
    expected = []
    for s, r in zip(samples, readers, strict=True):
        of_cuts = []
        for cut in thresholds:
            p, y = s.sum(axis=0) > cut * 7 + 1e-6, r.sum(axis=0) > cut * 4 + 1e-6
            of_cuts.append(2 * (p & y).sum() / (p.sum() + y.sum()) if (p | y).any() else 1)
        expected.append(np.mean(of_cuts))
    assert dice_at_thresholds(class_frequencies(samples), readers, thresholds).value == pytest.approx(expected)


# Matching


def test_nearest_and_matched_dice_by_hand():
    # Dice: LEFT-LEFT 1, LEFT-FULL 2/3, RIGHT-FULL 2/3, RIGHT-LEFT 0
    distances = pairwise_distances(stack(LEFT, RIGHT, LEFT), stack(LEFT, FULL), DICE)
    assert nearest_dice_from(distances).value == pytest.approx([(1 + 2 / 3 + 1) / 3])
    assert matched_dice_from(distances).value == pytest.approx([(1 + 2 / 3) / 2])
    assert best_dice(stack(LEFT, RIGHT, LEFT), stack(LEFT, FULL)).value == pytest.approx([(1 + 2 / 3) / 2])
    # one sample cannot be of two readers, though it is nearest to both
    alone = pairwise_distances(stack(FULL, EMPTY), stack(FULL, LEFT), DICE)
    assert matched_dice_from(alone).value == pytest.approx([1 / 2])
    with pytest.raises(InputError, match="as many samples as readers"):
        matched_dice_from(alone, n=1)
    with pytest.raises(InputError, match="weights"):
        matched_dice_from(
            pairwise_distances(stack(FULL, EMPTY), stack(FULL, LEFT), Convention(overlap="dice", weights=(1, 2)))
        )


# Collective insight


def test_collective_insight_by_hand():
    samples, readers = stack(LEFT, EMPTY), stack(FULL, LEFT, EMPTY)
    found = collective_insight(samples, readers)
    assert found.combined_sensitivity == [0.5]  # LEFT of FULL
    assert found.best_dice == pytest.approx([(2 / 3 + 1 + 1) / 3])
    # variance of LEFT - EMPTY: half of the pixels 1: 1/4; of FULL - LEFT and LEFT - EMPTY 1/4; of FULL - EMPTY: 0
    assert found.diversity_agreement == pytest.approx([1 - (abs(0.25 - 0.25) + abs(0.25 - 0)) / 2])
    s, d, a = 0.5, 8 / 9, 0.875
    assert found.value == pytest.approx([3 * s * d * a / (s + d + a)])
    nothing = collective_insight(stack(EMPTY), stack(EMPTY, EMPTY))
    assert nothing.value == [1]
    assert collective_insight(stack(EMPTY), stack(FULL, FULL)).value == [0]


def test_collective_insight_against_plain_numpy():
    samples, readers = blobs(2, 5), blobs(3, 4)
    found = collective_insight(samples, readers)
    for b in range(2):
        ranges = []
        for maps in (samples[b], readers[b]):
            flat = maps.reshape(len(maps), -1).astype(float)
            pairs = [np.var(flat[i] - flat[j]) for i in range(len(flat)) for j in range(i)]
            ranges.append((min(pairs), max(pairs)))
        agreement = 1 - sum(abs(x - y) for x, y in zip(*ranges, strict=True)) / 2
        assert found.diversity_agreement[b] == pytest.approx(agreement)


# Cross-correlation


def plain_cross_correlation(samples, readers, classes, eps=1e-8):
    """Cross-entropies written out, as the paper defines them, with one-hot samples."""
    one_hot = np.eye(classes)
    logs = [np.log(one_hot[s] + eps) for s in samples]
    mean = one_hot[samples].mean(axis=0)
    spread = np.mean([-(mean * log).sum(axis=-1) for log in logs], axis=0)
    missed = [np.mean([-(one_hot[y] * log).sum(axis=-1) for log in logs], axis=0) for y in readers]
    return np.mean([np.corrcoef(spread.ravel(), m.ravel())[0, 1] for m in missed])


@pytest.mark.parametrize("classes", [2, 3])
def test_cross_correlation_is_that_of_cross_entropies(classes):
    samples = blobs(4, 6) + (blobs(5, 6) if classes == 3 else 0)
    readers = blobs(6, 4) + (blobs(7, 4) if classes == 3 else 0)
    expected = [plain_cross_correlation(s, r, classes) for s, r in zip(samples, readers, strict=True)]
    assert cross_correlation(samples, readers, Convention(classes)).value == pytest.approx(expected, abs=1e-6)


def test_cross_correlation_by_hand_and_where_there_is_none():
    # f of class 1 is 1/2, 1/2, 0, 0: spread 1/2, 1/2, 0, 0; the reader misses nothing of it: 1/2, 1/2, 0, 0
    samples, reader = np.array([[[[1, 0, 0, 0]], [[0, 1, 0, 0]]]]), np.array([[[[1, 1, 0, 0]]]])
    assert cross_correlation(samples, reader).value == pytest.approx([1])
    far = np.array([[[[1, 1, 1, 1]]]])  # 1/2, 1/2, 1, 1
    assert cross_correlation(samples, far).value == pytest.approx([-1])
    alike = cross_correlation(samples[:, :1], reader)
    assert alike.left_out.all()


# Areas


def test_area_crps_by_hand():
    # areas 0 and 4 against 2 and 4: E|a - y| = 2 and 2; E|a - a'| = 4 without pairs of one sample, 2 with
    distances = pairwise_distances(stack(EMPTY, FULL), stack(LEFT, FULL))
    assert area_crps(distances).value == [0]
    assert area_crps(distances, unbiased=False).value == [1]
    assert area_crps(distances, 0.5, unbiased=False).value == [0.5]
    assert area_crps(distances, 0.5, unbiased=False, relative=True).value == pytest.approx([1 / 3])
    assert area_crps(distances, draws="complete").value == [1]
    nothing = pairwise_distances(stack(FULL, FULL), stack(EMPTY))
    assert area_crps(nothing).value == [4]
    assert area_crps(nothing, relative=True).left_out.all()
    with pytest.raises(InputError, match="two or more independent samples"):
        area_crps(pairwise_distances(stack(FULL), stack(LEFT)))


def test_area_crps_is_the_integral_of_squared_differences():
    samples, readers = blobs(8, 6), blobs(9, 3)
    distances = pairwise_distances(samples, readers)
    weighted = pairwise_distances(samples, readers, Convention(weights=(1, 1, 2)))
    steps = np.arange(0, 500) + 0.5
    for b in range(2):
        cdf = (samples[b].sum(axis=(1, 2))[:, None] <= steps).mean(axis=0)
        each = [((cdf - (area <= steps)) ** 2).sum() for area in readers[b].sum(axis=(1, 2))]
        assert area_crps(distances, unbiased=False).value[b] == pytest.approx(np.mean(each))
        assert area_crps(weighted, unbiased=False).value[b] == pytest.approx(np.average(each, weights=(1, 1, 2)))


def test_the_fair_crps_does_not_depend_on_the_number_of_samples():
    random = np.random.default_rng(0)
    row = np.arange(64)[None, None, None]
    areas = random.integers(10, 50, (3000, 8))
    maps, reader = (row < areas[..., None, None]).astype(np.uint8), (row < 30).astype(np.uint8).repeat(3000, axis=0)
    means = [area_crps(pairwise_distances(maps[:, :n], reader)).mean() for n in (2, 8)]
    assert means[0] == pytest.approx(means[1], abs=0.3)
    assert area_crps(pairwise_distances(maps[:, :2], reader), unbiased=False).mean() > means[0] + 2


def test_gaussian_crps_is_its_integral():
    samples, readers = blobs(10, 5), blobs(11, 4)
    found = gaussian_area_crps(pairwise_distances(samples, readers)).value
    for b in range(2):
        predicted, areas = samples[b].sum(axis=(1, 2)).mean(), readers[b].sum(axis=(1, 2))
        middle, deviation = areas.mean(), areas.std()

        def squared(x, predicted=predicted, middle=middle, deviation=deviation):
            return (0.5 * (1 + math.erf((x - middle) / deviation / math.sqrt(2))) - (x >= predicted)) ** 2

        ends = middle - 12 * deviation, middle + 12 * deviation
        whole = integrate.quad(squared, *ends, points=[predicted], limit=200)[0]
        assert found[b] == pytest.approx(whole, rel=1e-5)
    assert gaussian_area_crps(pairwise_distances(stack(FULL), stack(LEFT, LEFT))).value == [2]


# Surfaces


def surface_points(mask, spacing):
    """Pixels with a neighbour outside, in mm, by looking at each."""
    padded = np.pad(mask, 1)
    points = []
    for place in np.argwhere(mask):
        steps = [(axis, step) for axis in range(mask.ndim) for step in (-1, 1)]
        around = [padded[tuple(place + 1 + step * (np.arange(mask.ndim) == axis))] for axis, step in steps]
        if not all(around):
            points.append(place * np.array(spacing))
    return np.array(points)


@pytest.mark.parametrize(
    ("shape", "spacing"), [((20, 24), (1, 1)), ((20, 24), (0.5, 2)), ((8, 9, 10), (2.5, 0.7, 0.7))]
)
def test_surface_distances_of_all_points(shape, spacing):
    samples, readers = blobs(12, 2, shape, 1), blobs(13, 2, shape, 1)
    found = surface_distances(samples, readers, spacing=spacing)
    whole = surface_distances(samples, readers, spacing=spacing, percentile=100)
    for i in range(2):
        for j in range(2):
            a, b = surface_points(samples[0, i], spacing), surface_points(readers[0, j], spacing)
            away = cdist(a, b)
            forth, back = away.min(axis=1), away.min(axis=0)
            ends = max(np.percentile(forth, 95), np.percentile(back, 95))
            assert found.hausdorff[0, i, j] == pytest.approx(ends)
            assert found.average[0, i, j] == pytest.approx((forth.sum() + back.sum()) / (len(a) + len(b)))
            largest = max(directed_hausdorff(a, b)[0], directed_hausdorff(b, a)[0])
            assert whole.hausdorff[0, i, j] == pytest.approx(largest)


def test_surface_distances_are_those_of_simpleitk_and_monai():
    samples, readers = blobs(14, 1, (8, 9, 10)), blobs(15, 1, (8, 9, 10))
    spacing = (2.5, 0.7, 0.6)  # of slices, rows, columns
    found = surface_distances(samples, readers, spacing=spacing, percentile=100)
    for b in range(2):
        both = []
        for maps in (samples, readers):
            image = SimpleITK.GetImageFromArray(maps[b, 0])
            image.SetSpacing(spacing[::-1])
            both.append(SimpleITK.LabelContour(image, False))
        method = SimpleITK.HausdorffDistanceImageFilter()
        method.Execute(*both)
        assert found.hausdorff[b, 0, 0] == pytest.approx(method.GetHausdorffDistance(), rel=1e-5)
    # compute_hausdorff_distance(percentile=95) and compute_average_surface_distance(symmetric=True) of MONAI 1.6.1
    monai = surface_distances(samples, readers, spacing=spacing)
    assert monai.hausdorff.ravel() == pytest.approx([10.1187, 2.9212], abs=1e-4)
    assert monai.average.ravel() == pytest.approx([4.7816, 1.1482], abs=1e-4)


def test_surface_distances_by_hand():
    # one pixel against one three columns (of 2 mm) and four rows (of 1.5 mm) away: sqrt(36 + 36)
    first, second = np.zeros((2, 1, 1, 9, 9), np.uint8)
    first[0, 0, 2, 2], second[0, 0, 6, 5] = 1, 1
    found = surface_distances(first, second, spacing=(1.5, 2))
    assert found.hausdorff == pytest.approx(np.sqrt(72))
    assert found.average == pytest.approx(np.sqrt(72))
    with pytest.raises(InputError, match="does not fit maps with 2 axes"):
        surface_distances(first, second, spacing=(1, 1, 1))


def test_empty_maps_have_a_surface_distance_to_each_other_alone():
    distances = surface_distances(stack(EMPTY, LEFT), stack(EMPTY, FULL))
    assert np.isnan(distances.hausdorff[0, 0, 1])
    assert np.isnan(distances.hausdorff[0, 1, 0])
    assert distances.hausdorff[0, 0, 0] == 0
    best = best_surface_distance(distances)
    assert best.value == [(0 + distances.hausdorff[0, 1, 1]) / 2]
    without = best_surface_distance(surface_distances(stack(LEFT, FULL), stack(EMPTY, FULL)))
    assert without.left_out.all(), "the empty reader is at no distance from any sample"
    # two classes: class 2 is nowhere, so it counts nothing or 0; a class that one lacks leaves no distance
    skip = Convention(3, (1, 2), empty="skip")
    half = surface_distances(stack(LEFT), stack(FULL), Convention(3, (1, 2))).average
    assert surface_distances(stack(LEFT), stack(FULL), skip).average == pytest.approx(2 * half)
    assert np.isnan(surface_distances(stack(LEFT), stack(2 * FULL), skip).average).all()


def test_ignored_pixels_are_of_no_class():
    reader = FULL.copy()
    reader[:, 1] = 255
    assert surface_distances(stack(FULL), stack(reader), Convention(ignore=255)).hausdorff == [[[0]]]
