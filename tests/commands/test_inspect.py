"""``probunet inspect``: what is printed is the models of a configuration, and says what the model is for."""

import yaml

from probunet.cli import main, parse
from probunet.runs.specification import Specification
from probunet.runs.trained import open_model


def test_what_is_printed_is_the_model_of_a_configuration(tmp_path, capsys):
    main(["inspect", "lidc-crops"])
    said = capsys.readouterr().out
    (tmp_path / "mine.yaml").write_text("out: run\ndata: {store: store, crop: 64}\n" + said)
    [(name, model)] = parse("train", ["--config", str(tmp_path / "mine.yaml")])["models"].items()
    assert name == "mixture_of_experts"
    assert Specification.of(model) == open_model("lidc-crops").specification
    comments = " ".join(line.removeprefix("#").strip() for line in said.splitlines() if line.startswith("#"))
    assert "not for diagnosis" in comments
    assert "CC BY" in comments


def test_an_objective_keeps_its_class(trained, capsys):
    main(["inspect", str(trained / "probabilistic_unet")])
    arguments = yaml.safe_load(capsys.readouterr().out)["models"]["probabilistic_unet"]["init_args"]
    assert arguments["objective"] == {"class_path": "probunet.ELBO", "init_args": {"beta": 1.0}}


def test_what_is_no_model_is_refused(tmp_path, failing):
    assert str(tmp_path) in failing("inspect", str(tmp_path))
