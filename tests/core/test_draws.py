"""Random numbers come from where the generator is, and go where they are needed."""

from functools import partial

import torch

from probunet.core.draws import drawn


def test_a_generator_of_the_processor_draws_for_any_device():
    """The device "meta" stands for one that is not that of the generator."""
    here = drawn(torch.randn, (2, 3), torch.Generator().manual_seed(1), torch.device("cpu"), torch.float64)
    assert torch.equal(here, torch.randn(2, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64))
    generator = torch.Generator().manual_seed(1)
    there = drawn(torch.randn, (2, 3), generator, torch.device("meta"), torch.float64)
    assert (there.device.type, there.dtype, there.shape) == ("meta", torch.float64, (2, 3))
    drawn(partial(torch.randint, 5), (), generator, torch.device("meta"))
    expected = torch.Generator().manual_seed(1)
    torch.randn(2, 3, generator=expected, dtype=torch.float64)
    torch.randint(5, (), generator=expected)
    assert torch.equal(generator.get_state(), expected.get_state())
