"""How large hypotheses are, and gaps between their slices: by hand and against plain loops."""

import math

import numpy as np
import pytest
import scoringrules
from scipy import ndimage
from scipy.spatial.distance import pdist

from probunet.core.errors import InputError
from probunet.evaluation.field_scores import field_scores
from probunet.metrics import Convention, area_crps, area_error, gap_share, pairwise_distances, sizes
from probunet.metrics.measures import Spread

MM = (2.0, 0.5, 0.25)
RANDOM = np.random.default_rng(0)


def volume(*boxes, shape=(4, 12, 16)):
    """Ones in boxes of slices, rows, columns."""
    labels = np.zeros(shape, np.uint8)
    for box in boxes:
        labels[tuple(slice(*ends) for ends in box)] = 1
    return labels


def test_sizes_by_hand():
    row = volume(((1, 2), (3, 4), (2, 10)))  # 8 columns of .25 mm in a row: 2 mm long, .5 mm high
    box = volume(((0, 1), (0, 6), (0, 16)), ((1, 2), (0, 2), (0, 2)))  # 3 mm x 4 mm, and something smaller above it
    measured = sizes(np.stack([row, np.zeros_like(row), box]), spacing=MM)
    assert measured.size.tolist() == [8 * 0.25, 0, (96 + 4) * 0.25]
    assert measured.unit == "mm3"
    # between the middles of edges: the row ends on either side, the box from a corner's edge to that across
    across = math.hypot(2.5, 4)  # from the left edge of its first row to the right edge of its last
    other = math.hypot(3, 3.75)  # from the upper edge of its first column to the lower edge of its last
    assert measured.diameter == pytest.approx([2, 0, max(across, other)])
    assert measured.perpendicular[:2] == pytest.approx([0.5, 0])
    assert measured.empty == pytest.approx(1 / 3)
    assert [measured.above(t) for t in (0, 2, 25)] == pytest.approx([2 / 3, 1 / 3, 0])
    said = measured.as_json(above=(2, 10.5))
    assert said["probability_above"] == {"2": 1 / 3, "10.5": 1 / 3}
    assert (said["unit"], said["median"], said["probability_empty"]) == ("mm3", 2, measured.empty)
    assert (said["diameter"]["unit"], said["diameter"]["median"]) == ("mm", 2)
    assert said["interval_90"] == pytest.approx(np.quantile([2, 0, 25], [0.05, 0.95]).tolist())
    assert said["interval_50"] == [1, 13.5]


def test_parts_are_measured_one_by_one():
    apart = volume(((0, 1), (0, 1), (0, 1)), ((0, 1), (11, 12), (15, 16)), ((2, 3), (5, 6), (5, 8)))
    assert sizes(apart[None]).diameter == pytest.approx([3]), "two far pixels are no diameter"
    touching = volume(((0, 1), (0, 2), (0, 2)), ((0, 1), (2, 3), (2, 3)))
    assert sizes(touching[None]).diameter == pytest.approx([math.hypot(2, 3)])
    assert sizes(volume(((0, 1), (4, 5), (4, 5)))[None]).diameter == [1], "a pixel is one pixel long"
    other = 3 * apart
    assert sizes(other[None], label=3).diameter == pytest.approx([3])
    assert sizes(other[None]).empty == 1


@pytest.mark.parametrize("spacing", [None, (0.7, 0.7), (0.5, 1.5)])
def test_the_longest_diameter_and_the_chord_across_by_plain_loops(spacing):
    for _ in range(4):
        mask = ndimage.binary_closing(ndimage.gaussian_filter(RANDOM.normal(size=(18, 20)), 2) > 0.05)
        parts, count = ndimage.label(mask, np.ones((3, 3)))
        measured = sizes(mask.astype(np.uint8)[None], spacing=spacing)
        assert measured.unit == ("pixels" if spacing is None else "mm2")
        longest = []
        for number in range(1, count + 1):
            places = np.argwhere(parts == number)[:, None] + np.array([(0, 0.5), (0, -0.5), (0.5, 0), (-0.5, 0)])
            longest.append(pdist(places.reshape(-1, 2) * (spacing or (1, 1))).max())
        assert measured.diameter[0] == pytest.approx(max(longest))
        assert 0 < measured.perpendicular[0] <= measured.diameter[0]


def test_the_diameters_of_a_disc_and_an_ellipse():
    y, x = np.mgrid[-40:41, -40:41] * 0.5
    tilted = (((x + y) / 2) ** 2 / 8**2 + ((x - y) / 2) ** 2 / 4**2 < 0.5).astype(np.uint8)
    both = np.stack([(y**2 + x**2 < 15**2).astype(np.uint8), tilted])
    measured = sizes(both, spacing=(0.5, 0.5))
    assert measured.diameter == pytest.approx([30, 16], abs=0.6)
    assert measured.perpendicular == pytest.approx([30, 8], abs=0.6)
    assert measured.size == pytest.approx([math.pi * 15**2, math.pi * 8 * 4], rel=0.02)


def test_without_a_distance_between_slices_volumes_are_in_voxels_and_diameters_in_mm():
    maps = volume(((1, 3), (2, 6), (3, 5)))[None]
    whole, flat = sizes(maps, spacing=(2.0, 0.5, 0.25)), sizes(maps, spacing=(None, 0.5, 0.25))
    assert (whole.unit, whole.size.tolist()) == ("mm3", [16 * 0.25])
    assert (flat.unit, flat.length, flat.size.tolist()) == ("voxels", "mm", [16])
    assert flat.diameter.tolist() == whole.diameter.tolist()


def test_maps_that_cannot_be_measured_are_refused():
    with pytest.raises(InputError, match="are not one or more label maps"):
        sizes(np.zeros((2, 3), np.uint8))
    with pytest.raises(InputError, match="does not fit maps with 3 axes"):
        sizes(np.zeros((1, 2, 3, 4), np.uint8), spacing=(1, 1))


def test_gaps_by_hand():
    columns = np.array(
        [[1, 0, 1, 1], [1, 1, 0, 0], [0, 0, 0, 0], [0, 1, 0, 1], [2, 0, 0, 2], [0, 0, 1, 0]], np.uint8
    ).reshape(2, 3, 4, 1, 1)
    assert gap_share(columns) == pytest.approx([1 / 3, 1 / 3])
    assert gap_share(columns, label=2) == pytest.approx([0, 1 / 3])
    with pytest.raises(InputError, match="no volumes"):
        gap_share(columns[0])


def test_the_crps_of_volumes_is_that_of_scoringrules():
    samples, readers = (RANDOM.integers(0, 2, (3, n, 2, 3, 4), dtype=np.uint8) for n in (6, 4))
    distances = pairwise_distances(samples, readers)
    drawn, read = (maps.sum(axis=(2, 3, 4)) * 0.25 for maps in (samples, readers))
    for unbiased, estimator in ((True, "fair"), (False, "nrg")):
        each = scoringrules.crps_ensemble(read, drawn[:, None].repeat(4, axis=1), estimator=estimator)
        assert area_crps(distances, 0.25, unbiased=unbiased).value == pytest.approx(each.mean(axis=1))
        relative = area_crps(distances, 0.25, unbiased=unbiased, relative=True).value
        assert relative == pytest.approx(each.mean(axis=1) / read.mean(axis=1))


def test_volume_errors_by_hand():
    # samples of 0, 2 and 9 voxels, readers of 2, 5 and 0: the median is off by 0, 3 and 2
    row = np.arange(9)[None, None, None, None]
    samples, readers = (
        (row < np.array(counts).reshape(1, 3, 1, 1, 1)).astype(np.uint8) for counts in ((0, 9, 2), (2, 5, 0))
    )
    distances = pairwise_distances(samples, readers)
    assert area_error(distances, 0.5).value == pytest.approx([0.5 * 5 / 3])
    assert area_error(distances, 0.5, relative=True).value == pytest.approx([(5 / 3) / (7 / 3)])
    assert area_error(pairwise_distances(samples, 0 * readers), relative=True).left_out.all()
    weighted = pairwise_distances(samples, readers, Convention(weights=(1, 1, 2)))
    assert area_error(weighted).value == pytest.approx([(0 + 3 + 2 * 2) / 4])


def test_figures_of_sizes_and_gaps_leave_ignored_voxels_out():
    samples = np.stack([volume(((0, 1), (0, 1), (0, 4))), volume(((0, 1), (0, 1), (0, 2)), ((2, 3), (0, 1), (0, 6)))])
    readers = np.stack([volume(((0, 1), (0, 1), (0, 3))), volume()])
    values = field_scores(samples[None], readers[None], Convention(), ("sizes", "gaps"), (1, 1, 2))
    named = {name: value.item() for (name, _), value in values.items()}
    assert (named["gaps"], named["reader_gaps"]) == (0.5, 0)
    assert (named["area_median"], named["diameter_median"], named["empty"]) == (12, 10, 0)
    assert (named["reader_area"], named["reader_diameter"], named["reader_empty"]) == (3, 3, 0.5)
    assert (named["area_low"], named["area_high"]) == pytest.approx((8.4, 15.6))
    assert named["area_inside"] == 0
    unknown = readers.copy()
    unknown[1, 2] = 7
    ignoring = field_scores(samples[None], unknown[None], Convention(ignore=7), ("sizes",), (1, 1, 2))
    assert ignoring["area_median", 0] == [6]
    assert "gaps" not in {name for name, _ in field_scores(samples, readers, Convention(), ("gaps",))}


def test_a_spread_interpolates():
    assert Spread.of(np.arange(5.0)) == Spread(2, (1, 3), (0.2, 3.8))
