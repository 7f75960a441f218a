"""Malformed inputs of every kind, made from valid ones by changing one thing; each must end in one sentence."""

from __future__ import annotations

import contextlib
import copy
import csv
import inspect
import io
import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, get_args, get_type_hints

import numpy as np
import yaml

from probunet import cli
from probunet.commands.listed import load

NUMBERS = ("-1", "0", "nan", "inf", "-inf", "1e400", "100000000000000000000", "", "text", "0x10", "1,5", "[1]", "{}")
"""Values of numeric flags."""
VALUES: tuple[Any, ...] = (
    *(None, True, -1, 0, 1.5, 10**20, 1e300, float("nan"), float("inf"), "", "x", "../../x", "\0", "y" * 5000),
    *([], {}, [[]], [1, "x"], {"x": 1}, [{}] * 3),
)
"""What stands in a description in place of a value."""
SECONDS = 30


class Hung(BaseException):
    """A command did not end."""


@dataclass(frozen=True)
class Trial:
    """A command on a folder in which one thing was changed.

    Attributes:
        name: kind and change.
        words: of the command; it runs inside the folder.
        change: makes the valid folder a malformed one.
        passes: whether the command may also find nothing wrong with it.
    """

    name: str
    words: tuple[str, ...]
    change: Callable[[], None] = lambda: None
    passes: bool = False


def outcome(trial: Trial, valid: Path, folder: Path) -> str | None:
    """Run a trial in a copy of the valid folder; give what is wrong with how it ended, ``None`` if nothing is."""
    shutil.copytree(valid, folder, symlinks=True)
    before_folder = Path.cwd()
    os.chdir(folder)
    said, code = io.StringIO(), 0
    try:
        trial.change()
        before = _listing(folder)
        previous = signal.signal(signal.SIGALRM, _hung)
        signal.alarm(SECONDS)
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(said):
            try:
                cli.main(trial.words)
            except SystemExit as stopped:
                code = stopped.code
            finally:
                signal.alarm(0)
                signal.signal(signal.SIGALRM, previous)
        return _verdict(trial, code, said.getvalue(), before, _listing(folder))
    except Hung:
        return "did not end"
    except BaseException as error:
        return f"{type(error).__name__}: {str(error)[:300]}"
    finally:
        os.chdir(before_folder)
        shutil.rmtree(folder, ignore_errors=True)


def _verdict(trial: Trial, code: Any, said: str, before: Any, after: Any) -> str | None:
    if code == 0:
        return None if trial.passes else "found nothing wrong"
    sentence = next((line for line in said.splitlines() if line.startswith("error: ")), "")
    if code != 2 or not sentence:
        return f"ended with {code}: {said[-300:]}"
    if len(sentence) > 400:
        return f"{len(sentence)} characters: {sentence[:200]}"
    if "Traceback" in said or "Union[" in said:
        return f"a traceback or types: {said[-300:]}"
    if before != after:
        return f"left behind: {sorted(set(after) ^ set(before))[:5]} after {sentence[:120]}"
    return None


def _hung(*_: object) -> None:
    raise Hung


def _listing(folder: Path) -> list[tuple[str, int]]:
    return sorted((str(path), -1 if path.is_dir() else path.lstat().st_size) for path in folder.rglob("*"))


# descriptions


def places(content: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every key of nested plain data; of a list the first entry only."""
    items = (
        content.items() if isinstance(content, dict) else enumerate(content[:1]) if isinstance(content, list) else ()
    )
    for key, value in items:
        yield (*at, key)
        yield from places(value, (*at, key))


def changed(content: Any, at: tuple[Any, ...], value: Any = ...) -> Any:
    """The same with another value at a place, or without it."""
    content = copy.deepcopy(content)
    part = content
    for key in at[:-1]:
        part = part[key]
    if value is ...:
        del part[at[-1]]
    else:
        part[at[-1]] = value
    return content


def mutations(
    file: str, read: Callable[[str], Any], write: Callable[[Any], str]
) -> Iterator[tuple[str, Callable[[], None]]]:
    """Every key without its value or with one of ``VALUES``, an unknown key; the text cut, empty or nested."""
    content, text = read(Path(file).read_text()), Path(file).read_text()
    for at in places(content):
        for value in (..., *VALUES):
            label = f"{file} {'.'.join(map(str, at))} = {'nothing' if value is ... else repr(value)[:20]}"
            yield label, partial(_write, file, lambda at=at, value=value: write(changed(content, at, value)))
    yield f"{file} unknown key", partial(_write, file, lambda: write({**content, "unknown": 1}))
    for name, other in TEXTS.items():
        yield f"{file} {name}", partial(_write, file, lambda other=other: other(text))


def _write(file: str, make: Callable[[], str | bytes]) -> None:
    made = make()
    Path(file).write_bytes(made if isinstance(made, bytes) else made.encode("utf-8", "surrogateescape"))


TEXTS: dict[str, Callable[[str], str | bytes]] = {
    "empty": lambda text: "",
    "cut": lambda text: text[: len(text) // 2],
    "a list": lambda text: "[]",
    "a number": lambda text: "3",
    "nested": lambda text: "[" * 100_000,
    "nested mappings": lambda text: '{"a":' * 3000 + "1" + "}" * 3000,
    "aliases": lambda text: "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [{f'*a{i - 1}, ' * 9}]\n" for i in range(1, 12)),
    "itself": lambda text: "a: &a {b: *a}\n",
    "not UTF-8": lambda text: b"\xff\xfe\x00" + text.encode()[:51],
    "NUL": lambda text: "\0" * 100,
    "a tag": lambda text: "a: !!python/object/apply:os.system ['true']\n",
    "twice": lambda text: text.rstrip("} \n") + ', "version": 1, "version": 1}\n',
}
_JSON = (json.loads, json.dumps)
_YAML = (yaml.safe_load, yaml.safe_dump)


def in_place_of(file: str) -> Iterator[tuple[str, Callable[[], None]]]:
    """Something else where a file is wanted."""
    path = Path(file)

    def folder() -> None:
        path.unlink()
        path.mkdir()

    def missing() -> None:
        path.unlink()

    def link(to: str) -> None:
        path.unlink()
        path.symlink_to(to)

    def fifo() -> None:
        path.unlink()
        os.mkfifo(path)

    def cut(share: float) -> None:
        path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])

    yield f"{file} a folder", folder
    yield f"{file} missing", missing
    yield f"{file} a pipe", fifo
    for to in ("/dev/zero", "/dev/null", "nowhere", path.name):
        yield f"{file} a link to {to}", partial(link, to)
    for share in (0, 0.01, 0.5, 0.99):
        yield f"{file} cut to {share}", partial(cut, share)
    yield f"{file} noise", lambda: path.write_bytes(np.random.default_rng(0).bytes(path.stat().st_size))


def arrays(file: str) -> Iterator[tuple[str, Callable[[], None]]]:
    """Another array where one is wanted."""
    held = np.load(file)
    for name, other in {
        "float": lambda: held.astype(np.float32),
        "complex": lambda: held.astype(complex),
        "text": lambda: np.full(held.shape, "x"),
        "objects": lambda: np.full((2,), None, object),
        "int64 large": lambda: held.astype(np.int64) + 2**60,
        "negative": lambda: held.astype(np.int16) - 5,
        "fewer": lambda: held[:-1],
        "more": lambda: np.concatenate([held, held]),
        "other pixels": lambda: held[..., :-1],
        "one axis": lambda: held.ravel(),
        "another axis": lambda: held[None],
        "no images": lambda: held[:0],
        "no pixels": lambda: held[..., :0],
        "a scalar": lambda: np.array(3),
        "1e30": lambda: np.full(held.shape, 1e30),
        "nan": lambda: np.full(held.shape, np.nan),
        "structured": lambda: np.zeros(3, [("a", int)]),
        "dates": lambda: np.zeros(held.shape, "M8[s]"),
    }.items():
        yield f"{file} {name}", lambda other=other: np.save(file, other(), allow_pickle=True)


# what each command takes

COMMANDS: dict[str, tuple[str, ...]] = {
    "prepare readers": ("--out", "new", "--limit", "2", "--size", "16", "--jobs", "1"),
    "prepare streets": ("--out", "new", "--images", "1", "1", "1", "--size", "32", "32", "--jobs", "1"),
    "prepare folder": ("--root", "own", "--out", "new"),
    "prepare slices": ("--archive", "slices.tar.gz", "--out", "new"),
    "prepare import": ("slices.tar.gz", "--out", "new"),
    "prepare lidc": ("--dicom", "own", "--out", "new", "--annotations", "builtin", "--jobs", "1"),
    "train": ("--config", "train.yaml"),
    "evaluate": ("run/unet", "--data", "store", "--n", "2"),
    "sample": ("run/unet", "picture.png", "--out", "new", "--n", "2"),
    "explore": ("run/unet", "store"),
    "score": ("--samples", "samples.npy", "--references", "references.npy", "--n", "2", "--out", "new.json"),
}
"""A valid call of every command that takes numbers."""


def flags() -> Iterator[Trial]:
    """Every numeric flag of every command with ``NUMBERS``."""
    for name, words in COMMANDS.items():
        hints, parameters = get_type_hints(load(name)), inspect.signature(load(name)).parameters
        for key, parameter in parameters.items():
            kinds = {*get_args(hints[key]), hints[key], *(k for a in get_args(hints[key]) for k in get_args(a))}
            counts = bool(kinds & {int, float}) or key in ("z", "shard", "device")
            if parameter.kind is parameter.POSITIONAL_ONLY or not counts:
                continue
            flag = f"-{key}" if len(key) == 1 else f"--{key}"
            for value in NUMBERS:
                for times in (1, 2, 3) if hints[key] not in (int, float) else (1,):
                    rest = _without(words, f"--{key}")
                    yield Trial(
                        f"flag {name} {flag} {value} x{times}",
                        (*name.split(), *rest, flag, *[value] * times),
                        passes=True,
                    )


def _without(words: tuple[str, ...], flag: str) -> tuple[str, ...]:
    if flag not in words:
        return words
    start = words.index(flag)
    stop = next((i for i in range(start + 1, len(words)) if words[i].startswith("--")), len(words))
    return (*words[:start], *words[stop:])


STORE = (
    ("prepare", "verify", "store"),
    ("prepare", "inspect", "store"),
    ("evaluate", "run/unet", "--data", "store", "--n", "2"),
)
MODEL = (
    ("sample", "run/unet", "picture.png", "--out", "new", "--n", "2"),
    ("evaluate", "run/unet", "--data", "store", "--n", "2"),
    ("export", "run/unet", "--out", "new"),
)
EXPORTED = (("sample", "exported", "picture.png", "--out", "new", "--n", "2"), ("explore", "exported", "picture.png"))
SCORE = ("score", "--samples", "samples.npy", "--references", "references.npy", "--n", "2", "--out", "new.json")


def descriptions() -> Iterator[Trial]:
    """Every key of every description that a command reads."""
    table = (
        ("store/manifest.json", _JSON, STORE),
        ("run/unet/run.yaml", _YAML, MODEL),
        ("exported/probunet.json", _JSON, EXPORTED),
        ("train.yaml", _YAML, (("train", "--config", "train.yaml"),)),
        (
            "own/dataset.json",
            _JSON,
            (("prepare", "folder", "--root", "own", "--out", "new"), ("prepare", "inspect", "own")),
        ),
        (
            "classes.yaml",
            _YAML,
            (("prepare", "labelled", "--root", "streets", "--classes", "classes.yaml", "--out", "new", "--jobs", "1"),),
        ),
        ("run/unet/evaluation.json", _JSON, (("report", "run"),)),
        ("run/unet/training.json", _JSON, (("report", "run"), ("export", "run/unet", "--out", "new"))),
    )
    for file, (read, write), commands in table:
        for i, (label, change) in enumerate(mutations(file, read, write)):
            words = commands[i % len(commands)]
            yield Trial(f"key {label} [{' '.join(words[:2])}]", words, change, passes=True)


def tables() -> Iterator[Trial]:
    """Lines of tables cut, doubled, emptied."""
    for file, commands in {
        "store/cases.csv": STORE,
        "run/unet/evaluation.csv": (("report", "run"),),
        "patients.csv": ((*SCORE, "--patients", "patients.csv"),),
    }.items():
        rows = list(csv.reader(Path(file).read_text().splitlines()))
        columns = len(rows[0])
        for label, other in {
            "no header": rows[1:],
            "header alone": rows[:1],
            "other header": [["x"] * columns, *rows[1:]],
            "fewer rows": rows[:-1],
            "a row twice": [*rows, rows[1]],
            "more rows": [*rows, ["x"] * columns],
            "longer row": [*rows[:-1], [*rows[-1], "x"]],
            "shorter row": [*rows[:-1], rows[-1][:-1]],
            **{
                f"cell {c} {v[:9]!r}": [*rows[:1], [*rows[1][:c], v, *rows[1][c + 1 :]], *rows[2:]]
                for c in range(columns)
                for v in ("", "x", "-1", "nan", "../../x", "y" * 5000, "\x1b[2J", "NaN0")
            },
        }.items():
            for words in commands:
                change = partial(_write, file, lambda other=other: "".join(",".join(row) + "\n" for row in other))
                yield Trial(f"table {file} {label} [{words[0]}]", words, change, passes=True)


def files() -> Iterator[Trial]:
    """Something else in place of every file that a command reads."""
    table: dict[str, tuple[tuple[str, ...], ...]] = {
        **dict.fromkeys(("store/manifest.json", "store/cases.csv", "store/images.npy", "store/labels.npy"), STORE),
        **dict.fromkeys(("run/unet/run.yaml", "run/unet/checkpoints/best.ckpt"), MODEL),
        **dict.fromkeys(("exported/probunet.json", "exported/model.safetensors"), EXPORTED),
        "train.yaml": (("train", "--config", "train.yaml"),),
        "own/dataset.json": (("prepare", "folder", "--root", "own", "--out", "new"),),
        "classes.yaml": (
            ("prepare", "labelled", "--root", "streets", "--classes", "classes.yaml", "--out", "new", "--jobs", "1"),
        ),
        "samples.npy": (SCORE,),
        "references.npy": (SCORE,),
        "patients.csv": ((*SCORE, "--patients", "patients.csv"),),
        "slices.tar.gz": (
            ("prepare", "slices", "--archive", "slices.tar.gz", "--out", "new"),
            ("prepare", "import", "slices.tar.gz", "--out", "new"),
        ),
        "picture.png": (MODEL[0], ("explore", "run/unet", "picture.png")),
        "picture.nii.gz": (("sample", "run/unet", "picture.nii.gz", "--out", "new", "--n", "2"),),
        "z.npy": (("sample", "run/probabilistic_unet", "picture.png", "--out", "new", "--z", "z.npy"),),
        "token": (("explore", "run/unet", "picture.png", "--token-file", "token"),),
    }
    for file, commands in table.items():
        for label, change in in_place_of(file):
            for words in commands:
                yield Trial(
                    f"file {label} [{words[0]}]",
                    words,
                    change,
                    passes="picture.png" in file or label.endswith("cut to 0.99"),
                )
    for file, commands in {
        "store/images.npy": STORE[::2],
        "store/labels.npy": STORE[::2],
        "samples.npy": (SCORE,),
        "references.npy": (SCORE,),
        "picture.npy": (("sample", "run/unet", "picture.npy", "--out", "new", "--n", "2"),),
        "z.npy": (("sample", "run/probabilistic_unet", "picture.png", "--out", "new", "--z", "z.npy"),),
    }.items():
        for label, change in arrays(file):
            for words in commands:
                yield Trial(f"array {label} [{words[0]}]", words, change, passes=not file.startswith("store"))


def names() -> Iterator[Trial]:
    """Names that are too long, hold what no name may hold, or mean something else."""
    for name in (
        "x" * 300,
        "x/" * 3000,
        "a\0b",
        "",
        ".",
        "..",
        "/proc/x/y",
        "picture.png/x",
        "nowhere",
        "\udcff",
        "-",
        "*",
        "own",
    ):
        yield Trial(f"name {name[:12]!r} sample input", ("sample", "run/unet", name, "--out", "new"))
        yield Trial(f"name {name[:12]!r} sample model", ("sample", name, "picture.png", "--out", "new"))
        yield Trial(
            f"name {name[:12]!r} sample out",
            ("sample", "run/unet", "picture.png", "--out", name, "--n", "1"),
            passes=True,
        )
        yield Trial(f"name {name[:12]!r} score", ("score", "--samples", name, "--references", name))
        yield Trial(f"name {name[:12]!r} score out", (*SCORE[:-1], name), passes=True)
        yield Trial(
            f"name {name[:12]!r} prepare out",
            ("prepare", "streets", "--images", "1", "1", "1", "--size", "32", "32", "--jobs", "1", "--out", name),
            passes=True,
        )
        yield Trial(
            f"name {name[:12]!r} prepare root",
            ("prepare", "folder", "--root", name, "--out", "new"),
            passes=name == "own",
        )
        for words in (
            ("evaluate",),
            ("report",),
            ("prepare", "verify"),
            ("prepare", "inspect"),
            ("train", "--config"),
            ("explore", "run/unet"),
        ):
            yield Trial(
                f"name {name[:12]!r} {' '.join(words)}", (*words, name), passes="inspect" in words or "explore" in words
            )
        yield Trial(f"name {name[:12]!r} export", ("export", "run/unet", "--out", name), passes=True)
        yield Trial(f"name {name[:12]!r} import", ("prepare", "import", name, "--out", "new"))


def pictures() -> Iterator[Trial]:
    """Pictures whose values or sizes mean nothing."""
    words = ("sample", "run/unet", "picture.nii.gz", "--out", "new", "--n", "2")
    for at, kind, values in (
        (76, "f4", (float("nan"), float("inf"), 0, -1, 1000, 1e30, 1e-30)),
        (80, "f4", (float("nan"), float("inf"), 0, -1, 1000, 1e30, 1e-30)),
        (280, "f4", (float("nan"), float("inf"), 0, 1e30)),
        (108, "f4", (float("nan"), 0, -1, 1e30, 353)),
        (112, "f4", (float("nan"), float("inf"), 1e30, -1)),
        (40, "i2", (0, -1, 8, 1)),
        (42, "i2", (0, -1, 1, 32767)),
        (70, "i2", (0, -1, 1, 128, 1792, 2048)),
        (123, "u1", (0, 1, 3, 7, 255)),
        (254, "i2", (-1, 99)),
    ):
        for value in values:
            yield Trial(
                f"picture NIfTI byte {at} = {value}",
                words,
                partial(_patch, "picture.nii.gz", at, kind, value),
                passes=True,
            )
    for value in (1e30, -1e30, 3e38, float("nan"), float("inf")):
        for command in (
            ("sample", "run/unet", "picture.npy", "--out", "new", "--n", "2"),
            ("explore", "run/unet", "picture.npy"),
        ):
            yield Trial(
                f"picture of {value} [{command[0]}]",
                command,
                lambda value=value: np.save("picture.npy", np.full((32, 32), value, np.float32)),
                passes=True,
            )


def _patch(file: str, at: int, kind: str, value: float) -> None:
    import gzip

    content = bytearray(gzip.decompress(Path(file).read_bytes()))
    part = np.array([value]).astype(kind).tobytes()
    content[at : at + len(part)] = part
    Path(file).write_bytes(gzip.compress(bytes(content)))


def every() -> Iterator[Trial]:
    """All trials, in the current folder, which is a valid one."""
    for kind in (flags, descriptions, tables, files, names, pictures):
        yield from kind()
