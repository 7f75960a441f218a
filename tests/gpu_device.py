"""The device of the tests that are marked ``gpu``."""

import os

import pytest
import torch

DEVICE = os.environ.get("PROBUNET_TEST_DEVICE", "cuda")
"""``PROBUNET_TEST_DEVICE=cpu`` runs the same tests on the processor, to write them where there is no GPU."""
KIND = {"cuda": "gpu"}.get(DEVICE, DEVICE)
"""Lightning's name for it."""
MISSING = "needs a GPU that torch can use; PROBUNET_TEST_DEVICE=cpu runs it on the processor"


def skip_without_gpu(item: pytest.Item) -> None:
    """Skip a test that is marked ``gpu`` where there is none."""
    if item.get_closest_marker("gpu") and DEVICE == "cuda" and not torch.cuda.is_available():
        pytest.skip(MISSING)
