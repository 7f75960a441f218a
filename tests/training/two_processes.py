"""Trains one configuration after another in two processes; Lightning starts the second one with the same arguments."""

import sys

import torch

from probunet.cli import main

if __name__ == "__main__":
    torch.set_num_threads(1)
    for config in sys.argv[1:]:
        main(["train", "--config", config, "--trainer.devices", "2", "--trainer.strategy", "ddp"])
