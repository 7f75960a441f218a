"""Every shipped configuration parses and makes its models, and each form of them gives a loss."""

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import torch
import yaml
from copies import command

from probunet.cli import main, parse
from probunet.core.descriptions import read_yaml
from probunet.core.shipped import named
from probunet.data.own import street_folder
from probunet.runs.specification import Specification
from probunet.training.configurations import FOLDER

OWN = Path(street_folder.__file__).parent
CONFIGS = sorted(FOLDER.glob("*.yaml"))
NARROW = 4
"""Channels of the models that are run, for the sake of time."""
PRINTED = [file for file in CONFIGS if file.stem in ("compare_camvid", "compare_readers", "lidc_best")]
"""With a crop of streets, with many models, and with the energy score."""


@cache
def read(file: Path) -> dict[str, Any]:
    """Parse a configuration; its models are made as they are but without their values, which take the time."""
    try:
        with torch.device("meta"):
            return parse("train", ["--config", str(file)])
    except NotImplementedError:  # flows need values
        return parse("train", ["--config", str(file)])


def narrow(specification: Specification) -> Specification:
    """Make a model of the same options and scales, with few channels and a single member."""
    small = {"channels": [NARROW] * len(specification.arguments["channels"]), "members": 1}
    if specification.arguments.get("combine_channels"):
        small["combine_channels"] = NARROW
    return Specification(
        specification.name, {key: small.get(key, value) for key, value in specification.arguments.items()}
    )


def forms() -> dict[str, Specification]:
    """The models of all configurations, those once that differ only in their channels."""
    small = (narrow(Specification.of(model)) for file in CONFIGS for model in read(file)["models"].values())
    return {json.dumps(form.as_plain()): form for form in small}


@pytest.mark.parametrize("data", ["readers", "slices", "streets"])
def test_the_papers_claims_are_checked_with_its_own_models(data):
    for stem in (f"compare_{data}", f"compare_{data}_quick"):
        models = {name: Specification.of(model) for name, model in read(FOLDER / f"{stem}.yaml")["models"].items()}
        normalised = {name for name, model in models.items() if model.arguments["batch_norm"]}
        assert normalised == ({"probabilistic_unet_normalised"} & models.keys())
        paper = {"unet", "dropout_unet", "ensemble", "image2image_vae", "probabilistic_unet", "fixed_prior"}
        assert paper | {"fixed_prior_label_posterior", "latent_at_start"} <= models.keys()
        assert {model.arguments["heads"] for model in models.values() if model.name == "MHeads"} >= {4, 16}


def test_every_form_of_model_gives_a_loss():
    assert {file.stem for file in CONFIGS} >= {"demo", "lidc", "cityscapes"}
    for name, form in forms().items():
        built = form.build()
        size = (16,) * built.dims
        image = torch.zeros(2, built.in_channels, *size)  # two: batch normalisation of a coarsest scale of one pixel
        loss = built.loss(image, torch.zeros(2, *size, dtype=torch.uint8)).total
        assert torch.isfinite(loss), name


@pytest.mark.parametrize("file", PRINTED, ids=lambda file: file.stem)
def test_printed_configuration_is_complete_and_reads_back(file, tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped, torch.device("meta"):
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


def test_configurations_are_listed_and_printed_by_name(capsys):
    main(["configs"])
    listed = capsys.readouterr().out
    for file in CONFIGS:
        assert re.search(rf"^{file.stem} +\w.*\w$", listed, re.MULTILINE), file.stem
    main(["configs", "demo"])
    assert capsys.readouterr().out == (FOLDER / "demo.yaml").read_text()


def test_a_name_means_a_shipped_file_and_only_one_thing(tmp_path, monkeypatch, failing):
    monkeypatch.chdir(tmp_path)
    assert named("demo", FOLDER) == FOLDER / "demo.yaml"
    assert named("camvid", OWN) == OWN / "camvid.yaml"
    assert named("nowhere.yaml", FOLDER) == Path("nowhere.yaml")
    assert named("here/demo", FOLDER) == Path("here/demo")
    Path("mine").write_text("seed: 1")
    assert named("mine", FOLDER) == Path("mine")
    assert "none of those that come with probunet: cityscapes, compare" in failing("train", "--config", "fast")
    Path("demo").write_text("seed: 1")
    assert "give the path for the second" in failing("train", "--config", "demo", "--only", "unet")
    assert "there is no option --sead" in failing("train", "--config=lidc", "--sead", "1")


@pytest.fixture(scope="module")
def schema():
    code, printed, _ = command("configs", "--schema").end()  # a process that knows no classes of other tests
    assert code == 0
    content = json.loads(printed)
    kind = jsonschema.validators.validator_for(content)
    kind.check_schema(content)
    return kind(content)


@pytest.mark.parametrize("file", CONFIGS, ids=lambda file: file.stem)
def test_the_schema_for_editors_takes_every_configuration(file, schema):
    assert [error.message[:200] for error in schema.iter_errors(read_yaml(file))] == []


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("datas", {"store": "x"}),
        ("data.croop", 64),
        ("data.augmentation.mirror", "sometimes"),
        ("models.mixture_of_experts.class_path", "probunet.Mixture"),
        ("models.mixture_of_experts.init_args.chanels", [4]),
        ("models.mixture_of_experts.init_args.experts", "four"),
        ("models.mixture_of_experts.init_args.pixels", {"class_path": "probunet.TopK", "init_args": {"shares": 0.1}}),
        ("energy.relaxation", "hard"),
        ("optimisation.schedule", "linear"),
        ("trainer.max_step", 10),
    ],
)
def test_the_schema_refuses_what_the_command_line_refuses(key, value, schema, tmp_path, failing):
    content = read_yaml(FOLDER / "lidc_best.yaml")
    *places, last = key.split(".")
    part = content
    for place in places:
        part = part[place]
    part[last] = value
    assert list(schema.iter_errors(content))
    (tmp_path / "wrong.yaml").write_text(yaml.safe_dump(content))
    failing("train", "--config", str(tmp_path / "wrong.yaml"))


def test_a_configuration_may_name_its_schema_and_a_model_of_ones_own_but_not_trust_it(schema, tmp_path):
    content = read_yaml(FOLDER / "demo.yaml")
    assert list(schema.iter_errors(content | {"trust": ["mine"]}))
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({"$schema": "probunet.schema.json", **content}))
    with torch.device("meta"):
        assert parse("train", ["--config", str(tmp_path / "mine.yaml")])["seed"] == content.get("seed", 0)
    content["models"] = {"mine": {"class_path": "my_package.Mine", "init_args": {"width": 3}}}
    assert not list(schema.iter_errors(content))
