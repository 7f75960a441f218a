"""A model of crops, each scaled by its own range, sees that range again, or the picture is refused."""

import dataclasses

import numpy as np
import pytest

import probunet as pu
from probunet.core.intensity import Intensity
from probunet.inference.units import crop_of_range, in_own_range
from probunet.inference.view import View
from probunet.io.pictures import picture_of
from probunet.runs.exported import ExportedModel, save

UNIT = "grey level, own range of a 16x16 px crop as 0 to 255"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own") / "model"
    given = {"unit": UNIT, "offset": 128.0, "scale": 64.0}
    classes = ["background", "lesion"]
    shown = {"intensity": given, "crop": 8, "classes": classes, "spacing_mm": None, "title": "", "simulated": None}
    save(pu.UNet(channels=(2, 2), convolutions=1), folder, input=shown)
    return ExportedModel(folder)


def seen(trained, values, unit="", at=None):
    return View(trained, picture_of(values, unit=unit), at).image(0)[0]


def ramp(low: float, high: float, size: int = 16) -> np.ndarray:
    return np.linspace(low, high, size * size).reshape(1, size, size)


def test_the_unit_names_the_crop():
    assert crop_of_range(UNIT) == (16, 16)
    assert crop_of_range("grey level") is crop_of_range("HU") is None


def test_raw_values_of_any_unit_are_the_same_picture(trained):
    middle = ((ramp(0, 255)[0] - 128) / 64)[4:12, 4:12]
    for values, unit in ((ramp(-1000, 400), "HU"), (ramp(3, 4.5), ""), (ramp(0, 255), "grey level")):
        np.testing.assert_allclose(seen(trained, values, unit), middle, atol=1e-4)


def test_a_place_in_a_larger_picture_has_the_range_of_the_crop_around_it(trained):
    large = np.full((1, 40, 40), 9000.0)
    large[:, 12:28, 12:28] = ramp(-1000, 400)
    expected = seen(trained, ramp(-1000, 400))
    np.testing.assert_allclose(seen(trained, large, "HU", at=(20, 20)), expected, atol=1e-4)


def test_the_middle_is_looked_at_and_the_user_knows(trained):
    view = View(trained, picture_of(ramp(0, 1)))
    assert dataclasses.astuple(view.field) == (4, 4, 8, 8)
    assert "only the middle 8x8 px are looked at, as in the training" in view.notes


@pytest.mark.parametrize(
    ("values", "unit", "at", "words"),
    [
        (ramp(20, 200).astype(np.uint8), "", None, "run from 20 to 200"),
        (ramp(0, 254), "grey level", None, "from 0 to 254"),
        (ramp(7, 7), "HU", None, "a single value"),
        (ramp(0, 1, size=17), "HU", None, "17x17 px, but the model was trained on crops of 16x16"),
        (ramp(0, 1, size=12), "HU", (6, 6), "12x12 px, but"),
    ],
)
def test_what_was_scaled_in_an_unknown_way_is_refused(trained, values, unit, at, words):
    with pytest.raises(pu.InputError, match=words):
        seen(trained, values, unit, at)


def test_eight_bits_of_the_whole_range_are_taken_as_they_are():
    raw = np.uint8([[0, 100], [255, 7]])
    values, note = in_own_range(raw, raw, "grey level")
    assert (values.tolist(), note) == (raw.tolist(), "")
    shown = Intensity(UNIT, 128.0, 64.0).normalise(values)
    assert shown[0, 0] == -2
