"""How many damaged files a test tries, and how long any of them may take."""

import os

SECONDS = 20_000
"""Milliseconds for one damaged file on a machine with much else to do; one that hangs takes for ever."""


def examples(most: int) -> int:
    """A third of the most, which every run of the suite draws anew; all of them where PROBUNET_FUZZ asks for more."""
    return most if "PROBUNET_FUZZ" in os.environ else most // 3
