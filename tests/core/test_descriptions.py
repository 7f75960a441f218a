"""Descriptions are read as they are meant, or refused at once: no hang, no memory, no traceback."""

import json
import os
import time

import pytest

from probunet.core.descriptions import read_json, read_text, read_yaml
from probunet.core.errors import InputError

BILLION = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{b}: &{b} [{','.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefghi", "bcdefghij", strict=True)
)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_text_of_other_programs_is_read(tmp_path, encoding):
    file = tmp_path / "text"
    file.write_text("größe: 3\r\n", encoding=encoding, newline="")
    assert read_text(file) == "größe: 3\n"
    assert read_yaml(file) == {"größe": 3}
    file.write_text('{"a": [1, null]}', encoding=encoding)
    assert read_json(file) == {"a": [1, None]}


def test_yaml_keeps_anchors_and_merges(tmp_path):
    file = tmp_path / "x.yaml"
    file.write_text("base: &base {x: 1, y: 2}\nmine:\n  <<: *base\n  y: 3\nlist: [*base, *base]\n")
    assert read_yaml(file) == {"base": {"x": 1, "y": 2}, "mine": {"x": 1, "y": 3}, "list": [{"x": 1, "y": 2}] * 2}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no YAML with named values"),
        ("- 1", "no YAML with named values"),
        ("1: 2", "no YAML with named values"),
        ("a: [", "no valid YAML"),
        ("a: 1\nb: 2\na: 3", "'a' is there twice"),
        ("a: {b: 1, b: 2}", "'b' is there twice"),
        ("a: !!python/object/apply:os.system [ls]", "no valid YAML"),
        ("a: &a [*a]", "refers to what it is part of"),
        ("a: " + "[" * 200 + "]" * 200, "levels deep"),
        ("a: " + "[" * 20_000, "deep"),
        ("a: " + "[" * 400_000 + "]" * 400_000, "deep"),  # a parser in C would follow it until its memory ends
        (BILLION, "written out"),
        ("a: 2026-99-99", "no valid YAML"),
        ("a: \x01", "no valid YAML"),
    ],
)
def test_yaml_that_means_harm_or_nothing(tmp_path, text, words):
    file = tmp_path / "x.yaml"
    file.write_text(text)
    started = time.process_time()
    with pytest.raises(InputError, match=words) as refused:
        read_yaml(file)
    assert len(str(refused.value)) - len(str(file)) < 200
    assert time.process_time() - started < 5


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no valid JSON"),
        ("[]", "no JSON with named values"),
        ('{"a": 1', "no valid JSON"),
        ('{"a": 1, "a": 2}', "'a' is there twice"),
        ('{"a": NaN}', "NaN is no number"),
        ('{"a": ' + "[" * 300 + "]" * 300 + "}", "levels deep"),
        ('{"a": ' + "[" * 200_000, "deep"),
        ('{"a": ' + "1" * 10_000 + "}", "no valid JSON"),
    ],
)
def test_json_that_means_harm_or_nothing(tmp_path, text, words):
    file = tmp_path / "x.json"
    file.write_text(text)
    with pytest.raises(InputError, match=words):
        read_json(file)


def test_what_is_no_text_is_refused(tmp_path):
    file = tmp_path / "x"
    file.write_bytes(b"\xff\x00\x80")
    with pytest.raises(InputError, match="no text in UTF-8"):
        read_text(file)
    file.write_text(json.dumps({"a": "x" * 100}))
    with pytest.raises(InputError, match="more than 50 bytes"):
        read_json(file, largest=50)
    os.mkfifo(tmp_path / "pipe")
    for path, words in ((tmp_path / "pipe", "a pipe"), ("/dev/zero", "a device"), (tmp_path, "a folder")):
        with pytest.raises(InputError, match=words):
            read_yaml(path)
