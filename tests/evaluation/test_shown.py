"""What of an image is scored: marks beside the crop of the training are not passed over, and tiles change no number."""

import dataclasses
import json
import shutil
from functools import partial, partialmethod

import numpy as np
import pytest
import torch
from small_data import DESCRIPTION, SIZE, blob

import probunet as pu
from probunet.cli import main
from probunet.data.batches import EvaluationImages
from probunet.data.manifest import Case
from probunet.data.prepare import CaseSource, write_store
from probunet.evaluation import shown
from probunet.evaluation.shown import batch_size, distribution_of, images_to_score

SIDE = 3 * SIZE


def placed(index: int, row: int, column: int) -> tuple[np.ndarray, np.ndarray]:
    """A blob at one of nine places of a larger image."""
    image, labels = (
        np.pad(array, [(0, 0), (row * SIZE, (2 - row) * SIZE), (column * SIZE, (2 - column) * SIZE)], mode="edge")
        for array in blob(index)
    )
    return image, labels


def make(folder, places):
    sources = [CaseSource(Case(f"own-{i}", f"own-{i}", "test"), partial(placed, i, *at)) for i, at in enumerate(places)]
    return write_store(folder, sources, dataclasses.replace(DESCRIPTION, title="own"), np.uint8, jobs=1)


@pytest.fixture(scope="module")
def beside(tmp_path_factory):
    """One image with its blob in the middle, two with it in a corner."""
    return make(tmp_path_factory.mktemp("beside") / "store", [(1, 1), (0, 0), (2, 0)])


def test_whole_images_are_scored_where_the_crop_hides_marks_and_only_there(beside, tmp_path, caplog):
    central = make(tmp_path / "central", [(1, 1), (1, 1)])

    def size(store, wanted):
        return images_to_score(store, "test", SIZE, wanted, None).size

    assert size(central, None) == (SIZE, SIZE)
    assert not caplog.text
    assert size(beside, None) == (SIDE, SIDE)
    assert "2 of the 3 images with marks have all of them outside of the central crop" in caplog.text
    assert size(beside, "trained") == (SIZE, SIZE)
    assert "2 of the 3 images with marks (67%)" in caplog.text
    assert size(central, "whole") == (SIDE, SIDE)
    assert size(beside, (40, 48)) == (40, 48)
    assert images_to_score(beside, "test", None, None, None).size == (SIDE, SIDE)


def test_batches_of_large_images_are_small(beside):
    images = EvaluationImages(beside, "test")
    assert batch_size(images) == 32
    for size, expected in (((256, 512), 32), ((512, 512), 16), ((1024, 1024), 4), ((4096, 4096), 1)):
        images.crop = size
        assert batch_size(images) == expected


def test_large_images_are_sampled_in_tiles_which_changes_no_label(beside, monkeypatch):
    torch.manual_seed(0)
    model = pu.ProbabilisticUNet(1, 2, channels=(4, 4), latent_dims=2, convolutions=1).eval()
    image = EvaluationImages(beside, "test")[0]["image"][None]

    def sampled():
        with torch.inference_mode():
            return distribution_of(model, image).sample(2, torch.Generator().manual_seed(0))

    whole = sampled()
    monkeypatch.setattr(shown, "needs_tiles", lambda size: max(size) > 64)
    monkeypatch.setattr(pu.ProbabilisticUNet, "tiled", partialmethod(pu.ProbabilisticUNet.tiled, tile=48))
    assert torch.equal(sampled(), whole)
    assert whole.shape == (2, 1, SIDE, SIDE)


def test_the_command_scores_the_whole_of_ones_own_images(trained, beside, tmp_path, capsys):
    """A model that marks nothing is right about a crop without marks, and wrong about the image."""
    shutil.copytree(trained / "unet", tmp_path / "unet")
    words = ["evaluate", str(tmp_path / "unet"), "--data", str(beside.path), "--n", "1"]
    crops = {}
    for chosen in ("auto", "trained", "whole"):
        main([*words, *(() if chosen == "auto" else ("--crop", chosen))])
        content = json.loads((tmp_path / "unet/evaluation.json").read_text())
        crops[chosen] = content["data"]["crop"], content["reference_points"]["always_empty"]["ged2"]["1"]["mean"]
    assert crops["auto"] == crops["whole"]
    assert crops["auto"][0] == [SIDE, SIDE]
    assert crops["trained"][0] != crops["whole"][0]
    assert crops["trained"][1] < crops["whole"][1]
