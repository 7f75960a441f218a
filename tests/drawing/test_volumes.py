"""The contact sheet of a volume: which slices, which window, what is drawn where."""

import numpy as np
import pytest
from PIL import Image

from probunet.drawing.pixels import HYPOTHESIS
from probunet.drawing.volumes import LUNG, SOFT_TISSUE, slices_through, volume_sheet, window_of


def marked(depth, *slices, size=32):
    samples = np.zeros((3, depth, size, size), np.uint8)
    samples[1, list(slices), 8:24, 8:24] = 1
    return samples


@pytest.mark.parametrize(
    ("depth", "slices", "expected"),
    [
        (30, (10, 14), list(range(9, 16))),
        (5, (), [0, 1, 2, 3, 4]),
        (4, (0, 3), [0, 1, 2, 3]),
        (100, (1, 98), [0, 12, 25, 37, 50, 62, 74, 87, 99]),
    ],
)
def test_the_slices_go_through_what_is_marked(depth, slices, expected):
    assert slices_through(marked(depth, *slices)) == expected


def test_the_window_is_that_of_what_is_looked_at():
    tissue = np.full((1, 10, 10), 40.0)
    lung = tissue.copy()
    lung[0, :, :5] = -850
    assert window_of([tissue, tissue], "HU") == SOFT_TISSUE
    assert window_of([tissue, lung], "HU") == LUNG
    assert window_of([np.arange(1001.0).reshape(1, 7, 143)], "") == pytest.approx((5, 995))


def test_a_sheet_shows_slices_and_below_them_every_group(tmp_path):
    samples, asked = marked(12, 5, 6), []

    def slice_of(index):
        asked.append(index)
        return np.full((1, 32, 32), 40.0)

    volume_sheet(tmp_path / "sheet.png", slice_of, samples, [(0, 0.75), (1, 0.25)], 2, "HU", (2.5, 0.7, 0.7))
    assert asked == [4, 5, 6, 7]
    sheet = np.asarray(Image.open(tmp_path / "sheet.png")).astype(int)
    tile, gap, title = 128, 4, 16
    assert sheet.shape == (3 * (tile + title + gap) - gap + 16, 4 * (tile + gap) - gap, 3)
    blue = (sheet - np.array(HYPOTHESIS)).__abs__().sum(axis=-1) < 60

    def has_outline(row, column):
        top, left = row * (tile + title + gap) + title, column * (tile + gap)
        return bool(blue[top : top + tile, left : left + tile].any())

    assert [[has_outline(row, column) for column in range(4)] for row in range(3)] == [
        [False] * 4,
        [False] * 4,  # the empty group
        [False, True, True, False],
    ]
    white = (sheet[: title + tile] > 240).all(axis=-1)
    assert white[title + tile - 7, 6:33].all(), "a bar of 5 mm in 22.4 mm is 29 pixels long"
