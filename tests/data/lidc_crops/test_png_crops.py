"""The published PNG crops: in every container, and damaged in the ways that files are."""

import io
import tarfile
import zipfile
import zlib

import numpy as np
import pytest
from community_files import DAMAGE, crop_files, damaged, import_or_refuse, splits_of, write_files
from hypothesis import given
from hypothesis import strategies as st
from small_data import blob, png, write_tar

from probunet.core.errors import InputError
from probunet.core.files import sha256
from probunet.data.lidc_crops.community import prepare_import


def test_crops_keep_their_split_and_order(tmp_path):
    source = write_tar(tmp_path / "crops.tar.gz", crop_files())
    store = prepare_import(source, tmp_path / "store")
    assert store.images.shape == (20, 1, 32, 32)
    assert [e.name for e in store.cases[:3]] == [
        "LIDC-IDRI-0001/z-100.5_c0",
        "LIDC-IDRI-0001/z-100.5_c1",
        "LIDC-IDRI-0002/z-101.5_c0",
    ]
    np.testing.assert_array_equal(store.images[2], blob(2)[0])
    np.testing.assert_array_equal(store.labels[2], blob(2)[1])
    assert [store.manifest["splits"][s]["patients"] for s in ("train", "validation", "test")] == [8, 1, 1]
    assert splits_of(store)["LIDC-IDRI-0009"] == {"validation"}
    assert store.manifest["spacing_mm"] is None


def test_crops_of_180_pixels_are_at_half_a_millimetre(tmp_path):
    files = {name: content for name, content in crop_files(180).items() if "-0001/" in name or "-0009/" in name}
    store = prepare_import(write_files(tmp_path / "crops", files), tmp_path / "store")
    assert store.manifest["spacing_mm"] == [0.5, 0.5]


def test_crops_of_any_container_are_the_same(tmp_path):
    stores = [prepare_import(write_tar(tmp_path / "crops.tar.gz", crop_files()), tmp_path / "a")]
    stores.append(prepare_import(write_files(tmp_path / "crops", crop_files()), tmp_path / "b"))
    for split in ("train", "val", "test"):  # three archives in a folder, as they are published
        part = {name: content for name, content in crop_files().items() if name.startswith(split)}
        (tmp_path / "download").mkdir(exist_ok=True)
        write_tar(tmp_path / "download" / f"lidc_crops_{split}.tar.gz", part)
    stores.append(prepare_import(tmp_path / "download", tmp_path / "c"))
    for name in ("images.npy", "labels.npy", "cases.csv"):
        assert len({sha256(store.path / name) for store in stores}) == 1


def test_crops_without_folders_for_splits_are_split_by_patient(tmp_path):
    files = {name.split("/", 1)[1]: content for name, content in crop_files().items()}
    source = write_files(tmp_path / "crops", files)
    store = prepare_import(source, tmp_path / "store")
    assert all(len(parts) == 1 for parts in splits_of(store).values())
    assert [store.manifest["splits"][s]["patients"] for s in ("train", "validation", "test")] == [7, 1, 2]
    anew = prepare_import(write_files(tmp_path / "split", crop_files()), tmp_path / "anew", (0, 0, 1))
    assert {e.split for e in anew.cases} == {"test"}


IMAGE, MASK = "train/images/LIDC-IDRI-0002/z-101.5_c1.png", "train/gt/LIDC-IDRI-0002/z-101.5_c1_l2.png"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda f: f.pop(MASK), "LIDC-IDRI-0002/z-101.5_c1 lacks mask-2"),
        (lambda f: f.pop(IMAGE), "LIDC-IDRI-0002/z-101.5_c1 lacks image"),
        (lambda f: f.update({MASK: f[MASK][:60]}), r"z-101.5_c1 \(mask-2\) cannot be read as PNG"),
        (lambda f: f.update({IMAGE: f[IMAGE][:-30]}), r"z-101.5_c1 \(image\) cannot be read as PNG"),
        (lambda f: f.update({IMAGE: b""}), r"z-101.5_c1 \(image\) is damaged, or a PNG"),
        (lambda f: f.update({MASK: png(np.zeros((32, 31), "u1"))}), r"\(mask-2\) of 32x31 px where"),
        (lambda f: f.update({MASK: png(np.eye(32, dtype="u1") * 128 + 127)}), "mask values 0, 127, 255"),
        (lambda f: f.update({IMAGE: png(np.zeros((32, 32), "u2"))}), r"\(image\) is a PNG of 16 bits"),
        (lambda f: f.update({MASK.replace("l2", "l4"): f[MASK]}), "z-101.5_c1_l4.png, a mask-4; there are 4 readers"),
        (lambda f: f.update({"more/" + IMAGE: f[IMAGE]}), r"LIDC-IDRI-0002/z-101\.5_c1\.png twice"),
        (lambda f: f.update({"val/" + MASK.split("/", 1)[1]: f.pop(MASK)}), "z-101.5_c1 in .* and in"),
        (lambda f: f.update({n.replace("val", "train"): f.pop(n) for n in list(f) if n[:3] == "val" and "c1" in n}),
         "patient LIDC-IDRI-0009 is in validation and in train; give --fractions"),
        (lambda f: f.update({n[6:]: f.pop(n) for n in list(f) if "-0001/" in n}), "is in none of train, val and test"),
        (lambda f: f.clear(), "holds nothing that is known"),
    ],
)  # fmt: skip
def test_damaged_crops_are_named_and_nothing_is_left_behind(tmp_path, change, words):
    files = crop_files()
    change(files)
    (tmp_path / "crops").mkdir()
    with pytest.raises(InputError, match=words) as caught:
        prepare_import(write_files(tmp_path / "crops", files), tmp_path / "store")
    assert str(tmp_path / "crops") in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["crops"]


def test_broken_links_are_named(tmp_path):
    folder = write_files(tmp_path / "crops", crop_files())
    (folder / MASK).unlink()
    (folder / MASK).symlink_to(tmp_path / "nowhere.png")
    with pytest.raises(InputError, match=r"z-101\.5_c1_l2\.png is a broken link"):
        prepare_import(folder, tmp_path / "store")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(InputError, match="link is a broken link"):
        prepare_import(tmp_path / "link", tmp_path / "store")


@pytest.mark.parametrize("name", [f"../{IMAGE}", f"/etc/{IMAGE}"])
def test_members_outside_of_the_archive_are_refused(tmp_path, name):
    with pytest.raises(InputError, match="lies outside of the archive"):
        prepare_import(write_tar(tmp_path / "a.tar.gz", {name: b"x"}), tmp_path / "store")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr(name, b"x")
    with pytest.raises(InputError, match="lies outside of the archive"):
        prepare_import(tmp_path / "a.zip", tmp_path / "store")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_links_in_an_archive_are_refused(tmp_path, kind):
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        member = tarfile.TarInfo(IMAGE)
        member.type, member.linkname = kind, "/etc/passwd"
        archive.addfile(member)
    with pytest.raises(InputError, match="as a link, not as a file"):
        prepare_import(tmp_path / "a.tar", tmp_path / "store")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        info = zipfile.ZipInfo(IMAGE)
        info.external_attr = 0o120777 << 16
        file.writestr(info, "/etc/passwd")
    with pytest.raises(InputError, match="as a link, not as a file"):
        prepare_import(tmp_path / "a.zip", tmp_path / "store")


def test_a_file_twice_in_an_archive_is_refused(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for name, content in [*crop_files().items(), (MASK, b"again")]:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    with pytest.raises(InputError, match=r"z-101\.5_c1_l2\.png twice"):
        prepare_import(tmp_path / "a.tar", tmp_path / "store")


def test_a_picture_that_claims_to_be_huge_is_refused(tmp_path):
    files = crop_files()
    content = bytearray(files[IMAGE])
    content[16:24] = (60_000).to_bytes(4, "big") * 2
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")  # as a writer with intentions would
    files[IMAGE] = bytes(content)
    with pytest.raises(InputError, match="60000x60000 px; at most 16,777,216"):
        prepare_import(write_files(tmp_path / "crops", files), tmp_path / "store")


FEW = {name: content for name, content in crop_files(16).items() if any(p in name for p in ("-0001/", "-0010/"))}


@DAMAGE
@given(data=st.data())
def test_damaged_png_folders_are_read_or_refused_in_one_sentence(tmp_path, data):
    """Contents are damaged, names changed, files removed."""
    files = dict(FEW)
    for name in data.draw(st.lists(st.sampled_from(sorted(FEW)), min_size=1, max_size=3, unique=True)):
        match data.draw(st.integers(0, 4)):
            case 0:
                del files[name]
            case 1:
                changed = data.draw(
                    st.sampled_from([("_c0", "_c3"), ("gt", "images"), ("z-", "z"), ("_l", "_"), ("I", "i")])
                )
                files[name.replace(*changed)] = files.pop(name)
            case _:
                files[name] = damaged(data, files[name])
    folder = tmp_path / "crops"
    for path in sorted(folder.rglob("*.png")):
        path.unlink()
    folder.mkdir(exist_ok=True)
    import_or_refuse(write_files(folder, files), tmp_path / "store")
