"""Volumes in memory as a store: arrays of one size, or lists of volumes that differ in theirs."""

import numpy as np
import pytest
import torch

import probunet as pu
from probunet.core.errors import InputError
from probunet.core.types import IGNORE

DEPTHS = (3, 5, 4)
WIDE = pu.Intensity("", 0, 1e300)


def volumes(depths=DEPTHS):
    """One channel of values of the order of one; the second volume has two readers, the others one."""
    random = np.random.default_rng(0)
    images = [random.normal(size=(1, depth, 6, 7)).astype(np.float32) for depth in depths]
    labels = [np.zeros((1 + i % 2, depth, 6, 7), np.uint8) for i, depth in enumerate(depths)]
    for reading in labels:
        reading[..., 1, 2, 3] = 1
    return images, labels


@pytest.mark.parametrize("form", [tuple, lambda pair: list(zip(*pair, strict=True))])
def test_volumes_of_different_depth_keep_their_size_and_their_readers(tmp_path, form):
    images, labels = volumes()
    spacings = [(2.0, 0.5, 0.5), None, (1.0, 0.5, 0.5)]
    store = pu.make_store(form((images, labels)), tmp_path / "store", spacing_mm=spacings, shares=(1, 0, 0))
    assert (store.dims, store.readers, store.manifest["spacing_mm"]) == (3, 2, None)
    assert [store.size(row) for row in range(3)] == [(depth, 6, 7) for depth in DEPTHS]
    assert [store.spacing(row) for row in range(3)] == spacings
    assert [store.affine(row) for row in range(3)] == [None] * 3
    assert store.present.tolist() == [[True, False], [True, True], [True, False]]
    for row in range(3):
        np.testing.assert_array_equal(store.images[row], images[row])
        np.testing.assert_array_equal(store.labels[row][: len(labels[row])], labels[row])
        assert (store.labels[row][len(labels[row]) :] == IGNORE).all()


def test_arrays_of_volumes_are_those_of_lists(tmp_path):
    images, labels = volumes((4, 4))
    of_one = [reading[0] for reading in labels]  # (D, H, W)
    lists = pu.make_store((images, of_one), tmp_path / "a", shares=(1, 0, 0), spacing_mm=(2, 0.5, 0.5))
    arrays = torch.from_numpy(np.stack(images)), np.stack(of_one)
    store = pu.make_store(arrays, tmp_path / "b", shares=(1, 0, 0), spacing_mm=(2, 0.5, 0.5))
    assert store.identity() == lists.identity()
    assert store.manifest["spacing_mm"] == [2.0, 0.5, 0.5]
    assert store.spacing(1) == (2.0, 0.5, 0.5)


@pytest.mark.parametrize(
    ("change", "arguments", "words"),
    [
        (lambda i, y: (i, y[:2]), {}, "3 in a list and labels 2 in a list"),
        (lambda i, y: (np.zeros((2, 1, 1, 4, 5, 6)), y), {}, "or volumes, with a depth D before H"),
        (lambda i, y: ([i[0][0], *i[1:]], y), {}, r"item 0 of the data has labels \(1, 3, 6, 7\); needed are \(R, H"),
        (lambda i, y: ([*i[:2], i[2][:, 0]], [*y[:2], y[2][:, 0]]), {}, r"needed are \(C, D, H, W\)"),
        (lambda i, y: ([*i[:2], i[2][:, :2]], y), {}, r"item 2 of the data has an image \(1, 2, 6, 7\)"),
        (lambda i, y: ([*i[:2], i[2].repeat(2, axis=0)], y), {}, r"item 2 .* image \(2, 4, 6, 7\)"),
        (lambda i, y: (i, y), {"spacing_mm": (1.0, 1.0)}, "does not fit 3 items of 3 axes; give mm"),
        (lambda i, y: (i, [x * 255 for x in y]), {}, "write the marks of masks of 0 and 255 as 1"),
        (lambda i, y: (i, y), {"readers": "AB"}, "readers=AB must be a list of different names"),
        (lambda i, y: (i, y), {"readers": ["A", "A"]}, "readers=.* must be a list of different names"),
        (lambda i, y: (i, y), {"readers": ["A", "a"]}, "readers 'A' and 'a', which differ in upper and lower case"),
        (
            lambda i, y: ([x.astype(float) * 1e300 for x in i], y),
            {"intensity": pu.Intensity("", 0, 1e300)},
            "not finite in single precision",
        ),
        (lambda i, y: (i, y), {"classes": "ab"}, "classes=ab must be a list of different names"),
        (lambda i, y: (i, y), {"patients": ["a", None, "b"]}, "item 1 has no patient"),
        (lambda i, y: (i, y), {"patients": ["a", "b", float("nan")]}, "item 2 has no patient"),
        (lambda i, y: (i, y), {"seed": -1}, "--seed -1 is no seed"),
        (lambda i, y: (i, y), {"readers": ("A", "B", "C")}, "readers has 3 names, but the items have up to 2 labels"),
        (lambda i, y: (i, y), {"spacing_mm": [(1.0, 1.0, 0.0)] * 3}, "does not fit 3 items of 3 axes"),
    ],
)
def test_items_that_do_not_fit_are_one_sentence(tmp_path, change, arguments, words):
    with pytest.raises(InputError, match=words):
        pu.make_store(change(*volumes()), tmp_path / "store", shares=(1, 0, 0), **arguments)
    assert not (tmp_path / "store").exists()


def test_the_background_is_class_0(tmp_path):
    items = (np.zeros((4, 1, 8, 8), np.float32), np.ones((4, 1, 8, 8), np.uint8))
    with pytest.raises(InputError, match="the list of classes gives 'background' the value 1"):
        pu.make_store(items, tmp_path / "store", classes=("lesion", "background"))


@pytest.mark.parametrize("form", [tuple, lambda pair: list(zip(*pair, strict=True))])
def test_a_mask_over_an_array_is_not_lost(tmp_path, form):
    image = np.ma.array(
        np.zeros((4, 1, 32, 32), np.float32), mask=np.eye(32, dtype=bool) | np.zeros((4, 1, 1, 1), bool)
    )
    with pytest.raises(InputError, match="masked array"):
        pu.make_store(form((image, np.ones((4, 32, 32), np.uint8))), tmp_path / "s")
