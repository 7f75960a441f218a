"""Evaluation from Python: typed results, draws as a user would draw them, and numbers that can be computed by hand."""

import dataclasses
import json
import re
import shutil
from functools import partial
from itertools import product

import numpy as np
import pytest
import torch
from small_data import DESCRIPTION, blobs
from torch.distributions import Independent, Normal

import probunet as pu
from probunet.cli import main
from probunet.core.errors import InputError
from probunet.core.types import IGNORE
from probunet.data.prepare import write_store
from probunet.distributions.latent import Normals
from probunet.evaluation.groups import independent_groups
from probunet.evaluation.model_draws import score_distribution
from probunet.metrics import FOREGROUND, Convention, energy_distance
from probunet.models.base import SegmentationModel
from probunet.nets.decode import Network


class Members:
    """Says M maps of one pixel, without replacement, each image for itself, and starts over when all are drawn."""

    def __init__(self, maps: list[int], images: int, independent: bool = False, distinct: bool = True) -> None:
        self.maps, self.images, self.independent = torch.tensor(maps, dtype=torch.uint8), images, independent
        self.distinct = len(maps) if distinct else None

    def sample(self, n: int, generator: torch.Generator, cover: bool = False) -> torch.Tensor:
        if self.independent:
            chosen = torch.randint(len(self.maps), (n, self.images), generator=generator)
        else:
            rounds = -(-n // len(self.maps))
            keys = torch.rand((self.images, rounds, len(self.maps)), generator=generator)
            chosen = keys.argsort(dim=-1).reshape(self.images, -1)[:, :n].T
        return self.maps[chosen][..., None, None]


READERS = np.array(list(product((0, 1), repeat=4)) * 40, np.uint8)[:, :, None, None]  # all draws of four from {0, 1}


def means(distribution: Members, numbers: list[int]) -> dict[tuple[str, int], float]:
    _, batch = score_distribution(distribution, READERS, numbers, FOREGROUND, torch.Generator().manual_seed(0))
    return {key: float(values.mean()) for key, values in batch.values.items()}


def test_members_are_drawn_anew_for_every_number_of_samples():
    """Four members that are the readers' distribution {0, 1}: four samples are all of them.

    D_GED^2 is then exactly the readers' part, .5/4. From sixteen draws, subsets of four would repeat members: E d
    without i = j is 16/15 * .5, so 2 * .5 - 3/4 * 8/15 - .375 = .225.
    """
    found = means(Members([0, 1, 0, 1], len(READERS)), [1, 4, 16])
    assert found["ged2", 4] == pytest.approx(0.125)
    assert found["ged2", 16] == pytest.approx(0.125)
    assert found["ged2", 1] == pytest.approx(2 * 0.5 - 0.375, abs=0.03)
    sixteen = np.tile([0, 1], 8).astype(np.uint8)[None, :, None, None].repeat(len(READERS), axis=0)
    assert energy_distance(sixteen, READERS, n=4).mean() == pytest.approx(0.225)


@pytest.mark.parametrize("kind", ["members", "dependent without limit", "independent"])
def test_the_excess_of_the_readers_distribution_is_nothing(kind):
    """True for members without replacement and for draws that depend on each other without a known number of them."""
    options = {"independent": kind == "independent", "distinct": kind == "members"}
    found = means(Members([0, 1, 0, 1], len(READERS), **options), [4, 16])
    exact = 1e-9 if kind == "members" else 0.04
    assert found["ged2_unbiased", 0] == pytest.approx(0, abs=exact)
    assert found["ged2_unlimited", 0] == pytest.approx(0.125, abs=exact)
    assert found["perfect_model", 16] == pytest.approx(0.5 * (1 / 16 + 1 / 4))


def test_few_samples_that_cover_stand_beside_independent_ones():
    """One reader, uniform on [0, 1], whose mark starts at pixel 16 u: covering draws are spread as evenly as can be."""
    readers = np.triu(np.ones((16, 16), np.uint8))[:, None, None, :]
    normal = Independent(Normal(torch.zeros(16, 1), torch.ones(16, 1)), 1)
    places = torch.arange(16.0)
    decode = Network(
        lambda z: torch.stack([(16 * torch.special.ndtr(z) - 1).expand(-1, 16), places.expand(16, -1)], 1)[:, :, None]
    )
    distribution = pu.SegmentationDistribution(Normals(normal), [decode], 2, (16, 1, 16))
    generator = torch.Generator().manual_seed(0)
    _, batch = score_distribution(distribution, readers, [1, 4, 64], FOREGROUND, generator)
    assert [n for name, n in batch.values if name == "ged2_covering"] == [4]
    _, again = score_distribution(distribution, readers, [4], FOREGROUND, torch.Generator().manual_seed(0))
    assert ("ged2_covering", 4) in again.values
    rounds = [score_distribution(distribution, readers, [4], FOREGROUND, generator)[1].values for _ in range(20)]
    covering, alone = (np.mean([values[name, 4].mean() for values in rounds]) for name in ("ged2_covering", "ged2"))
    assert covering < alone - 0.03
    members = means(Members([0, 1, 0, 1], len(READERS)), [4])
    assert not any(name == "ged2_covering" for name, _ in members)  # they cover as they are


def test_a_typed_result_from_batches(generator):
    model = pu.ProbabilisticUNet(1, 2, channels=(4, 4), latent_dims=2)
    image = torch.randn(3, 1, 16, 16, generator=generator)
    labels = torch.randint(2, (3, 4, 16, 16), generator=generator, dtype=torch.uint8)
    result = pu.evaluate(model, [(image, labels), (image[:2], labels[:2, :2])], n=(1, 4), device="cpu")
    assert list(result.ged2) == list(result.perfect_model) == [1, 4]
    assert result.ged2[4].n == result.excess.n == 5
    assert result.convention == Convention(2, ignore=255)
    assert result.ged2[4].mean == pytest.approx(result.images["ged2_n4"].mean())
    assert 0 <= result.ece.mean <= 1
    assert result.brier.mean >= 0
    assert Convention.from_json(result.as_json()["convention"]) == result.convention
    again = pu.evaluate(model, [(image, labels), (image[:2], labels[:2, :2])], n=(1, 4), device="cpu")
    assert again.as_json() == result.as_json()


def test_a_store_a_run_and_an_exported_folder_give_the_same(trained, store, tmp_path, capsys):
    from probunet.cli import main

    run = trained / "probabilistic_unet"
    main(["export", str(run), "--out", str(tmp_path / "exported"), "--licence", "CC BY 4.0"])
    of_run = pu.evaluate(run, store, n=(1, 2, 4), device="cpu")
    assert of_run.grouped_by == "image"
    of_folder = pu.evaluate(tmp_path / "exported", store.path, n=(1, 2, 4), device="cpu")
    of_model = pu.evaluate(pu.load(run), store, n=(1, 2, 4), crop=24, device="cpu")
    assert of_run.as_json() == of_folder.as_json() == of_model.as_json()
    capsys.readouterr()
    main(["evaluate", str(tmp_path / "exported"), "--data", str(store.path), "--n", "1", "2", "4"])
    assert f"{of_run.ged2[4].mean:.4f}" in capsys.readouterr().out
    assert not (tmp_path / "exported" / "evaluation.json").exists()


def test_what_cannot_be_evaluated_is_one_sentence(generator, failing, trained, tmp_path):
    model = pu.UNet(1, 2, channels=(4, 4))
    assert isinstance(model, SegmentationModel)
    image, labels = torch.zeros(2, 1, 16, 16), torch.zeros(2, 16, 16, dtype=torch.uint8)
    with pytest.raises(InputError, match=r"needed are \(B, C, H, W\) and \(B, R, H, W\)"):
        pu.evaluate(model, [(image, labels)], device="cpu")
    with pytest.raises(InputError, match="no images"):
        pu.evaluate(model, [], device="cpu")
    with pytest.raises(InputError, match="at least 1"):
        pu.evaluate(model, [], n=[0], device="cpu")


def test_few_patients_are_not_drawn_as_a_whole():
    many = [f"p{i // 2}" for i in range(40)]
    assert independent_groups(many) == (many, "patient")
    groups, kind = independent_groups(many[:38])
    assert (len(set(groups)), kind) == (38, "image")


def test_a_reader_who_did_not_look_at_an_image_counts_nowhere_in_it(generator):
    """As in a store, where he is not present: the other readers of that image count, and all of the others'."""
    model = pu.UNet(in_channels=1, num_classes=2, channels=[4, 4])
    image = torch.rand((3, 1, 16, 16), generator=generator)
    labels = torch.randint(2, (3, 3, 16, 16), generator=generator, dtype=torch.uint8)
    absent = labels.clone()
    absent[1, 0] = 255
    mixed = pu.evaluate(model, [(image, absent)], n=(1, 2)).images["ged2_n2"]
    full = pu.evaluate(model, [(image, labels)], n=(1, 2)).images["ged2_n2"]
    without = pu.evaluate(model, [(image[1:2], labels[1:2, 1:])], n=(1, 2)).images["ged2_n2"]
    np.testing.assert_array_equal(mixed, [full[0], without[0], full[2]])
    as_arrays = pu.evaluate(model, [(image.double().numpy(), absent.numpy())], n=(1, 2)).images["ged2_n2"]
    np.testing.assert_array_equal(as_arrays, mixed)
    nobody = labels.clone()
    nobody[1] = 255
    found = pu.evaluate(model, [(image, nobody)], n=(1, 2)).images["ged2_n2"]
    np.testing.assert_array_equal(found, [full[0], np.nan, full[2]])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"crop": 16}, "crop and split are of a prepared store"),
        ({"split": "train"}, "crop and split are of a prepared store"),
        ({"data": [torch.zeros(2, 1, 16, 16)]}, "batch 0 is no pair of images and labels, but a Tensor"),
        ({"n": 1}, "n=1: give several numbers"),
        ({"n": ("a",)}, "got a"),
        ({"n": ()}, "there is no number of hypotheses"),
        ({"seed": -1}, "--seed -1 is no seed"),
        ({"data": 5}, "data is a int"),
        ({"groups": [1, "a"]}, "groups hold values of several kinds"),
        ({"groups": [1, None]}, "groups hold values of several kinds"),
    ],
)
def test_arguments_without_a_meaning_are_one_sentence(options, words):
    batch = (torch.zeros(2, 1, 16, 16), torch.zeros(2, 3, 16, 16, dtype=torch.uint8))
    model = pu.UNet(in_channels=1, num_classes=2, channels=[4, 4])
    with pytest.raises(InputError, match=re.escape(words)):
        pu.evaluate(model, **{"data": [batch], "n": (1, 2), **options})


def test_masks_of_0_and_255_are_refused_where_255_means_that_nothing_is_known():
    model = pu.UNet(in_channels=1, num_classes=2, channels=[4, 4])
    masks = torch.zeros(2, 3, 16, 16, dtype=torch.uint8)
    masks[:, :, 4:9, 4:9] = 255
    for labels in (masks, torch.full_like(masks, 255)):
        with pytest.raises(InputError, match="write the marks of masks of 0 and 255 as 1"):
            pu.evaluate(model, [(torch.zeros(2, 1, 16, 16), labels)], n=(1, 2))
    with pytest.raises(InputError, match="model is a int"):
        pu.evaluate(5, [])


def test_a_store_is_scored_as_the_command_scores_it_where_a_crop_shows_nothing_that_a_reader_knows(trained, tmp_path):
    """Who looked at an image is what the store says, not what is seen of it."""

    def unknown_in_the_middle(source):
        image, labels = source.draw()
        labels[1, 4:-4, 4:-4] = IGNORE
        return image, labels

    cases = [dataclasses.replace(case, draw=partial(unknown_in_the_middle, case)) for case in blobs(24)]
    store = write_store(tmp_path / "store", cases, DESCRIPTION, np.uint8, jobs=1)
    shutil.copytree(trained / "unet", tmp_path / "run")
    main(["evaluate", str(tmp_path / "run"), "--data", str(store.path), "--n", "1", "2", "--crop", "trained"])
    content = json.loads((tmp_path / "run" / "evaluation.json").read_text())
    same = pu.evaluate(tmp_path / "run", store, n=(1, 2), crop="trained")
    assert [row["mean"] for row in content["scores"]] == [row["mean"] for row in same.rows]


@pytest.mark.parametrize(("split", "how"), [("train", "was trained on"), ("validation", "was chosen by")])
def test_figures_on_patients_of_the_training_are_said_to_flatter(trained, store, caplog, split, how):
    pu.evaluate(trained / "unet", store, n=(1,), split="test")
    assert "flatter" not in caplog.text
    pu.evaluate(trained / "unet", store, n=(1,), split=split)
    assert f"{how} {len(set(store.patients(split)))} of the patients of the {split} split" in caplog.text
