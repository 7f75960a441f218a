"""Sizes that make no network are one sentence, whatever the model."""

import inspect

import pytest

import probunet as pu
from probunet.models.base import LEAST
from probunet.runs.specification import Specification, class_of, known_models

TAKEN = [
    (name, argument, parameter.default)
    for name in known_models()
    for argument, parameter in inspect.signature(class_of(name)).parameters.items()
    if argument in LEAST
]


def test_every_model_has_channels_and_classes():
    """So that the law below is one on all models."""
    for argument in ("in_channels", "num_classes", "channels", "convolutions"):
        assert [name for name, taken, _ in TAKEN if taken == argument] == known_models()


@pytest.mark.parametrize(("name", "argument", "default"), TAKEN, ids=[f"{n}-{a}" for n, a, _ in TAKEN])
def test_a_size_that_makes_no_network_is_refused(name, argument, default):
    least = {"num_classes": 2}.get(argument, 1)
    wrong = [least - 1, -3]
    if isinstance(default, tuple):
        wrong = [(), (4, 0), (-1, 4), [0]]
    for value in wrong:
        words = rf"^{name}\({argument}=\.\.\.\) is .*; give .*at least {least}(, one or more)?$"
        with pytest.raises(pu.InputError, match=words):
            class_of(name)(**{argument: value})
        plain = list(value) if isinstance(value, tuple) else value
        with pytest.raises(pu.InputError, match=words):
            Specification(name, {argument: plain}).build()


@pytest.mark.parametrize("name", known_models())
def test_the_smallest_sizes_are_allowed(name):
    smallest = {"channels": (1, 1), "latent_dims": (1,), "combine_channels": 1}
    if (name, "latent_dims", 6) in TAKEN:
        smallest["latent_dims"] = 1
    taken = {argument for model, argument, _ in TAKEN if model == name}
    sizes = {argument: smallest.get(argument, LEAST[argument]) for argument in taken}
    assert class_of(name)(**sizes).num_classes == 2
