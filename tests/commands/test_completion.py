"""What bash completes, asked in bash; no other process runs when a key is pressed."""

import shutil
import subprocess

import pytest

from probunet.cli import main
from probunet.commands.listed import COMMANDS

pytest.importorskip("shtab")
ASK = """
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
function=$(complete -p probunet | sed 's/.*-F \\([^ ]*\\).*/\\1/')
"$function" probunet "${COMP_WORDS[$COMP_CWORD]}" "${COMP_WORDS[$COMP_CWORD - 1]}"
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def script(tmp_path_factory):
    file = tmp_path_factory.mktemp("shell") / "probunet.bash"
    with pytest.MonkeyPatch.context() as patch:
        written: list[str] = []
        patch.setattr("builtins.print", lambda text: written.append(text))
        main(["completion", "bash"])
    file.write_text("\n".join(written))
    return file


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("ex", {"explore", "export"}),
        ("prepare st", {"streets"}),
        ("prepare streets --im", {"--images"}),
        ("train --trainer.max_t", {"--trainer.max_time"}),
        ("train --config na", {"names.yaml"}),
        ("evaluate na", {"names.yaml"}),
        ("evaluate --split te", {"test"}),
        ("sample runs/x --out na", {"names.yaml"}),
    ],
)
def test_bash_completes(typed, completed, script, tmp_path):
    (tmp_path / "names.yaml").touch()
    words = ["bash", "-c", ASK, "bash", str(script), "probunet", *typed.split()]
    said = subprocess.run(
        words, cwd=tmp_path, capture_output=True, text=True, check=True, env={"PATH": "/usr/bin:/bin"}
    )
    assert set(said.stdout.split()) == completed


def test_every_command_is_completed_with_its_options(script):
    text = script.read_text()
    for name in COMMANDS:
        assert f"_shtab_probunet_{name.replace(' ', '_')}_option_strings=(" in text


def test_another_shell_is_refused(failing):
    assert "there is no completion for fish; choose one of bash, tcsh, zsh" in failing("completion", "fish")
