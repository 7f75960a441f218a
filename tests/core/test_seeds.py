"""Seeds of pieces of work: fixed numbers, as stored hypotheses depend on them."""

import hashlib

import numpy as np
import pytest

from probunet.core.errors import InputError
from probunet.core.seeds import HIGHEST, MOST_HYPOTHESES, checked_count, checked_seed, seed_of


def test_a_piece_by_number_has_the_seed_of_numpys_sequence():
    state = np.random.SeedSequence([7, 3]).generate_state(1, np.uint64)[0]
    assert seed_of(7, 3) == int(state) // 2
    assert len({seed_of(seed, piece) for seed in range(20) for piece in range(20)}) == 400


def test_a_piece_by_name_has_the_first_seven_bytes_of_a_checksum():
    assert seed_of(0, "crop") == int(hashlib.sha256(b"0 crop").hexdigest()[:14], 16)
    assert seed_of(0, "M\udcfcller") != seed_of(0, "Müller")


@pytest.mark.parametrize("seed", [-1, HIGHEST + 1, 10**30, 1.5, True, "3", None, float("nan")])
def test_seeds_that_no_generator_takes_are_refused(seed):
    with pytest.raises(InputError, match=f"--seed {seed} is no seed"):
        checked_seed(seed)
    assert checked_seed(HIGHEST) == HIGHEST
    assert checked_seed(np.int64(3)) == 3


@pytest.mark.parametrize("n", [0, -1, MOST_HYPOTHESES + 1, 1 << 40, 1.5, True, "3", None])
def test_numbers_of_hypotheses_that_nobody_can_draw_are_refused(n):
    with pytest.raises(InputError, match=f"the number of hypotheses must be .*, got {n}"):
        checked_count(n)
    assert checked_count(np.uint8(16)) == 16
