"""The majority of blocks, by hand."""

import numpy as np

from probunet.data.blocks import majority_of_blocks


def test_the_most_frequent_class_of_a_block_wins_and_the_lowest_of_even_ones():
    labels = np.array([[0, 7, 3, 3], [7, 7, 1, 1], [2, 2, 255, 5], [2, 0, 255, 255]], np.uint8)
    assert majority_of_blocks(labels, 2).tolist() == [[7, 1], [2, 255]]
