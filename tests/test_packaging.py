"""What stands around the code says the same as the code."""

import re
import shutil
import subprocess
import tomllib
from importlib.metadata import PackageNotFoundError, metadata, version
from pathlib import Path

import pytest
import yaml
from packaging.specifiers import SpecifierSet
from packaging.version import Version

import probunet as pu
from probunet.core.version import VERSION

ROOT = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT, SCM = PYPROJECT["project"], PYPROJECT["tool"]["setuptools_scm"]
RELEASE = SCM["fallback_version"]


def test_the_last_release_is_cited_and_described():
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))["version"] == RELEASE
    described = re.findall(r"^## (\d[\w.]*)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert described[0] == RELEASE


def test_every_place_says_the_version_that_was_installed():
    assert VERSION == pu.__version__ == version("probunet")
    assert Version(VERSION) >= Version(RELEASE)


def git(folder: Path, *words: str) -> None:
    who = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
    subprocess.run(["git", *who, *words], cwd=folder, check=True, capture_output=True)


@pytest.mark.skipif(not shutil.which("git"), reason="no git")
def test_the_version_is_that_of_the_tag(tmp_path, monkeypatch):
    scm = pytest.importorskip("setuptools_scm")
    monkeypatch.delenv("SETUPTOOLS_SCM_PRETEND_VERSION", raising=False)

    def built(folder: Path) -> str:
        return scm.get_version(**{**SCM, "root": str(folder)})

    tree, copy = tmp_path / "tree", tmp_path / "tree" / "copy"
    copy.mkdir(parents=True)
    git(tree, "init", "--quiet")
    git(tree, "commit", "--quiet", "--allow-empty", "-m", "first")
    git(tree, "tag", "v7.8.9")
    assert built(tree) == "7.8.9"
    assert built(copy) == RELEASE  # without a history of its own, inside of another repository
    git(tree, "commit", "--quiet", "--allow-empty", "-m", "second")
    assert built(tree).startswith("7.8.10.dev1+g")
    git(tmp_path, "clone", "--quiet", "--depth", "1", "--no-tags", tree.as_uri(), "shallow")
    with pytest.warns(UserWarning, match="shallow"):
        counted = built(tmp_path / "shallow")
    assert Version(counted) > Version(RELEASE)
    assert ".dev1+g" in counted  # no tag to be seen: what follows the last release


def test_ci_builds_and_uses_the_wheel_where_it_tests():
    assert "make wheel" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "test.yml").read_text(encoding="utf-8"))["jobs"]
    lines = {name: [step.get("run", "") for step in job["steps"]] for name, job in jobs.items()}
    assert "bash .ci/run" in lines["linux"]
    assert "python .ci/first_steps.py" in lines["elsewhere"]
    assert {"macos-latest", "windows-latest"} == set(jobs["elsewhere"]["strategy"]["matrix"]["os"])


def test_the_dockerfile_installs_extras_that_exist():
    [extras] = re.findall(r"'\.\[([\w,]+)\]'", (ROOT / "Dockerfile").read_text(encoding="utf-8"))
    assert set(extras.split(",")) <= set(PROJECT["optional-dependencies"])


def test_every_package_that_is_declared_is_pinned():
    pinned = {
        re.split("[=<>~]", line)[0].lower().replace("_", "-")
        for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
        if not line.startswith("#")
    }
    lines = [*PROJECT["dependencies"], *(line for extra in PROJECT["optional-dependencies"].values() for line in extra)]
    declared = {re.split(r"[\[=<>~]", line)[0].lower().replace("_", "-") for line in lines} - {"probunet"}
    assert declared <= pinned, declared - pinned


def pins() -> list[str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return [line.split("==")[0] for line in lines if "==" in line and not line.startswith("#")]


@pytest.mark.parametrize("package", pins())
def test_every_pin_takes_the_oldest_python_that_is_promised(package):
    """A pin that needs a later patch release, 3.11.5 for example, leaves those out who have the one before."""
    oldest = PROJECT["requires-python"].removeprefix(">=") + ".0"
    try:
        needs = metadata(package).get("Requires-Python", "")
    except PackageNotFoundError:
        pytest.skip("another platform's")
    assert SpecifierSet(needs).contains(oldest)
