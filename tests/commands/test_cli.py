"""The command line as a whole: lists, help, version, one sentence for every mistake, signals."""

import ast
import os
import signal
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import pytest

from probunet.cli import main
from probunet.commands import arguments
from probunet.commands.listed import COMMANDS, load, summary


def test_help_lists_every_command_with_a_line_of_its_own(capsys):
    main(["--help"])
    listed = capsys.readouterr().out
    for name in COMMANDS:
        assert f"{name:<18} {summary(name)}\n" in listed
    assert len({summary(name) for name in COMMANDS}) == len(COMMANDS)
    main(["prepare"])
    assert "train" not in capsys.readouterr().out.split("COMMAND --help")[0]


def test_a_reader_who_has_seen_enough_is_no_error(monkeypatch, capsys):
    reader, writer = os.pipe()
    os.close(reader)  # as head does
    with open(writer, "w", buffering=1) as out, monkeypatch.context() as patch:  # noqa: PTH123
        patch.setattr(sys, "stdout", out)
        with pytest.raises(SystemExit) as stopped:
            main(["configs"])
    assert stopped.value.code == 141
    assert capsys.readouterr().err == ""


def test_version(capsys):
    main(["--version"])
    assert capsys.readouterr().out == f"probunet {version('probunet')}\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_every_command_shows_examples_and_describes_every_argument(name, capsys):
    with pytest.raises(SystemExit) as stopped:
        main([*name.split(), "--help"])
    assert stopped.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    shown = arguments.examples(load(name).__doc__)
    assert shown
    for example in shown:
        assert f"{example} ".startswith(f"probunet {name} ") or "-m probunet" in example
        assert " ".join(example.split()) in text
    assert "Lightning" not in text or "--help-trainer" in text


def test_options_of_the_trainer_are_listed_on_request(capsys):
    for words, listed in (("--help", False), ("--help-trainer", True)):
        with pytest.raises(SystemExit) as stopped:
            main(["train", words])
        assert stopped.value.code == 0
        assert ("--trainer.gradient_clip_val" in capsys.readouterr().out) == listed


LIGHT = """
import sys
from probunet import cli
cli.main(["--help"]); cli.main(["prepare"]); cli.main(["--version"])
import probunet
probunet.InputError, probunet.__version__
heavy = {"torch", "numpy", "pytorch_lightning", "jsonargparse", "rich", "matplotlib"} & set(sys.modules)
assert not heavy, heavy
import probunet.commands.prepare, probunet.commands.prepare_lidc, probunet.metrics
assert probunet.metrics.Convention and "torch" not in sys.modules
"""


def test_lists_and_the_import_and_the_preparation_of_data_need_no_torch():
    subprocess.run([sys.executable, "-c", LIGHT], capture_output=True, check=True)


UNTOUCHED = """
import os
before = dict(os.environ)
import probunet
probunet.UNet
assert dict(os.environ) == before
print(sorted(set(probunet.models.__all__) - set(dir(probunet))), probunet.metrics.__name__)
"""


def test_the_import_does_not_touch_the_process_and_knows_every_model():
    done = subprocess.run([sys.executable, "-c", UNTOUCHED], capture_output=True, text=True, check=True)
    assert done.stdout == "[] probunet.metrics\n"


def test_verify(store, capsys):
    main(["prepare", "verify", str(store.path)])
    said = capsys.readouterr()
    assert "is intact: 24 cases" in " ".join((said.out + said.err).split())


def test_quiet_leaves_out_notes_and_keeps_results_and_errors(store, tmp_path, capsys, failing):
    main(["prepare", "verify", str(store.path), "--quiet"])
    assert capsys.readouterr().err == ""
    streets = ["prepare", "streets", "--images", "1", "1", "1", "--size", "32", "32", "--jobs", "1", "--quiet"]
    main([*streets, "--out", str(tmp_path / "streets")])
    assert capsys.readouterr().err == ""
    main(["--quiet", "prepare", "inspect", str(store.path)])
    assert "agreement" in capsys.readouterr().out
    assert "nowhere" in failing("prepare", "verify", "nowhere", "--quiet")


PLACES = [file for file in (Path(__file__).parents[2] / "src" / "probunet").rglob("*.py")]


@pytest.mark.parametrize("file", PLACES, ids=lambda file: file.stem)
def test_commands_alone_print(file):
    if file.name == "cli.py" or file.parent.name == "commands":
        return
    calls = [node.func for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call)]
    assert "print" not in {call.id for call in calls if isinstance(call, ast.Name)}
    printing = [call for call in calls if isinstance(call, ast.Attribute) and call.attr == "print"]
    assert not printing or file.parts[-2:] == ("core", "console.py")


def test_every_command_lives_in_commands():
    for name in COMMANDS:
        assert load(name).__module__.startswith("probunet.commands.")


def test_arguments_are_refused_before_work_begins(tmp_path, failing):
    for words, sentence in (
        (["--spacing", "0"], "spacing of 0.0 mm"),
        (["--size", "8"], "size of 8 px"),
        (["--limit", "0"], "limit of 0"),
    ):
        assert sentence in failing("prepare", "readers", "--out", str(tmp_path / "s"), *words)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("seconds", [0.15, 0.5, 1.0])
def test_a_signal_while_modules_are_loaded_is_no_traceback(number, seconds, tmp_path):
    """Of a command that loads the most; it would then miss the data."""
    words = [sys.executable, "-m", "probunet", "train", "--config", "demo", "--out", str(tmp_path / "out")]
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True, preexec_fn=_listen)
    while "probunet" not in Path(f"/proc/{process.pid}/cmdline").read_text():
        time.sleep(0.01)
    _wait_until_handled(process.pid)
    time.sleep(seconds)
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == {signal.SIGINT: 130, signal.SIGTERM: 143}[number]
    assert "Traceback" not in said
    assert not list(tmp_path.iterdir())


def _listen():
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _wait_until_handled(pid):
    """Until the process has handlers of its own for SIGTERM, as it has from its first lines on."""
    while process := Path(f"/proc/{pid}/status").read_text():
        caught = int(next(line.split()[1] for line in process.splitlines() if line.startswith("SigCgt")), 16)
        if caught >> (signal.SIGTERM - 1) & 1:
            return
        time.sleep(0.005)


def test_a_signal_is_not_lost_where_python_swallows_exceptions():
    script = """
import os, signal, sys, time
from probunet.cli import Signals
class Ends:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.01)
"""
    ending = "ends = Ends(); del ends; time.sleep(10); print('went on')"
    code = script + f"signals = Signals(); signals.at_work = True\nwith signals:\n    {ending}\n"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "KeyboardInterrupt" in done.stderr
    assert done.stdout == ""


def test_arguments_of_every_kind_are_read_from_the_signature():
    def command(
        first: Path,
        others: list[Path],
        /,
        n: list[int] | None = None,
        size: tuple[int, int] = (1, 2),
        check_all: bool = False,
        set_aside: bool = True,
        z: str | None = None,
        seed: int = 0,
    ) -> None:
        """Do it.

        Args:
            n: numbers.

        Examples:
            probunet command x
        """

    def parsed(*words):
        return arguments.parse(command, "command", words)

    plain = parsed("a", "b", "c")
    assert plain == {
        **{"first": Path("a"), "others": [Path("b"), Path("c")], "n": None, "size": (1, 2)},
        **{"check_all": False, "set_aside": True, "z": None, "seed": 0},
    }
    assert parsed("a", "b", "-n", "1", "2")["n"] == parsed("--n", "1", "2", "--seed", "3", "a", "b")["n"] == [1, 2]
    assert parsed("a", "b", "--size", "3", "4")["size"] == (3, 4)
    assert parsed("a", "b", "-z", "0,1")["z"] == "0,1"
    for words, value in ((["--check-all"], True), (["--check_all", "true"], True), (["--check-all=false"], False)):
        assert parsed("a", "b", *words)["check_all"] is value
    assert parsed("--check-all", "a", "b")["others"] == [Path("b")]
    assert parsed("a", "b", "--set-aside", "false")["set_aside"] is False


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("fly", "there is no command 'fly'"),
        ("prepare fly", "choose one of prepare readers"),
        ("prepare verify x --fly 1", "there is no option --fly 1; see --help"),
        ("prepare slices --archive x.tar", "out is missing"),
        ("prepare readers --out x --seed -1", "--seed -1 is no seed"),
        ("prepare readers --out x --seed 99999999999999999999", "--seed 99999999999999999999 is no seed"),
        ("prepare readers --out x --jobs 0", "--jobs 0 is no number of processes"),
        ("prepare readers --out x --limit 99999999999999999999", "--limit: 99999999999999999999 is too large"),
        ("prepare readers --out x --spacing wide", "--spacing: wide is not a number"),
        ("prepare streets --out x --size 64", "--size takes 2 values, got 1: 64"),
        ("prepare streets --out x --images a b c", "--images: a is not a whole number"),
        ("prepare lidc --check 3", "there is no option 3"),
        ("score --n 1 --samples a --n=4", "--n is given 2 times; give it once, with all of its values"),
        ("sample x -n 1 y --n 2", "--n is given 2 times"),
        ("train --data.crop 24 --data.crop 32", "--data.crop is given 2 times"),
        ("sample a b --out x -n many", "--n: many is not a whole number"),
        ("sample a b --out x --format gif", "--format: gif is not one of npy, png"),
        ("evaluate a --n", "--n needs a value"),
        ("evaluate a --split everything", "--split: everything is not one of"),
        ("evaluate", "run is missing"),
        ("train --config nowhere.yaml", "nowhere.yaml"),
        ("score --references a --confidence high", "--confidence: high is not a number"),
    ],
)
def test_every_mistake_is_one_short_sentence(line, words, failing, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = failing(*line.split())
    assert words in said
    assert len(said) < 420
    assert not list(tmp_path.iterdir())


CONFIGURATION = """
out: out
data: {store: store, crop: 24}
models: {unet: {class_path: probunet.UNet, init_args: {channels: [4, 4]}}}
optimisation: {learning_rate: 1.0e-2}
trainer: {max_steps: 1}
"""


@pytest.mark.parametrize("option", ["--config", "--data", "--trainer"])
def test_a_file_nested_deeper_than_a_parser_may_go_is_one_sentence(option, failing, tmp_path):
    """A parser in C follows it until the memory of its calls ends, and with it the program."""
    file = tmp_path / "deep.yaml"
    file.write_text("a: " + "[" * 200_000 + "]" * 200_000)
    configuration = ["--config", "demo"] if option != "--config" else []
    assert "nested more than 40 levels deep" in failing("train", *configuration, option, str(file))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("trainer: {max_steps: 1}", "trainer: []"), "--trainer"),
        (("crop: 24", "crop: {x: 1}"), "--data.crop: {'x': 1} is not a whole number or a list"),
        (("optimisation:", "energy: strong\noptimisation:"), "--energy: strong is not names with values"),
        (("crop: 24", "crop: 24, crup: 3"), "there is no option --data.crup; did you mean data.crop?"),
        (
            ("max_steps: 1", "max_step: 1"),
            "c.yaml: there is no option --trainer.max_step; did you mean trainer.max_steps?",
        ),
        (("out: out", "out: out\nseed: null"), "--seed is null; give a value, or leave it out"),
        (("1.0e-2", "null"), "--optimisation.learning_rate is null"),
        (("crop: 24", "crop: 24, batch_size: null"), "--data.batch_size is null"),
        (("crop: 24", "crop: 24, augmentation: {rotation: null}"), "--data.augmentation.rotation is null"),
        (("optimisation:", "energy: {weight: null}\noptimisation:"), "--energy.weight is null"),
        (("unet:", "1:"), "c.yaml: models: 1 is no text, and so no name; write it as '1'"),
        (("models: {unet:", "models.unet: {a:"), "c.yaml: write models.unet in a block, models: {unet: ...}"),
        (("out: out", "out: out\nonly+: [unet]"), "c.yaml: there is no option --only+; did you mean only?"),
        (("[4, 4]", "4"), "channels: 4 is not a list"),
        (("channels: [4, 4]", "dims: 4"), "dims: 4 is not one of 2, 3"),
        (("probunet.UNet", "probunet.UNett"), "c.yaml: there is no class probunet.UNett; did you mean UNet?"),
        (("probunet.UNet", "UNett"), "c.yaml: there is no class UNett; did you mean UNet?"),
        (
            ("channels:", "chanels:"),
            "probunet.UNet takes no argument chanels; it takes in_channels, num_classes",
        ),
        (("init_args:", "init_arg:"), "c.yaml: 'init_arg' beside class_path: probunet.UNet; did you mean init_args?"),
        (("class_path:", "class_pth:"), "c.yaml: models.unet: {'class_pth': 'probunet.UNet'"),
        (("{class_path: probunet.UNet, init_args: {channels: [4, 4]}}", "5"), "models.unet: 5 names no class"),
        (("[4, 4]", "[]"), "UNet(channels=...) is []"),
        (("out: out", "out: out\nonly: unet"), "c.yaml: only: unet is not several values; give a list, only: [...]"),
        (("1.0e-2", "fast"), "--optimisation.learning_rate: fast is not a number"),
        (("max_steps: 1", "max_steps: few"), "--trainer.max_steps: few is not a whole number"),
        (("optimisation", "optimization"), "c.yaml: there is no option --optimization; did you mean optimisation?"),
        (("crop: 24", "crop: 24, batch_size: 0"), "--data.batch_size 0 is no number of images"),
        (("crop: 24", "crop: 24, validation_images: 0"), "--data.validation_images 0 is no number of images"),
        (("crop: 24", "crop: 24, augmentation: {scale: 0}"), "augmentation.scale 0"),
        (("crop: 24", "crop: 24, augmentation: {probability: 2}"), "augmentation.probability 2"),
        (("models:", "model:"), "c.yaml: there is no option --model; did you mean models?"),
        (("models:", "nothing_like_it:"), "c.yaml: there is no option --nothing_like_it; see --help"),
    ],
)
def test_a_wrong_configuration_is_one_short_sentence_with_the_whole_name(change, words, failing, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c.yaml").write_text(CONFIGURATION.replace(*change))
    said = failing("train", "--config", "c.yaml")
    assert words in said
    assert len(said) < 260
    assert "Union" not in said
    assert os.listdir(tmp_path) == ["c.yaml"]  # noqa: PTH208
