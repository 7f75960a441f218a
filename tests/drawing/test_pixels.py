"""Pictures of segmentations, pixel by pixel."""

import numpy as np
from matplotlib.figure import Figure
from PIL import Image as PILImage

from probunet.data.flips import Flip
from probunet.drawing.pictures import show
from probunet.drawing.pixels import HYPOTHESIS, as_rgb, class_palette, contact_sheet, mosaic, paint

GREY = np.full((1, 5, 5), 100.0)


def test_background_stays_and_a_lesion_is_tinted_with_a_strong_border():
    label = np.zeros((5, 5), np.uint8)
    label[1:4, 1:4] = 1
    picture = paint(GREY, label, class_palette(2, ()))
    plain = as_rgb(GREY)
    assert np.array_equal(picture[0, 0], plain[0, 0])
    inner = 0.7 * plain[2, 2] + 0.3 * np.array(HYPOTHESIS)
    assert np.array_equal(picture[2, 2], inner.round())
    border = 0.1 * inner + 0.9 * np.array(HYPOTHESIS)
    assert np.abs(picture[1, 1] - border).max() <= 1


def test_ignored_pixels_are_not_painted():
    label = np.full((5, 5), 255, np.uint8)
    assert np.array_equal(paint(GREY, label, class_palette(2, ())), as_rgb(GREY))


def test_every_class_has_a_colour_of_its_own():
    flips = (Flip(1, 7, 0.5), Flip(2, 8, 0.5), Flip(3, 9, 0.5), Flip(4, 10, 0.5), Flip(5, 11, 0.5))
    colours = class_palette(12, flips)[:12]
    assert len(np.unique(colours, axis=0)) == 12
    flips = [Flip(k, 19 + i, 0.5) for i, k in enumerate((1, 8, 11, 13, 0))]  # Cityscapes
    assert len(np.unique(class_palette(24, flips)[:24], axis=0)) == 24


def test_a_mosaic_goes_row_by_row():
    tiles = [np.full((2, 3, 3), value, np.uint8) for value in (10, 20, 30)]
    sheet = mosaic(tiles, 2, gap=1)
    assert sheet.shape == (5, 7, 3)
    assert sheet[0, :, 0].tolist() == [10, 10, 10, 255, 20, 20, 20]
    assert sheet[4, :, 0].tolist() == [30, 30, 30, 255, 255, 255, 255]


def test_colour_images_are_shown_as_they_are():
    image = np.arange(48, dtype=np.uint8).reshape(3, 4, 4)
    assert np.array_equal(as_rgb(image), np.moveaxis(image, 0, -1))


def test_every_line_of_a_title_is_shortened_by_itself():
    axis = Figure().subplots()
    show(axis, as_rgb(GREY), "1: reader 1\n2: reader 2: empty\n" + "0123456789" * 3)
    assert axis.get_title() == "1: reader 1\n2: reader 2: empty\n…2345678901234567890123456789"


def test_a_contact_sheet_shows_every_hypothesis_at_its_place(tmp_path):
    """32 px tiles are enlarged four times; each hypothesis fills another quarter."""
    samples = np.zeros((4, 32, 32), np.uint8)
    for i in range(4):
        samples[i, 16 * (i // 2) : 16 * (i // 2) + 16, 16 * (i % 2) : 16 * (i % 2) + 16] = 1
    shares = np.stack([1 - samples.mean(axis=0), samples.mean(axis=0)]).astype(np.float32)
    contact_sheet(tmp_path / "sheet.png", np.full((1, 32, 32), 7.0), samples, shares, [(0, 0.25)])
    with PILImage.open(tmp_path / "sheet.png") as opened:
        sheet = np.asarray(opened)
    side, title, gap = 128, 16, 4
    assert sheet.shape == (2 * (side + title) + gap, 4 * side + 3 * gap, 3)
    for i in range(4):
        tile = sheet[side + 2 * title + gap :, i * (side + gap) : i * (side + gap) + side]
        assert np.array_equal(tile[..., 2].astype(int) > tile[..., 0], samples[i].repeat(4, 0).repeat(4, 1) == 1)
