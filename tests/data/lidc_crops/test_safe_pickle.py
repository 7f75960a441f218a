"""Pickles are read by a machine of our own: every protocol, nothing run, hostile files refused at once."""

import io
import pickle
import time
import tracemalloc
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from community_files import Evil
from damage import SECONDS, examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from probunet.core.errors import InputError
from probunet.data.lidc_crops.safe_pickle import PickledArray, read_items


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def plain(value):
    """What was pickled, with arrays as arrays again."""
    if isinstance(value, PickledArray):
        return value.values
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(plain(one) for one in value)
    return value


SHARED = np.arange(6, dtype=">i2").reshape(2, 3)
VALUES = {
    "float": np.linspace(0, 1, 12).reshape(3, 4),
    "list": [np.eye(2, dtype=np.uint8), np.zeros((2, 2), bool)],
    "by columns": np.asfortranarray(np.arange(6.0, dtype=np.float32).reshape(2, 3)),
    "plain": (None, True, 3, -(2**70), 0.5, "ümlaut", [], {"deep": ((1,), {})}),
    "scalar": np.float64(0.25),
    "shared": SHARED,
    "again": {"shared": SHARED},
}


@pytest.mark.parametrize("protocol", range(6))
def test_what_was_pickled_comes_back(tmp_path, protocol):
    items = list(read_items(write(tmp_path / "a.pickle", pickle.dumps(VALUES, protocol))))
    assert [key for key, _ in items] == list(VALUES)
    read = {key: plain(value) for key, value in items}
    for key in ("float", "by columns", "shared"):
        np.testing.assert_array_equal(read[key], VALUES[key])
        assert read[key].dtype == VALUES[key].dtype
    np.testing.assert_array_equal(read["list"][0], np.eye(2))
    assert read["list"][1].dtype == bool
    assert read["plain"] == VALUES["plain"]
    assert read["scalar"] == 0.25
    np.testing.assert_array_equal(read["again"]["shared"], SHARED)


def test_the_names_of_older_numpy_are_known(tmp_path):
    content = pickle.dumps(VALUES, 2).replace(b"numpy._core", b"numpy.core")
    assert b"numpy.core.multiarray\n_reconstruct" in content
    assert len(list(read_items(write(tmp_path / "a.pickle", content)))) == len(VALUES)


class Plain:
    pass


@pytest.mark.parametrize("protocol", range(6))
def test_code_is_refused_and_not_run(tmp_path, protocol):
    made = tmp_path / "made"
    file = write(tmp_path / "a.pickle", pickle.dumps({"a": 1, "b": Evil(made)}, protocol))
    with pytest.raises(InputError, match=r"a\.pickle is refused: it names '(posix|nt)\.mkdir'; only dicts"):
        list(read_items(file))
    assert not made.exists()
    pickle.loads(file.read_bytes())
    assert made.exists()  # so the file was a true attack


class Persistent(pickle.Pickler):
    def persistent_id(self, obj):
        return "elsewhere" if isinstance(obj, Plain) else None


def persistent() -> bytes:
    buffer = io.BytesIO()
    Persistent(buffer, 4).dump({"a": Plain()})
    return buffer.getvalue()


HEAD = b"\x80\x04}(\x8c\x01a"
NDARRAY = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85C\x01btR"
F8 = b"cnumpy\ndtype\nX\x02\x00\x00\x00f8\x89\x88\x87R"
HOSTILE = {
    "an object": (pickle.dumps({"a": Plain()}, 2), "refused"),
    "a set": (pickle.dumps({"a": {1}}, 4), "instruction EMPTY_SET"),
    "a list outside": (pickle.dumps([1]), "does not hold a dict"),
    "array of objects": (pickle.dumps({"a": np.array([None])}), "array of type 'O8'"),
    "structured array": (pickle.dumps({"a": np.zeros(1, [("x", "f8")])}), "array of type 'V8'"),
    "array of texts": (pickle.dumps({"a": np.array(["a"])}), "array of type 'U1'"),
    "persistent": (persistent(), "instruction BINPERSID"),
    "extension": (HEAD + b"\x82\x01u.", "instruction EXT1"),
    "8 EB of bytes": (HEAD + b"\x8e" + (2**62).to_bytes(8, "little") + b"xu.", "cannot be read"),
    "4 GB of text": (HEAD + b"X\xff\xff\xff\xffxu.", "cannot be read"),
    "negative length": (HEAD + b"T\xff\xff\xff\xffxu.", "cannot be read"),
    "array larger than its bytes": (
        HEAD + NDARRAY + b"(K\x01J\xff\xff\xff\x7fJ\xff\xff\xff\x7f\x86" + F8 + b"\x89C\x08" + bytes(8) + b"tbu.",
        r"array of shape \(2147483647, 2147483647\)",
    ),
    "state of a dict": (b"\x80\x04}}b.", "state of something that is no array"),
    "call of a dict": (b"\x80\x04})R.", "calls nothing known"),
    "memo of nothing": (HEAD + b"h\x07u.", "asked for before"),
    "no mark": (b"\x80\x04u.", "cannot be read"),
    "key that is a list": (b"\x80\x04}]K\x01s.", "plain key"),
    "empty": (b"", "cannot be read"),
    "cut": (pickle.dumps(VALUES)[:-40], "cannot be read"),
    "encoding": (HEAD + b"c_codecs\nencode\n\x8c\x01a\x8c\x04zlib\x86Ru.", "something else than latin-1"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_files_are_refused_at_once(tmp_path, kind):
    content, message = HOSTILE[kind]
    file = write(tmp_path / "a.pickle", content)
    started = time.monotonic()
    with pytest.raises(InputError, match=message) as caught:
        list(read_items(file))
    assert str(file) in str(caught.value)
    assert time.monotonic() - started < 1


def test_texts_cannot_grow_beyond_the_file(tmp_path):
    text = b"X" + (10**6).to_bytes(4, "little") + b"a" * 10**6
    once = b"h\x00h\x01\x8c\x06latin1\x86R"
    content = b"\x80\x04(c_codecs\nencode\nq\x00" + text + b"q\x01l}(\x8c\x01a(" + once * 100 + b"lu."
    with pytest.raises(InputError, match="become more than the file holds"):
        list(read_items(write(tmp_path / "a.pickle", content)))


def test_deeply_nested_values_do_not_exhaust_the_stack(tmp_path):
    deep = b"]" * 100_000 + b"a" * 99_999
    assert len(list(read_items(write(tmp_path / "a.pickle", HEAD + deep + b"u.")))) == 1
    with pytest.raises(InputError, match="refused"):
        list(read_items(write(tmp_path / "b.pickle", HEAD + deep + b"\x8c\x01b\x93u.")))


def test_memory_is_that_of_a_thousand_items(tmp_path):
    """Python writes the items of a dict a thousand at a time; 5,000 of 4 kB are 20 MB."""
    values = {str(i): np.full(512, i, dtype=float) for i in range(5000)}
    file = write(tmp_path / "a.pickle", pickle.dumps(values, 4))
    tracemalloc.start()
    count = sum(1 for key, array in read_items(file) if array.values[0] == int(key))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 5000
    assert peak < file.stat().st_size / 3


@settings(max_examples=examples(150), deadline=SECONDS, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_file_is_read_or_refused_in_one_sentence(tmp_path, data):
    """Bytes of a good file are replaced, removed or doubled at random places, or hostile instructions put in."""
    content = bytearray(pickle.dumps(VALUES, data.draw(st.integers(0, 5))))
    attack = b"cos\nmkdir\n(V" + str(tmp_path / "made").encode() + b"\ntR"
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(content) - 1))
        end = min(len(content), start + data.draw(st.integers(0, 30)))
        twice = bytes(content[start:end]) * 2
        pieces = [attack, b"R", b"b", b"(", b"0", b"\x94", b"h\x00", b"\x8e" + bytes(7) + b"\x7f", twice]
        content[start:end] = data.draw(st.one_of(st.binary(max_size=6), st.sampled_from(pieces)))
        if not content:
            break
    file = write(tmp_path / "damaged.pickle", bytes(content))
    with suppress(InputError):
        list(read_items(file))
    assert not (tmp_path / "made").exists()
