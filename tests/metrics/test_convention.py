"""A convention says itself, survives a file, and refuses what has no meaning."""

import json

import pytest

from probunet.core.errors import InputError
from probunet.metrics import FOREGROUND, Convention


def test_equal_conventions_are_equal_however_they_are_written():
    assert Convention() == Convention(2, (1,)) == FOREGROUND
    assert Convention(3).evaluated == (0, 1, 2)
    assert Convention(weights=(3, 1)).weights == (0.75, 0.25)


def test_words():
    words = str(Convention(24, (0, 19), ignore=255, empty="skip", weights=(1, 1), overlap="dice"))
    assert words == (
        "1 - Dice, classes 0, 19 of 24, classes absent from both left out, label 255 ignored, "
        "2 weighted references are the whole distribution"
    )


@pytest.mark.parametrize("convention", [FOREGROUND, Convention(4, (3, 1), 255, "skip", (1.0, 3.0), "dice")])
def test_a_file_gives_it_back(convention):
    content = json.loads(json.dumps(convention.as_json()))
    assert content["words"] == str(convention)
    assert Convention.from_json(content) == convention


@pytest.mark.parametrize("change", [{"classes": None, "num_classes": "many"}, {"empty": "epsilon"}, {"weights": 3}])
def test_a_file_without_meaning_is_refused(change):
    with pytest.raises(InputError):
        Convention.from_json(FOREGROUND.as_json() | change)
    with pytest.raises(InputError, match="no convention"):
        Convention.from_json({})
