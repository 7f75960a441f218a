"""Stores of volumes: what is written is what is read, each of its own size; damage is noticed and named."""

import json
import shutil
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from joblib import parallel_config
from small_data import DESCRIPTION, VOLUMES, ball, balls

from probunet.core.errors import InputError
from probunet.core.files import sha256
from probunet.data.manifest import Case
from probunet.data.prepare_volumes import Volume, VolumeSource, write_volumes
from probunet.data.store import Store
from probunet.data.windows import central_corner, cut_out


@pytest.fixture
def copy(volumes, tmp_path):
    return shutil.copytree(volumes.path, tmp_path / "copy")


def test_what_is_written_is_what_is_read(volumes):
    volumes.verify()
    assert (volumes.dims, volumes.channels, volumes.readers, len(volumes.cases)) == (3, 2, 3, 8)
    for i in range(8):
        volume = ball(i)
        assert np.array_equal(volumes.images[i], volume.image)
        assert np.array_equal(volumes.labels[i], volume.labels)
        assert volumes.size(i) == volume.image.shape[1:]
        assert volumes.spacing(i) == volume.spacing_mm
        assert np.array_equal(volumes.affine(i), volume.affine)
    assert len({volumes.size(i) for i in range(8)}) > 1
    assert volumes.manifest["empty_masks_per_case"] == {"0": 4, "1": 4}


def test_a_volume_is_a_view_of_the_file(volumes):
    assert isinstance(volumes.images.flat, np.memmap)
    assert np.shares_memory(volumes.images[3], volumes.images.flat)
    with pytest.raises(IndexError):
        volumes.images[8]


def test_the_same_arguments_give_the_same_bytes_however_many_draw(volumes, tmp_path):
    with parallel_config("threading"):  # processes would import everything anew
        again = write_volumes(tmp_path / "again", balls(8), VOLUMES, np.int16, jobs=2)
    for file in volumes.path.iterdir():
        assert sha256(file) == sha256(again.path / file.name), file.name


def nowhere(index: int) -> Volume:
    volume = ball(index)
    labels = np.where(np.arange(3)[:, None, None, None] == 1, 255, volume.labels).astype(np.uint8)
    return replace(volume, labels=labels, spacing_mm=None, affine=None)


def unmarked(index: int) -> Volume:
    volume = ball(index)
    return replace(volume, labels=np.zeros_like(volume.labels))


def test_missing_readings_unknown_places_and_volumes_without_a_mark(tmp_path):
    sources = balls(4)
    sources[1] = VolumeSource(sources[1].case, partial(nowhere, 1))
    sources[2] = VolumeSource(sources[2].case, partial(unmarked, 2))
    store = write_volumes(tmp_path / "store", sources, VOLUMES, np.int16, jobs=1)
    assert [case.name for case in store.cases] == ["ball-0", "ball-1", "ball-3"]
    assert store.manifest["left_out_no_reader_marked_anything"] == 1
    assert store.present.tolist() == [[True] * 3, [True, False, True], [True] * 3]
    assert store.manifest["missing_readings"] == 1
    assert store.spacing(1) is None
    assert store.affine(1) is None
    assert np.array_equal(store.images[2], ball(3).image)
    kept = write_volumes(tmp_path / "kept", sources, VOLUMES, np.int16, jobs=1, keep_empty=True)
    assert len(kept.cases) == 4


def test_identity_is_of_sizes_and_places_too(volumes, tmp_path):
    assert Store(volumes.path).identity() == volumes.identity()
    sources = balls(8)
    sources[0] = VolumeSource(sources[0].case, partial(replace, ball(0), spacing_mm=(5.0, 1.0, 1.0)))
    other = write_volumes(tmp_path / "other", sources, VOLUMES, np.int16, jobs=1)
    assert volumes.identity().differences(other.identity()) == ["sizes and places of volumes"]


def test_nothing_to_write_and_readers_that_do_not_fit(tmp_path):
    with pytest.raises(InputError, match="no volumes were found"):
        write_volumes(tmp_path / "store", [], VOLUMES, np.int16)
    with pytest.raises(InputError, match="no reader marked anything"):
        write_volumes(
            tmp_path / "store", [VolumeSource(Case("a", "a", "test"), partial(unmarked, 0))], VOLUMES, np.int16, jobs=1
        )
    fewer = VolumeSource(Case("b", "b", "test"), partial(replace, ball(0), labels=ball(0).labels[:2]))
    with pytest.raises(InputError, match="2 channels or readers"):
        write_volumes(tmp_path / "store", [*balls(1), fewer], VOLUMES, np.int16, jobs=1)
    assert not list(tmp_path.iterdir())


def edit(folder, change) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    change(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda m: m.update(dims=2), "does not fit|files has"),
        (lambda m: m.update(dims=4), "unusable 4 in 'dims'"),
        (lambda m: m["files"].pop("sizes.npy"), "files lacks sizes.npy"),
        (lambda m: m.update(spacing_mm=[1.0, 1.0]), "spacing_mm has 2 axes, images have 3"),
        (lambda m: m["labels"]["shape"].__setitem__(0, 5), "do not fit each other"),
    ],
)
def test_a_manifest_of_volumes_is_checked_as_a_whole(copy, change, words):
    edit(copy, change)
    with pytest.raises(InputError, match=words):
        Store(copy)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("sizes.npy", lambda a: a[:-1]),
        ("sizes.npy", lambda a: a - 1),
        ("sizes.npy", lambda a: a.astype(np.int32)),
        ("sizes.npy", lambda a: np.int64(3)),
        ("spacings.npy", lambda a: a * [1, 1, np.inf]),
        ("spacings.npy", lambda a: -a),
        ("affines.npy", lambda a: a * 2),
        ("affines.npy", lambda a: np.array([{}], dtype=object)),
    ],
)
def test_sizes_and_places_are_checked(copy, name, value):
    np.save(copy / name, value(np.load(copy / name)))
    facts = {"bytes": (copy / name).stat().st_size, "sha256": 64 * "0"}
    edit(copy, lambda m: m["files"].update({name: facts}))
    with pytest.raises(InputError, match=r"sizes\.npy|affines\.npy"):
        Store(copy)


def test_an_image_store_says_so(store):
    assert (store.dims, store.channels, store.size(3), store.spacing(3), store.affine(3)) == (
        2,
        1,
        (32, 32),
        None,
        None,
    )
    assert DESCRIPTION.spacing_mm is None


def test_a_window_beyond_an_array_repeats_its_border_or_is_filled():
    array = np.arange(6).reshape(2, 3)
    assert cut_out(array, (-1, 1), (3, 4)).tolist() == [[1, 2, 2, 2], [1, 2, 2, 2], [4, 5, 5, 5]]
    assert cut_out(array, (1, -1), (2, 2), fill=9).tolist() == [[9, 3], [9, 9]]
    assert cut_out(array, (-5, 9), (1, 1)).tolist() == [[2]]
    assert central_corner((5, 4, 2), (2, 4, 5)) == (1, 0, -1)
