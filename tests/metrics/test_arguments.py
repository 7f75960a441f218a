"""Arguments of metrics that have no meaning: one sentence, for every metric that takes such a one."""

import re

import numpy as np
import pytest

from probunet import metrics as m
from probunet.core.errors import InputError

READERS = np.zeros((2, 3, 4, 4), np.uint8)
SAMPLES = np.ones((2, 4, 4, 4), np.uint8)
DISTANCES = m.pairwise_distances(SAMPLES, READERS)
HALF = np.full((2, 2, 4, 4), 0.5)


@pytest.mark.parametrize("n", [2.5, True, "2", 0, -1])
@pytest.mark.parametrize("metric", [m.energy_distance, m.best_dice, m.hungarian_iou])
def test_numbers_of_samples_are_whole(metric, n):
    convention = m.FOREGROUND.with_overlap("dice") if metric is m.best_dice else m.FOREGROUND
    with pytest.raises(InputError, match=re.escape(f"n={n} must be a whole number, 1 or more")):
        metric(SAMPLES, READERS, convention, n=n)


@pytest.mark.parametrize("pixel", [0, -1, float("nan"), float("inf")])
@pytest.mark.parametrize("metric", [m.area_crps, m.area_error, m.gaussian_area_crps])
def test_a_pixel_has_a_size(metric, pixel):
    with pytest.raises(InputError, match=re.escape(f"pixel={pixel} must be a finite number above 0")):
        metric(DISTANCES, pixel)


@pytest.mark.parametrize("p_values", [[0.1, 1.5], [-0.1], [float("nan")], [[0.1, 0.2]]])
def test_p_values_lie_between_0_and_1(p_values):
    with pytest.raises(InputError, match="a row of numbers from 0 to 1"):
        m.holm(p_values)


@pytest.mark.parametrize("weights", [[1, 2], [1, -2, 3], [1, float("nan"), 3], [0, 0, 0], [[1, 1, 1]]])
def test_votes_have_one_weight_each(weights):
    with pytest.raises(InputError, match="give each one a number from 0"):
        m.majority(READERS[0], weights)


@pytest.mark.parametrize("metric", [m.reliability, m.disagreement_correlation])
def test_probabilities_are_those_of_all_classes(metric):
    with pytest.raises(InputError, match=re.escape("sum to 0.8 over the classes")):
        metric(HALF - 0.1, READERS)
    metric(HALF.astype(np.float16), READERS)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"groups": [1, None, "a"]}, "groups hold values of several kinds"),
        ({"groups": [1, "1", "a"]}, "groups hold values of several kinds"),
        ({"resamples": 2.5}, "resamples=2.5 must be a whole number"),
        ({"resamples": 0}, "resamples=0 must be a whole number"),
        ({"seed": -1}, "--seed -1 is no seed"),
        ({"seed": "x"}, "--seed x is no seed"),
    ],
)
@pytest.mark.parametrize("shape", [(3,), (2, 3)])
def test_options_of_a_bootstrap(options, words, shape):
    function = m.bootstrap_interval if len(shape) == 1 else m.bootstrap_seeds
    with pytest.raises(InputError, match=re.escape(words)):
        function(np.ones(shape), **options)


def test_threads_and_bins_are_whole_numbers():
    with pytest.raises(InputError, match="workers=0 must be a whole number"):
        m.energy_distance(SAMPLES, READERS, workers=0)
    with pytest.raises(InputError, match=re.escape("bins=2.5 must be a whole number")):
        m.reliability(HALF, READERS, bins=2.5)


def test_what_is_measured_exists():
    with pytest.raises(InputError, match=re.escape("classes=1.5 must be a whole number")):
        m.Convention(2, classes=(1.5,))
    with pytest.raises(InputError, match=re.escape("num_classes=2.5 must be a whole number")):
        m.Convention(2.5)
    with pytest.raises(InputError, match="of_class=1 is no position among the 1 evaluated classes"):
        m.presence_disagreement(DISTANCES, of_class=1)
    for threshold in (-1, 2, float("nan")):
        with pytest.raises(InputError, match="must be from 0 to below 1"):
            m.area_disagreement(DISTANCES, threshold=threshold)
    with pytest.raises(InputError, match="there is no sample to compare with"):
        m.energy_distance(SAMPLES[:, :0], READERS)
    with pytest.raises(InputError, match="give every image a group"):
        m.bootstrap_interval([1.0, 2.0], [float("nan"), 1.0])


def test_label_maps_to_measure_are_integers_and_spacings_of_any_kind():
    with pytest.raises(InputError, match="maps must be an array or tensor of integer labels, not float64"):
        m.sizes(SAMPLES[0] * 1.0)
    with pytest.raises(InputError, match=re.escape("label=1.5 must be a whole number")):
        m.sizes(SAMPLES[0], 1.5)
    assert m.sizes(SAMPLES[0], spacing=np.array([1.0, 2.0])).size.tolist() == [32.0] * 4
    by_array = m.surface_distances(SAMPLES, READERS, spacing=np.array([1.0, 2.0]))
    assert np.isnan(by_array.hausdorff).all()
    for spacing in (2.0, (), (1.0, 0.0), (1.0, float("inf"))):
        for measured in (
            lambda s: m.sizes(SAMPLES[0], spacing=s),
            lambda s: m.surface_distances(SAMPLES, READERS, spacing=s),
        ):
            with pytest.raises(InputError, match="spacing"):
                measured(spacing)


def test_infinite_values_have_no_mean():
    with pytest.raises(InputError, match="values holds 1 infinite values"):
        m.bootstrap_interval([1, np.inf, 2])
    with pytest.raises(InputError, match="b holds 1 infinite values"):
        m.compare([1, 2], [np.inf, 2])
