"""What belongs to an extra is named in one sentence where it is missing, before any work begins."""

import ast
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from probunet.core.errors import InputError
from probunet.core.packages import EXTRAS, needed_by, require

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
ALWAYS = {Requirement(line).name.replace("-", "_") for line in PROJECT["dependencies"]}
MODULES = {"pillow": "PIL", "pyyaml": "yaml"}
WITH = {"starlette", "triton"}
"""Parts of fastapi, and of torch for a GPU, in packages of their own."""


def test_every_package_of_an_extra_is_one_that_the_project_declares():
    declared = {
        (Requirement(line).name.replace("-", "_"), extra)
        for extra, lines in PROJECT["optional-dependencies"].items()
        if extra not in ("all", "dev", "docs")
        for line in lines
    }
    assert set(EXTRAS.items()) == declared


def imported(file: Path) -> set[str]:
    """Names of the packages that a file imports anywhere."""
    nodes = list(ast.walk(ast.parse(file.read_text(encoding="utf-8"))))
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return {
        name.partition(".")[0]
        for name in plain | {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    }


def test_what_is_imported_is_declared():
    allowed = set(sys.stdlib_module_names) | {MODULES.get(name, name) for name in ALWAYS} | {"probunet", *EXTRAS, *WITH}
    undeclared = {file.name: imported(file) - allowed for file in (ROOT / "src").rglob("*.py")}
    assert not {file: names for file, names in undeclared.items() if names}


def test_another_missing_module_is_no_matter_of_extras(monkeypatch):
    with pytest.raises(ModuleNotFoundError, match="no_such_module"), needed_by("this"):
        import no_such_module  # noqa: F401
    monkeypatch.setitem(sys.modules, "nibabel", None)
    with pytest.raises(InputError) as refused:
        require("nibabel", "mine.nii.gz")
    assert str(refused.value) == "mine.nii.gz needs nibabel; install it with: pip install 'probunet[nifti]'"


@pytest.mark.parametrize(
    ("line", "package", "extra"),
    [
        ("sample lidc-crops nowhere --out out --format dicomseg", "highdicom", "dicom"),
        ("sample lidc-crops nowhere --out out --format nifti", "nibabel", "nifti"),
        ("prepare inspect nowhere --picture mine.png", "matplotlib", "train"),
    ],
)
def test_commands_name_the_extra_before_they_look_at_anything(line, package, extra, monkeypatch, tmp_path, failing):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, package, None)
    assert f"needs {package}; install it with: pip install 'probunet[{extra}]'" in failing(*line.split())
    assert not list(tmp_path.iterdir())
