"""Every shipped configuration parses, builds its models and trains a step."""

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from probunet.cli import main, parse
from probunet.runs.specification import Specification

CONFIGS = sorted((Path(__file__).parents[1] / "configs").glob("*.yaml"))


def read(file: Path) -> dict[str, Any]:
    """Parse a configuration; whole models are made without their values, which take the time."""
    try:
        with torch.device("meta"):
            return parse("train", ["--config", str(file)])
    except NotImplementedError:  # flows need values
        return parse("train", ["--config", str(file)])


@pytest.mark.parametrize("file", CONFIGS, ids=lambda file: file.stem)
def test_it_parses_and_its_models_take_a_step(file):
    values = read(file)
    crop = values["data"].crop
    height, width = (crop, crop) if isinstance(crop, int) else crop
    size = max(height // 4, 16), max(width // 4, 16)  # for the sake of time
    for model in values["models"].values():
        specification = Specification.of(model)
        if "members" in specification.arguments:
            specification.arguments["members"] = 1  # they are all the same
        built = specification.build()
        image = torch.zeros(1, built.in_channels, *size)
        loss = built.loss(image, torch.zeros(1, *size, dtype=torch.uint8)).total
        assert torch.isfinite(loss)


@pytest.mark.parametrize("file", CONFIGS, ids=lambda file: file.stem)
def test_printed_configuration_is_complete_and_reads_back(file, tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["train", "--config", str(file), "--print_config"])
    assert stopped.value.code == 0
    printed = tmp_path / "printed.yaml"
    printed.write_text(capsys.readouterr().out)
    models = yaml.safe_load(printed.read_text())["models"].values()
    assert all("in_channels" in model["init_args"] for model in models)  # a default that no configuration repeats
    first, second = read(file), read(printed)
    assert first["data"] == second["data"]
    assert first["optimisation"] == second["optimisation"]
    assert first["energy"] == second["energy"]
    assert first["trainer"] == second["trainer"]
    records = [{name: Specification.of(model) for name, model in v["models"].items()} for v in (first, second)]
    assert records[0] == records[1]
