from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from probunet.core.errors import InputError
from probunet.metrics import Convention, energy_distance, energy_distance_from, pairwise_distances, perfect_energy

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
        result = energy_distance(samples, readers, Convention(weights=[3, 1]), **estimator_n)
        assert result.distance_to_readers == [0.25]
        assert result.reader_diversity == [2 * 0.75 * 0.25]
    doubled = energy_distance(stack(FULL, FULL), readers, Convention(weights=[3, 1]), estimator="unbiased")
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
        distances = pairwise_distances(samples, readers, Convention(empty=empty))
        for estimator in ("v", "unbiased"):
            for n in range(1 if estimator == "v" else 2, 6):
                each = [
                    energy_distance(
                        samples[:, list(chosen)], readers, Convention(empty=empty), estimator=estimator
                    ).value
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
    result = energy_distance(maps, maps, Convention(empty="skip"))
    assert result.left_out.tolist() == [True, False]
    assert np.isnan(result.value[0])
    assert result.mean() == 0.0
    with pytest.raises(InputError, match="none of the 1 images"):
        energy_distance(maps[:1], maps[:1], Convention(empty="skip")).mean()


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
    result = energy_distance(stack(FULL, EMPTY), stack(FULL), Convention(weights=[1.0]), estimator="unbiased")
    assert result.value == [0.0]  # 2 * 0.5 - 1 - 0


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 6), st.integers(2, 5), st.sampled_from(["v", "unbiased"]))
def test_laws(seed, n, r, estimator):
    rng = np.random.default_rng(seed)
    samples, readers = rng.integers(0, 3, (2, n, 5, 5)), rng.integers(0, 3, (2, r, 5, 5))
    options = {"convention": Convention(3), "estimator": estimator}
    value = energy_distance(samples, readers, **options).value
    # the order of samples and of readers means nothing, and the two sides are alike
    shuffled = energy_distance(rng.permutation(samples, axis=1), rng.permutation(readers, axis=1), **options)
    np.testing.assert_allclose(shuffled.value, value, atol=1e-12)
    np.testing.assert_allclose(energy_distance(readers, samples, **options).value, value, atol=1e-12)
    uniform = energy_distance(samples, readers, Convention(num_classes=3, weights=np.ones(r))).value
    np.testing.assert_allclose(uniform, energy_distance(samples, readers, Convention(num_classes=3)).value, atol=1e-12)
    assert (value <= 2).all()
    if estimator == "v":
        assert (value >= -1e-12).all()


def of_points(samples, readers):
    """Maps of one pixel that is 0 or 1: equal ones are at distance 0, others at 1."""
    return [np.asarray(points, np.uint8)[:, :, None] for points in (samples, readers)]


def test_the_limit_of_ever_more_samples_is_unbiased():
    """Two hypotheses at distance 1, which are the two readers: the truth is 0. Over all 16 draws of four samples the
    V-statistic is .5/4 too high on average, the limit is right."""
    draws = np.array(list(product((0, 1), repeat=4)))
    distances = pairwise_distances(*of_points(draws, [[0, 1]] * 16))
    assert energy_distance_from(distances).mean() == pytest.approx(0.5 / 4)
    assert energy_distance_from(distances, estimator="limit").mean() == pytest.approx(0)


def test_members_without_replacement_are_no_independent_draws():
    """A model of two members that are the readers' whole distribution {0, 1}: the excess is 0. Four readers; members
    drawn without replacement taken for independent draws give -1/6 too little; all of them at once give the truth."""
    readers = np.array(list(product((0, 1), repeat=4)))
    distances = pairwise_distances(*of_points([[0, 1, 0, 1]] * 16, readers))
    whole = energy_distance_from(distances, estimator="unbiased", draws="complete")
    assert whole.mean() == pytest.approx(0)
    assert energy_distance_from(distances, estimator="unbiased").mean() == pytest.approx(-1 / 6)
    for estimator in ("unbiased", "limit"):
        with pytest.raises(InputError, match="needs independent samples"):
            energy_distance_from(distances, estimator=estimator, draws="dependent")
    with pytest.raises(InputError, match="draw 2 anew"):
        energy_distance_from(distances, n=2, draws="dependent")
    assert energy_distance_from(distances, draws="dependent").value == pytest.approx(
        energy_distance_from(distances).value
    )


@pytest.mark.parametrize("empty", ["zero", "one"])
def test_a_perfect_model_scores_what_it_must(empty):
    """Samples and readers drawn from the same three maps: the mean of D_GED^2 is that of the line, by simulation."""
    rng = np.random.default_rng(5)
    maps = np.array([[0, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0]], np.uint8)
    samples, readers = (maps[rng.integers(3, size=(6000, count))] for count in (6, 4))
    distances = pairwise_distances(samples, readers, Convention(empty=empty))
    for n in (1, 3, 6):
        scored = energy_distance_from(distances, n=n).value
        line = perfect_energy(distances, n)
        assert scored.mean() == pytest.approx(line.mean(), abs=4 * (scored - line).std() / 6000**0.5)
    # over all subsets, excess and line add up to the V-statistic, image by image
    unbiased = energy_distance_from(distances, estimator="unbiased").value
    if empty == "zero":
        np.testing.assert_allclose(
            energy_distance_from(distances, n=3).value - energy_distance_from(distances, n=6).value,
            distances.samples.sum(axis=(1, 2)) / 30 * (1 / 3 - 1 / 6),
            atol=1e-12,
        )
    assert abs(unbiased.mean()) < 4 * unbiased.std() / 6000**0.5


def test_a_perfect_model_by_hand():
    """Readers at distances 1/2, 1, 1: E d = 5/6; against weights (1/2, 1/4, 1/4): 2 (1/16 + 1/8 + 1/8 ...)."""
    maps = np.array([[[1, 1], [1, 0], [0, 0]]], np.uint8)
    line = perfect_energy(pairwise_distances(maps, maps), 16)
    assert line == pytest.approx(5 / 6 * (1 / 16 + 1 / 3))
    weighted = perfect_energy(pairwise_distances(maps, maps, Convention(weights=[2, 1, 1])), 16)
    assert weighted == pytest.approx(2 * (0.5 / 8 + 1 / 8 + 1 / 16) / 16)
    assert np.isnan(perfect_energy(pairwise_distances(maps[:, :1], maps[:, :1]), 16)).all()
