from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from probunet.core.errors import InputError
from probunet.metrics import energy_distance, energy_distance_from, energy_limit, pairwise_distances

EMPTY, FULL = np.zeros((4, 4), np.uint8), np.ones((4, 4), np.uint8)


def stack(*maps):
    return np.stack(maps)[None]


def test_hand_computed_terms():
    # two of four readers see a lesion; the samples always do
    result = energy_distance(stack(FULL, FULL), stack(FULL, FULL, EMPTY, EMPTY))
    assert result.distance_to_readers == [0.5]
    assert result.sample_diversity == [0.0]
    assert result.reader_diversity == [0.5]
    assert result.value == [0.5]
    unbiased = energy_distance(stack(FULL, EMPTY), stack(FULL, FULL, EMPTY, EMPTY), estimator="unbiased")
    # 8 of 12 reader pairs differ, both sample pairs differ
    assert unbiased.reader_diversity == pytest.approx(8 / 12)
    assert unbiased.sample_diversity == [1.0]
    assert unbiased.value == pytest.approx(2 * 0.5 - 1 - 8 / 12)


@pytest.mark.parametrize(("a", "b", "expected"), [(EMPTY, EMPTY, 0.0), (EMPTY, FULL, 2.0), (FULL, FULL, 0.0)])
def test_one_sample_one_reader(a, b, expected):
    assert energy_distance(stack(a), stack(b)).value == [expected]


def test_weighted_readers_are_the_whole_distribution():
    samples, readers = stack(FULL), stack(FULL, EMPTY)
    for estimator_n in ({}, {"n": 1}):
        result = energy_distance(samples, readers, weights=[3, 1], **estimator_n)
        assert result.distance_to_readers == [0.25]
        assert result.reader_diversity == [2 * 0.75 * 0.25]
    doubled = energy_distance(stack(FULL, FULL), readers, weights=[[3, 1]], estimator="unbiased")
    assert doubled.reader_diversity == [2 * 0.75 * 0.25]


def test_a_set_with_itself():
    rng = np.random.default_rng(0)
    maps = rng.integers(0, 2, (3, 5, 8, 8))
    assert (energy_distance(maps, maps).value == 0).all()
    unbiased = energy_distance(maps, maps, estimator="unbiased")
    # the cross term meets each map's own twin: 2 (n - 1) / n D - 2 D = -2 D / n
    np.testing.assert_allclose(unbiased.value, -2 * unbiased.sample_diversity / 5)


def test_all_subsets_is_the_average_over_all_subsets():
    rng = np.random.default_rng(1)
    samples, readers = rng.integers(0, 2, (2, 5, 6, 6)), rng.integers(0, 2, (2, 3, 6, 6))
    for empty in ("zero", "one"):
        samples[0, :2] = 0
        distances = pairwise_distances(samples, readers, empty=empty)
        for estimator in ("v", "unbiased"):
            for n in range(1 if estimator == "v" else 2, 6):
                each = [
                    energy_distance(samples[:, list(chosen)], readers, estimator=estimator, empty=empty).value
                    for chosen in combinations(range(5), n)
                ]
                result = energy_distance_from(distances, n=n, estimator=estimator)
                np.testing.assert_allclose(result.value, np.mean(each, axis=0), atol=1e-12)
                first = energy_distance_from(distances, n=n, estimator=estimator, subsets="first")
                np.testing.assert_allclose(first.value, each[0], atol=1e-12)


def test_unbiased_is_unbiased_and_v_is_biased_by_diversity_over_n():
    rng = np.random.default_rng(2)
    readers = rng.random((4000, 4)) < 0.5  # present or absent, so d is 0 or 1
    samples = rng.random((4000, 6)) < 0.5
    maps = [np.repeat(x[:, :, None], 2, axis=2).astype(np.uint8) for x in (samples, readers)]
    distances = pairwise_distances(*maps)
    unbiased = energy_distance_from(distances, estimator="unbiased").mean()
    assert abs(unbiased) < 0.02
    biased = energy_distance_from(distances).mean()
    assert biased == pytest.approx(unbiased + 0.5 / 6 + 0.5 / 4, abs=0.02)


def test_left_out_images_are_counted_and_never_averaged():
    maps = np.concatenate([stack(FULL, EMPTY), stack(FULL, FULL)])
    result = energy_distance(maps, maps, empty="skip")
    assert result.left_out.tolist() == [True, False]
    assert np.isnan(result.value[0])
    assert result.mean() == 0.0
    with pytest.raises(InputError, match="none of the 1 images"):
        energy_distance(maps[:1], maps[:1], empty="skip").mean()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n": 0}, "n=0"),
        ({"n": 3}, "there are 2"),
        ({"estimator": "biased"}, "estimator"),
        ({"subsets": "random"}, "subsets"),
        ({"n": 1, "estimator": "unbiased"}, "one sample"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(InputError, match=message):
        energy_distance(stack(FULL, EMPTY), stack(FULL, EMPTY), **options)


def test_one_reader_has_no_unbiased_diversity_unless_it_is_the_truth():
    with pytest.raises(InputError, match="one reader"):
        energy_distance(stack(FULL, EMPTY), stack(FULL), estimator="unbiased")
    result = energy_distance(stack(FULL, EMPTY), stack(FULL), estimator="unbiased", weights=[1.0])
    assert result.value == [0.0]  # 2 * 0.5 - 1 - 0


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 6), st.integers(2, 5), st.sampled_from(["v", "unbiased"]))
def test_laws(seed, n, r, estimator):
    rng = np.random.default_rng(seed)
    samples, readers = rng.integers(0, 3, (2, n, 5, 5)), rng.integers(0, 3, (2, r, 5, 5))
    options = {"num_classes": 3, "estimator": estimator}
    value = energy_distance(samples, readers, **options).value
    # the order of samples and of readers means nothing, and the two sides are alike
    shuffled = energy_distance(rng.permutation(samples, axis=1), rng.permutation(readers, axis=1), **options)
    np.testing.assert_allclose(shuffled.value, value, atol=1e-12)
    np.testing.assert_allclose(energy_distance(readers, samples, **options).value, value, atol=1e-12)
    uniform = energy_distance(samples, readers, num_classes=3, weights=np.ones(r)).value
    np.testing.assert_allclose(uniform, energy_distance(samples, readers, num_classes=3).value, atol=1e-12)
    assert (value <= 2).all()
    if estimator == "v":
        assert (value >= -1e-12).all()


def test_the_limit_of_ever_more_samples_is_unbiased():
    """Two hypotheses at distance 1, which are the two readers: the truth is 0. Over all 16 draws of four samples the
    V-statistic is .5/4 too high on average, the limit is right."""
    draws = np.array(list(product((0, 1), repeat=4)))
    sample_diversity = (draws[:, :, None] != draws[:, None]).mean(axis=(1, 2))
    half = np.full(16, 0.5)
    assert np.mean(2 * half - sample_diversity - half) == pytest.approx(0.5 / 4)
    assert np.mean(energy_limit(half, sample_diversity, half, n=4, distinct=None)) == pytest.approx(0)
    balanced = draws.sum(axis=1) == 2  # both drawn equally often: the whole distribution
    exact = energy_limit(half, sample_diversity, half, n=4, distinct=2)[balanced]
    assert exact == pytest.approx(np.zeros(6))
    assert np.isnan(energy_limit(half, sample_diversity, half, n=5, distinct=2)).all()
    assert np.isnan(energy_limit(half, sample_diversity, half, n=1, distinct=None)).all()
