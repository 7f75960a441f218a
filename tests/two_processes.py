"""Trains one configuration after another in two processes; Lightning starts the second one with the same arguments."""

import sys

import torch

from probunet.cli import main


def train(configurations: list[str]) -> None:
    """Train in this process and another one, which Lightning starts as this file with what ``sys.argv`` says."""
    sys.argv = [__file__, *configurations]
    torch.set_num_threads(1)
    for file in configurations:
        main(["train", "--config", file, "--trainer.devices", "2", "--trainer.strategy", "ddp"])


if __name__ == "__main__":
    train(sys.argv[1:])
