"""Trains one configuration after another in two processes.

Lightning starts the second one with the same arguments, or a test starts both of them, for one GPU that they share.
"""

import os
import sys

import torch
import torch.distributed as dist
from pytorch_lightning.utilities.rank_zero import rank_zero_only

from probunet.cli import main


def train(configurations: list[str]) -> None:
    """Train in this process and another one, which Lightning starts as this file with what ``sys.argv`` says."""
    sys.argv = [__file__, *configurations]
    torch.set_num_threads(1)
    for file in configurations:
        main(["train", "--config", file, "--trainer.devices", "2", "--trainer.strategy", "ddp"])


def train_on_one_device(rank: int, port: int, file: str) -> None:
    """Train as the process ``rank`` of two which ``torchrun`` would start on two nodes with one and the same GPU.

    They talk through Gloo: NCCL refuses two processes on a GPU.
    """
    torch.backends.cudnn.allow_tf32 = False
    torch.set_num_threads(1)
    rank_zero_only.rank = rank
    variables = {"RANK": rank, "GROUP_RANK": rank, "LOCAL_RANK": 0, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 1}
    variables |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "TORCHELASTIC_RUN_ID": "test"}
    os.environ.update({name: str(value) for name, value in variables.items()})
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    where = ["--trainer.devices", "1", "--trainer.num_nodes", "2", "--trainer.strategy", "ddp"]
    main(["train", "--config", file, *where])


if __name__ == "__main__":
    train(sys.argv[1:])
