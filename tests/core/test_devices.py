"""A device is read in one way: there and given back, or refused with what there is."""

import pytest
import torch

from probunet.core.devices import chosen_device
from probunet.core.errors import InputError


def test_a_device_that_is_there_is_given_back():
    assert chosen_device("cpu") == "cpu"
    torch.zeros(1, device=chosen_device("auto"))


@pytest.mark.parametrize("word", ["gpu", "0", "cuda:", "cuda:-1", "cuda:x", "CPU", "", "x" * 500, "cuda:99999"])
def test_other_words_are_refused_in_one_short_sentence(word):
    with pytest.raises(InputError, match="auto, cpu, cuda, cuda:N or mps") as refused:
        chosen_device(word)
    assert len(str(refused.value)) < 120


def test_a_device_that_is_not_there_is_refused():
    with pytest.raises(InputError, match="--device cuda:977: "):
        chosen_device("cuda:977")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_cuda_is_refused():
    with pytest.raises(InputError, match="--device cuda: there is no GPU"):
        chosen_device("cuda")


@pytest.mark.skipif(torch.backends.mps.is_available(), reason="there is an Apple GPU")
def test_without_an_apple_gpu_mps_is_refused():
    with pytest.raises(InputError, match="--device mps: there is no Apple GPU"):
        chosen_device("mps")
