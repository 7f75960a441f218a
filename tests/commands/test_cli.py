"""The command line as a whole."""

import subprocess
import sys

import pytest

from probunet.cli import COMMANDS, main


def test_help_lists_every_command(capsys):
    main(["--help"])
    listed = capsys.readouterr().out
    for name, command in COMMANDS.items():
        assert name in listed
        assert command.summary in listed


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_every_command_shows_examples_and_describes_every_argument(name, capsys):
    with pytest.raises(SystemExit) as stopped:
        main([*name.split(), "--help"])
    assert stopped.value.code == 0
    text = capsys.readouterr().out
    for example in COMMANDS[name].examples:
        assert example in text


def test_unknown_commands_and_arguments_are_one_sentence(failing):
    assert "no command 'fly'" in failing("fly")
    assert "choose one of prepare readers" in failing("prepare", "fly")
    assert "--fly" in failing("prepare", "verify", "x", "--fly", "1")
    assert "out" in failing("prepare", "slices", "--archive", "x.tar")


def test_verify(store, capsys):
    main(["prepare", "verify", str(store.path)])
    assert "is intact: 24 cases" in " ".join(capsys.readouterr().err.split())


def test_arguments_are_refused_before_work_begins(tmp_path, failing):
    for arguments, words in (
        (["--spacing", "0"], "spacing of 0.0 mm"),
        (["--size", "8"], "size of 8 px"),
        (["--limit", "0"], "limit of 0"),
    ):
        assert words in failing("prepare", "readers", "--out", str(tmp_path / "s"), *arguments)
    assert not list(tmp_path.iterdir())


def test_help_is_fast_to_import():
    """The list of commands needs neither torch nor Lightning's trainer to be set up twice; it must not fail."""
    done = subprocess.run([sys.executable, "-m", "probunet"], capture_output=True, text=True, check=True)
    assert "usage: probunet" in done.stdout
