"""Hand-drawn outlines, and the agreement of the sub-pixel rule with "fill minus own pixels" on the scan's grid."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from probunet.data.lidc.contours import Contour, Grid, rasterise

NATIVE = Grid((0.0, 0.0), 1.0, 12, 14)


def outline(*corners):
    """Chain of neighbouring pixels through the corners."""
    points = [corners[0]]
    for x, y in [*corners[1:], corners[0]]:
        while points[-1] != (x, y):
            here = points[-1]
            points.append((here[0] + np.sign(x - here[0]), here[1] + np.sign(y - here[1])))
    return np.array(points, np.int16)


def fill_minus_own(points, grid):
    image = Image.new("1", (grid.width, grid.height))
    ImageDraw.Draw(image).polygon([tuple(p) for p in points.tolist()], fill=1, outline=1)
    mask = np.array(image, np.uint8)
    mask[points[:, 1], points[:, 0]] = 0
    return mask


def test_a_square_loses_its_own_pixels():
    mask = rasterise([Contour(outline((2, 3), (6, 3), (6, 8), (2, 8)), True)], NATIVE)
    expected = np.zeros((12, 14), np.uint8)
    expected[4:8, 3:6] = 1
    assert mask.dtype == np.uint8
    np.testing.assert_array_equal(mask, expected)


def test_x_is_the_column():
    mask = rasterise([Contour(outline((1, 2), (9, 2), (9, 5), (1, 5)), True)], NATIVE)
    rows, columns = np.nonzero(mask)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (3, 4, 2, 8)


def test_a_hole_takes_its_own_pixels_with_it():
    outer = Contour(outline((1, 1), (10, 1), (10, 10), (1, 10)), True)
    hole = Contour(outline((4, 4), (7, 4), (7, 7), (4, 7)), False)
    expected = np.zeros((12, 14), np.uint8)
    expected[2:10, 2:10] = 1
    expected[4:8, 4:8] = 0
    np.testing.assert_array_equal(rasterise([hole, outer], NATIVE), expected)


def test_two_outlines_are_united():
    a = Contour(outline((1, 1), (4, 1), (4, 4), (1, 4)), True)
    b = Contour(outline((3, 3), (8, 3), (8, 8), (3, 8)), True)
    union = rasterise([a], NATIVE) | rasterise([b], NATIVE)
    np.testing.assert_array_equal(rasterise([a, b], NATIVE), union)


@pytest.mark.parametrize(
    "points",
    [
        [(5, 5)],
        [(5, 5), (5, 5)],
        [(3, 3), (4, 4), (5, 5), (6, 6), (5, 5), (4, 4), (3, 3)],
        [(3, 3), (4, 3), (4, 4), (3, 4), (3, 3)],
    ],
    ids=["point", "point closed", "diagonal", "two by two"],
)
def test_an_outline_without_interior_is_empty(points):
    contour = Contour(np.array(points, np.int16), True)
    assert not rasterise([contour], NATIVE).any()
    assert not rasterise([contour], Grid.centred((5, 5), 0.1, 150, 1.0)).any()


def test_a_diamond_of_four_pixels_holds_one():
    diamond = Contour(np.array([(5, 4), (6, 5), (5, 6), (4, 5), (5, 4)], np.int16), True)
    mask = rasterise([diamond], NATIVE)
    assert mask.sum() == 1
    assert mask[5, 5] == 1


def test_nothing_drawn_or_outside_the_grid_is_empty():
    far = Contour(outline((100, 100), (120, 100), (120, 120)), True)
    assert not rasterise([], NATIVE).any()
    assert not rasterise([far], NATIVE).any()


def test_an_outline_over_the_border_is_cut():
    contour = Contour(outline((-5, -5), (20, -5), (20, 20), (-5, 20)), True)
    assert rasterise([contour], NATIVE).all()


def test_a_long_step_counts_as_outline():
    triangle = Contour(np.array([(1, 1), (9, 1), (1, 9)], np.int16), True)
    expected = fill_minus_own(outline((1, 1), (9, 1), (1, 9)), NATIVE)
    np.testing.assert_array_equal(rasterise([triangle], NATIVE), expected)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(-1, 1), st.integers(-1, 1)), min_size=4, max_size=60),
    st.integers(0, 2**16),
)
def test_on_the_scans_grid_it_is_fill_minus_own_pixels(steps, seed):
    """Star-shaped outlines with a random radius, made of single steps."""
    rng = np.random.default_rng(seed)
    angles = np.sort(rng.uniform(0, 2 * np.pi, len(steps)))
    radius = rng.uniform(2, 12, len(steps))
    corners = np.rint(np.stack([15 + radius * np.cos(angles), 15 + radius * np.sin(angles)], 1)).astype(int)
    points = outline(*[tuple(c) for c in corners.tolist()])
    grid = Grid((0.0, 0.0), 1.0, 31, 31)
    np.testing.assert_array_equal(rasterise([Contour(points, True)], grid), fill_minus_own(points, grid))


@pytest.mark.parametrize("spacing", [0.05, 0.11])
def test_area_at_fine_spacing_is_the_outline_less_half_a_pixel(spacing):
    square = Contour(outline((2, 2), (12, 2), (12, 12), (2, 12)), True)
    size = int(8 / spacing)
    mask = rasterise([square], Grid.centred((7, 7), spacing, size, 0.7))
    assert mask.sum() * spacing**2 == pytest.approx((9 * 0.7) ** 2, rel=0.03)


def test_centre_lies_in_the_middle():
    square = Contour(outline((2, 2), (12, 2), (12, 12), (2, 12)), True)
    for size in (40, 41):
        mask = rasterise([square], Grid.centred((7, 7), 0.5, size, 0.7))
        np.testing.assert_array_equal(mask, mask[::-1])
        np.testing.assert_array_equal(mask, mask[:, ::-1])


def test_a_refined_grid_covers_the_same_place():
    grid = Grid.centred((7.0, 9.0), 0.9, 20, 0.7)
    fine = grid.refined(3)
    centres = grid.origin[0] + grid.step * np.arange(20)
    finer = fine.origin[0] + fine.step * np.arange(60)
    np.testing.assert_allclose(finer.reshape(20, 3).mean(1), centres)
