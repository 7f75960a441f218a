"""Whatever a text holds, the name made of it stays in its folder and can be written everywhere."""

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from probunet.core.names import LONGEST, safe_name, safe_names

AWKWARD = [
    *("", ".", "..", "../../x", "/etc/passwd", "\\\\server\\share", "C:\\x", "a/../../../victim/photo", "12345/67"),
    *(
        "a\0b",
        "a\nb",
        "con",
        "CON.txt",
        "nul .tar.gz",
        "COM1",
        "lpt¹",
        "CONIN$",
        ".hidden",
        "ends.",
        "ends ",
        " starts",
    ),
    *("x" * 300, "é" * 200, "M\udcfcller", "\u202egnp.exe", "a:stream", "a?b*c", "a\u2028b", "\ud800"),
]
text = st.text(st.characters(), max_size=400) | st.sampled_from(AWKWARD) | st.text("./\\:\0 aA", max_size=12)


@settings(max_examples=150, deadline=None)
@given(text)
def test_a_name_is_one_part_of_a_path_that_every_system_takes(words):
    name = safe_name(words)
    assert name.encode("utf-8")  # text that is no UTF-8 became one that is
    assert 0 < len(name.encode()) <= LONGEST
    assert (Path("/folder") / name).resolve().parent == Path("/folder")
    assert not set(name) & set('<>:"/\\|?*\0\n\r\t')
    assert name[0] not in ". "
    assert name[-1] not in ". "
    assert name.split(".")[0].rstrip().upper() not in ("CON", "PRN", "AUX", "NUL", "COM1", "LPT9", "COM¹", "CONIN$")
    assert safe_name(words) == name


@settings(max_examples=80, deadline=None)
@given(st.lists(text, max_size=12))
def test_names_of_one_folder_differ_even_where_letters_have_no_case(texts):
    names = safe_names(texts)
    assert len({name.casefold() for name in names}) == len(texts)


@settings(max_examples=80, deadline=None)
@given(st.lists(text, min_size=2, max_size=8, unique=True))
def test_two_texts_are_two_names_whoever_asks(texts):
    assert len({safe_name(words) for words in texts}) == len(texts)


def test_good_names_stay_as_they_are():
    for name in ("lesion", "LIDC-IDRI-0001", "肺 结节'[bold]", "é🫁", "slice.v2", "a_b"):
        assert safe_name(name) == name
    assert safe_name("12345/67").startswith("12345_67-")
    assert safe_name("e\u0301", ["\u00e9"]) == "e\u0301-2"  # one accent in two forms is one name on macOS


def test_every_awkward_name_can_be_written(tmp_path):
    for name in safe_names(AWKWARD):
        (tmp_path / f"{name}.png").write_text("x")
    assert len(list(tmp_path.iterdir())) == len(AWKWARD)
