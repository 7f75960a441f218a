"""What stands around the code says the same as the code."""

import re
import tomllib
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path

import pytest
import yaml
from packaging.specifiers import SpecifierSet

from probunet.core.version import VERSION

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_the_version_stands_once_and_is_cited_and_described():
    assert PROJECT["dynamic"] == ["version"]
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))["version"] == VERSION
    assert f"\n## {VERSION}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


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
