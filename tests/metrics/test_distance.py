import numpy as np
import pytest
import torch
from gpu_device import DEVICE
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_metrics import plain_matrix

from probunet import metrics
from probunet.core.errors import InputError
from probunet.metrics import Convention, pairwise_distance, pairwise_distances

EMPTY, FULL, LEFT, RIGHT = (
    np.array(m, np.uint8) for m in ([[0, 0], [0, 0]], [[1, 1], [1, 1]], [[1, 0], [1, 0]], [[0, 1], [0, 1]])
)


def stack(*maps):
    return np.stack(maps)[None]


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [(EMPTY, FULL, 1.0), (FULL, FULL, 0.0), (LEFT, FULL, 0.5), (LEFT, RIGHT, 1.0), (EMPTY, EMPTY, 0.0)],
)
def test_hand_computed(a, b, expected):
    assert pairwise_distance(stack(a), stack(b)) == [[[expected]]]


def test_dice_hand_computed():
    assert pairwise_distance(stack(LEFT), stack(FULL), Convention(overlap="dice")) == pytest.approx(1 - 4 / 6)


def test_empty_conventions():
    maps = stack(EMPTY, FULL)
    assert pairwise_distances(maps, maps, Convention(empty="zero")).cross.tolist() == [[[0, 1], [1, 0]]]
    assert pairwise_distances(maps, maps, Convention(empty="one")).cross.tolist() == [[[1, 1], [1, 0]]]
    skipped = pairwise_distances(maps, maps, Convention(empty="skip"))
    np.testing.assert_array_equal(skipped.cross, [[[np.nan, 1], [1, 0]]])
    assert skipped.left_out.tolist() == [True]


def test_skip_leaves_an_absent_class_out_of_the_average():
    a, b = stack(np.array([[0, 1, 1]])), stack(np.array([[0, 1, 0]]))
    # class 0: 1 - 1/2, class 1: 1 - 1/2, class 2 in neither
    assert pairwise_distance(a, b, Convention(num_classes=3, empty="skip")) == pytest.approx(0.5)
    assert pairwise_distance(a, b, Convention(num_classes=3, empty="zero")) == pytest.approx(1 / 3)
    assert pairwise_distance(a, b, Convention(num_classes=3, empty="one")) == pytest.approx(2 / 3)


def test_ignore_label_leaves_the_pixel_out_of_every_pair():
    samples = stack(FULL, LEFT)
    references = stack(np.array([[255, 1], [1, 1]], np.uint8), LEFT)
    result = pairwise_distances(samples, references, Convention(ignore=255))
    # the first pixel counts for nobody, although the second reader has a class there
    assert result.cross[0] == pytest.approx(np.array([[0, 2 / 3], [2 / 3, 0]]))
    assert result.references[0, 0, 1] == pytest.approx(2 / 3)
    mask = np.array([[[True, False], [False, False]]])
    masked = pairwise_distances(samples, stack(FULL, LEFT), mask=mask)
    np.testing.assert_array_equal(masked.cross, result.cross)


def test_ignore_everywhere_is_left_out_and_not_a_perfect_score():
    maps = np.concatenate([stack(FULL), stack(FULL)])
    references = maps.copy()
    references[0] = 255
    result = pairwise_distances(maps, references, Convention(ignore=255))
    assert result.left_out.tolist() == [True, False]
    assert np.isnan(result.cross[0]).all()
    assert result.cross[1] == 0


def test_areas():
    result = pairwise_distances(stack(LEFT, EMPTY), stack(FULL))
    assert result.sample_area.tolist() == [[[2], [0]]]
    assert result.reference_area.tolist() == [[[4]]]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"samples": np.zeros((1, 1, 2, 2))}, "integer labels"),
        ({"samples": np.zeros((2, 2), int)}, "image axis first"),
        ({"samples": np.zeros((1, 1, 2, 3), int)}, "same number of"),
        ({"samples": stack(FULL) * 7}, "samples hold the label 7"),
        ({"references": stack(FULL) * 7}, "references hold the label 7"),
        ({"samples": -stack(FULL).astype(int)}, "samples hold the label -1"),
        ({"samples": stack(FULL) * 9, "ignore": 9}, "must choose a class"),
        ({"classes": [2]}, "classes"),
        ({"classes": []}, "classes"),
        ({"num_classes": 1}, "num_classes"),
        ({"ignore": 1}, "both evaluated and ignored"),
        ({"mask": np.zeros((1, 2, 2))}, "must be boolean"),
        ({"mask": np.zeros((1, 2, 3), bool)}, "must be boolean"),
        ({"mask": [True]}, "must be boolean"),
        ({"ignore": np.zeros((1, 2, 2), bool)}, "give single pixels as mask="),
        ({"empty": "epsilon"}, "no convention"),
        ({"overlap": "hausdorff"}, "overlap"),
        ({"weights": [0.5, 0.5]}, "2 weights for 1 references"),
        ({"weights": [-1.0]}, "weights must be"),
        ({"weights": [0.0]}, "weights must be"),
    ],
)
def test_bad_input_is_refused_in_one_sentence(changes, message):
    arguments = {"samples": stack(FULL), "references": stack(LEFT), "mask": None} | changes
    maps = [arguments.pop(name) for name in ("samples", "references", "mask")]
    with pytest.raises(InputError, match=message):
        pairwise_distances(maps[0], maps[1], Convention(**arguments), mask=maps[2])


@st.composite
def label_maps(draw):
    seed, dims = draw(st.integers(0, 2**32 - 1)), draw(st.integers(1, 3))
    shape = tuple(draw(st.integers(1, 9)) for _ in range(dims))
    images, n, r, k = draw(st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 3), st.integers(2, 4)))
    rng = np.random.default_rng(seed)
    present = rng.integers(0, k, size=2)  # few classes, so that absent ones are common
    dtype = draw(st.sampled_from([np.uint8, np.int64, np.int16]))
    samples = rng.choice(present, (images, n, *shape)).astype(dtype)
    references = rng.choice(present, (images, r, *shape)).astype(dtype)
    return samples, references, k, rng.random((images, *shape)) < draw(st.sampled_from([0.0, 0.3, 1.0]))


CONVENTIONS = st.sampled_from(["zero", "one", "skip"])


@settings(max_examples=60, deadline=None)
@given(label_maps(), CONVENTIONS, st.sampled_from(["iou", "dice"]))
def test_agrees_with_plain_loops_and_torch(maps, empty, overlap):
    samples, references, k, mask = maps
    convention = Convention(k, empty=empty, overlap=overlap)
    result = pairwise_distances(samples, references, convention, mask=mask)
    classes = (1,) if k == 2 else tuple(range(k))
    for b in range(len(samples)):
        s, r = samples[b], references[b]
        for got, first, second in ((result.cross, s, r), (result.samples, s, s), (result.references, r, r)):
            expected = plain_matrix(first, second, classes, empty, ~mask[b], overlap)
            np.testing.assert_allclose(got[b], expected, atol=1e-12)
    as_tensors = (torch.from_numpy(x) for x in (samples, references))
    tensors = pairwise_distances(*as_tensors, convention, mask=torch.from_numpy(mask))
    np.testing.assert_array_equal(tensors.cross, result.cross)


@settings(max_examples=40, deadline=None)
@given(label_maps())
def test_is_a_metric(maps):
    samples, _, k, _ = maps
    d = pairwise_distance(samples, None, Convention(num_classes=k))
    assert ((d >= 0) & (d <= 1)).all()
    np.testing.assert_array_equal(d, d.swapaxes(1, 2))
    assert (np.diagonal(d, axis1=1, axis2=2) == 0).all()
    through = d[:, :, :, None] + d[:, None, :, :]  # (B, i, j, k): d(i, j) + d(j, k)
    assert (d[:, :, None, :] <= through + 1e-12).all()


def test_large_maps_are_summed_over_blocks():
    rng = np.random.default_rng(0)
    samples, references = (rng.integers(0, 2, (2, m, 70, 41, 53), dtype=np.uint8) for m in (3, 2))
    samples[0] = 1  # every bit of every block set: the 16-bit sums must hold
    result = pairwise_distances(samples, references)
    for b in range(2):
        np.testing.assert_allclose(result.cross[b], plain_matrix(samples[b], references[b], (1,)), atol=1e-12)


def test_threads_give_the_same_as_one():
    rng = np.random.default_rng(1)
    samples, references = (rng.integers(0, 3, (70, m, 9, 11)) for m in (4, 3))
    one, three = (pairwise_distances(samples, references, Convention(num_classes=3), workers=w) for w in (1, 3))
    np.testing.assert_array_equal(one.cross, three.cross)


@pytest.mark.parametrize(
    "device",
    ["cpu", pytest.param(DEVICE, marks=pytest.mark.gpu, id="gpu")],
)
def test_matrix_product_of_an_accelerator_counts_the_same(device, monkeypatch):
    from probunet.metrics import overlap

    rng = np.random.default_rng(2)
    samples, references = (rng.integers(0, 3, (3, m, 15, 11)) for m in (4, 3))
    references[0, 0, :4] = 255
    convention = Convention(3, (0, 2), 255)
    flat = [x.reshape(3, x.shape[1], -1) for x in (samples, references)]
    packed = overlap.count_overlaps(*flat, None, convention)
    tensors = [torch.from_numpy(x).to(device) for x in flat]
    product = overlap._count_on_device(*tensors, None, convention)
    np.testing.assert_array_equal(product.shared, packed.shared)
    np.testing.assert_array_equal(product.valid, packed.valid)
    with pytest.raises(InputError, match="hold the label"):
        overlap._count_on_device(tensors[0] + 7, tensors[1], None, convention)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda maps: maps * 255,  # a mask as a picture has it
        lambda maps: -maps,
        lambda maps: maps * 257,  # 1 in the last byte
        lambda maps: maps * 0.5,
        lambda maps: np.ma.masked_equal(maps, 1),
    ],
    ids=["255", "-1", "257", "0.5", "masked"],
)
@pytest.mark.parametrize(
    "metric",
    [
        metrics.energy_distance,
        metrics.hungarian_iou,
        metrics.surface_distances,
        metrics.cross_correlation,
        metrics.collective_insight,
        lambda samples, _: metrics.class_frequencies(samples),
        lambda samples, _: metrics.sample_diversity(samples),
    ],
)
def test_no_metric_takes_what_is_no_class(metric, spoil):
    maps = np.random.default_rng(0).integers(0, 2, (2, 3, 6, 6))
    metric(maps, maps[:, ::-1])
    with pytest.raises(InputError, match=r"labels are 0 to 1|integer labels|a masked array"):
        metric(spoil(maps), maps)


def test_what_counts_nowhere_may_hold_the_ignore_label():
    maps = np.random.default_rng(0).integers(0, 2, (2, 3, 6, 6))
    maps[:, :, :2] = 255
    convention = Convention(ignore=255)
    for metric in (metrics.surface_distances, metrics.cross_correlation):
        metric(maps, maps, convention)
    assert metrics.class_frequencies(maps, convention)[:, :, :2].max() == 0
    maps[:] = 255
    assert np.isnan(metrics.cross_correlation(maps, maps, convention).value).all()
