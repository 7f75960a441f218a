"""A plan for any store parses, says why, fits the machine and trains."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from small_data import DESCRIPTION, blobs

from probunet.cli import main, parse
from probunet.data.own.items import make_store
from probunet.data.prepare import write_store
from probunet.data.store import Store
from probunet.training.plan import plan, written
from probunet.training.traits import Machine, Traits

PROCESSOR, GPU = Machine("2 processor cores", False, 8.0), Machine("a GPU", True, 70.0)
LESIONS = Traits(2, (128, 128), None, 1, ("background", "lesion"), 4, (), 1.0, False, 9159, 1691, 512, (47, 45))
STREETS = Traits(2, (240, 180), None, 3, tuple("abcdefghijklmnop"), 1, (), 1.0, True, 367, 101, 367, (240, 180))
VOLUMES = Traits(
    3, (16, 60, 60), (2.5, 0.7, 0.7), 1, ("background", "nodule"), 4, (), 1.0, False, 280, 60, 280, (9, 40, 40)
)


def test_lesions_in_the_middle_are_planned_as_by_hand():
    chosen = plan(LESIONS, PROCESSOR)  # configuration lidc_best
    assert (chosen.crop, chosen.shift, chosen.batch, chosen.scales) == ((64, 64), 8, 16, 5)
    assert chosen.experts
    assert chosen.steps == 4000
    content = yaml.safe_load(written(Path("data/slices"), LESIONS, PROCESSOR, Path("runs/slices")))
    assert content["energy"] == {"weight": 300, "samples": 6, "temperature": 0.3}
    assert content["data"]["augmentation"]["turn"]
    assert content["models"]["mixture_of_experts"]["init_args"]["channels"] == [16, 32, 64, 96, 64]


def test_streets_that_flip_get_a_latent_space_and_no_turns():
    chosen = plan(STREETS, PROCESSOR)
    assert not chosen.experts
    assert not chosen.centred
    assert chosen.crop[0] * chosen.crop[1] <= 96 * 128
    content = yaml.safe_load(written(Path("s"), STREETS, PROCESSOR, Path("runs/s")))
    assert "energy" not in content
    assert "turn" not in content["data"]["augmentation"]
    assert content["models"]["probabilistic_unet"]["init_args"]["num_classes"] == 16


def test_names_of_classes_cannot_break_the_file():
    traits = replace(LESIONS, classes=("background", "a\nout: elsewhere", "# \x07 '\u2028 b"))
    content = yaml.safe_load(written(Path("it's"), traits, PROCESSOR, Path("runs/it's")))
    assert (content["out"], content["data"]["store"]) == ("runs/it's", "it's")


def test_volumes_keep_their_form_and_say_how_far_their_voxels_are_apart():
    assert plan(VOLUMES, PROCESSOR).crop[0] >= 12
    text = written(Path("v"), VOLUMES, PROCESSOR, Path("runs/v"))
    assert "--start" in text  # with a model of slices, which took D^2_GED of nodules from 0.25 to 0.20
    content = yaml.safe_load(text)
    arguments = content["models"]["mixture_of_experts"]["init_args"]
    assert (arguments["dims"], arguments["spacing"]) == (3, [2.5, 0.7, 0.7])
    assert len(content["data"]["crop"]) == 3
    assert content["data"]["augmentation"]["probability"] == 0  # 280 volumes are thousands of slices
    assert plan(replace(VOLUMES, size=(10, 44, 44)), PROCESSOR).crop == (12, 48, 48)  # padded, and halved without loss


def test_few_images_are_not_learned_by_heart():
    few = replace(LESIONS, training=24, size=(256, 256), around=(250, 250))
    chosen = plan(few, PROCESSOR)
    assert chosen.steps == 1200
    assert plan(replace(few, training=48), PROCESSOR).steps == 200 * 48 / chosen.batch == 2400


def test_readers_are_experts_where_they_differ_in_style():
    named = replace(LESIONS, names=("a", "it's", "b: c", "d"), style=2.3)
    content = yaml.safe_load(written(Path("s"), named, PROCESSOR, Path("runs/s")))
    arguments = content["models"]["mixture_of_experts"]["init_args"]
    assert arguments["reader_names"] == list(named.names)
    assert "experts" not in arguments
    assert not plan(replace(named, style=1.4), PROCESSOR).persons


def test_style_is_how_much_more_one_reader_marks(tmp_path):
    labels = np.zeros((8, 2, 16, 16), np.uint8)
    labels[:, 0, :4, :6] = 1
    labels[:, 1, :3, :3] = 1
    images = np.zeros((8, 1, 16, 16), np.float32)
    named = make_store((images, labels), tmp_path / "named", readers=["a", "b"], shares=(0.5, 0.25, 0.25))
    assert Traits.of(named).style == pytest.approx(24 / 9)
    nobody = make_store((images, labels), tmp_path / "nobody", shares=(0.5, 0.25, 0.25))
    assert Traits.of(nobody).style == 1


@pytest.mark.parametrize("traits", [LESIONS, STREETS, VOLUMES])
def test_more_memory_is_never_less_and_a_gpu_takes_more(traits):
    large = plan(replace(traits, training=10_000), GPU)
    small = plan(traits, replace(PROCESSOR, memory_gb=0.1))
    assert 2 <= small.batch <= plan(traits, PROCESSOR).batch <= large.batch
    assert np.prod(large.crop) >= np.prod(plan(traits, PROCESSOR).crop)


@pytest.mark.parametrize("kind", ["store", "streets", "volumes"])
def test_a_plan_trains(kind, request, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    data: Store = request.getfixturevalue(kind)
    main(["plan", str(data.path), "--out", "mine.yaml", "--experiment", "run", "--device", "cpu"])
    assert "next: probunet train --config mine.yaml" in capsys.readouterr().err
    content = yaml.safe_load(Path("mine.yaml").read_text())
    [model] = content["models"].values()
    model["init_args"] |= {"channels": [4, 4], "combine_channels": 4}  # for the sake of time
    content["trainer"] |= {"max_steps": 2, "val_check_interval": 2, "precision": "32-true", "accelerator": "cpu"}
    content["data"] |= {"batch_size": 2, "validation_images": 1}
    assert parse("train", ["--config", "mine.yaml"])["data"].store == data.path
    Path("short.yaml").write_text(yaml.safe_dump(content))
    main(["train", "--config", "short.yaml", "--quiet"])
    assert list(Path("run").glob("*/training.json"))


def test_what_cannot_be_trained_is_refused(store, tmp_path, monkeypatch, failing):
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text("seed: 1")
    assert "mine.yaml exists already" in failing("plan", str(store.path), "--out", "mine.yaml")
    tiny = [replace(source, draw=_tiny) for source in blobs(8)]
    write_store(tmp_path / "tiny", tiny, DESCRIPTION, np.uint8, jobs=1)
    assert "images of 8x8 px; a network needs at least 16 px" in failing("plan", "tiny")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.yaml", "tiny"]


def _tiny():
    return np.zeros((1, 8, 8), np.uint8), np.ones((4, 8, 8), np.uint8)
