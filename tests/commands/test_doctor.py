"""``probunet doctor``: what is there and what is missing, by name."""

import tomllib
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from probunet.cli import main
from probunet.commands import doctor

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_every_extra_for_users_has_a_purpose():
    assert set(doctor.PURPOSES) == set(PROJECT["optional-dependencies"]) - {"dev", "docs", "all"}
    whole = PROJECT["optional-dependencies"]["all"][0]
    assert set(whole.removeprefix("probunet[").removesuffix("]").split(",")) == set(doctor.PURPOSES)


def test_it_says_what_is_there(capsys):
    main(["doctor"])
    said = capsys.readouterr().out
    assert "torch 2." in said
    assert "device: auto is" in said
    assert "nifti" in said


def test_what_is_missing_is_named_with_the_command_that_installs_it(capsys, monkeypatch):
    real = doctor.version

    def lacking(package):
        if package == "nibabel":
            raise PackageNotFoundError(package)
        return real(package)

    monkeypatch.setattr(doctor, "version", lacking)
    main(["doctor"])
    said = capsys.readouterr().out
    assert "extra nifti      missing  NIfTI volumes" in said
    assert "pip install 'probunet[nifti" in said


def test_without_an_installation_it_says_so(monkeypatch, failing):
    def nothing(package):
        raise PackageNotFoundError(package)

    monkeypatch.setattr(doctor, "metadata", nothing)
    assert "probunet is not installed" in failing("doctor")


@pytest.mark.parametrize("extra", sorted(doctor.PURPOSES))
def test_the_packages_of_an_extra_are_those_of_the_project(extra):
    from packaging.requirements import Requirement

    declared = sorted(Requirement(line).name for line in PROJECT["optional-dependencies"][extra])
    assert doctor.extras()[extra] == declared
