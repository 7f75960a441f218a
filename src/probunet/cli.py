"""The command ``probunet``: every subcommand is a typed function; its signature and docstring are the help.

The function of a subcommand is imported only when it is called, so that help and small commands start at once.
"""

from __future__ import annotations

import inspect
import signal
import sys
from argparse import RawDescriptionHelpFormatter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, get_origin, get_type_hints

from docstring_parser import parse as parse_docstring
from jsonargparse import ArgumentError, ArgumentParser, DefaultHelpFormatter

from probunet.core.console import console
from probunet.core.errors import InputError


@dataclass(frozen=True)
class Command:
    """One subcommand.

    Attributes:
        module: where its function lives.
        function: the name of the function.
        summary: one line for the list of commands.
        examples: command lines as a user types them.
        positional: parameters given without a flag.
        flags: parameters whose flag is not the usual one: spellings, type of a
            value (``bool``: given or not), whether it takes several.
    """

    module: str
    function: str
    summary: str
    examples: tuple[str, ...]
    positional: tuple[str, ...] = ()
    flags: tuple[tuple[tuple[str, ...], type, bool], ...] = ()

    def load(self) -> Callable[..., Any]:
        """Import the function."""
        loaded: Callable[..., Any] = getattr(import_module(self.module), self.function)
        return loaded


COMMANDS = {
    "prepare readers": Command(
        "probunet.data.simulated.builtin",
        "prepare_readers",
        "built-in LIDC-IDRI readers, simulated CT",
        (
            "probunet prepare readers --out data/readers",
            "probunet prepare readers --out data/demo --spacing 1 --size 64",
        ),
    ),
    "prepare slices": Command(
        "probunet.data.lidc_crops.slices",
        "prepare_slices",
        "real LIDC-IDRI crops in the LIDC-IDRI-slices layout",
        (
            "probunet prepare slices --archive lidc_slices.tar.gz --out data/slices",
            "probunet prepare slices --archive elsewhere.zip --out data/elsewhere --fractions 0 0 1",
            "probunet prepare slices --archive lidc_slices.tar.gz --out data/slices_mm --spacing 0.5",
        ),
        flags=((("--fractions",), float, True),),
    ),
    "prepare streets": Command(
        "probunet.data.simulated.builtin",
        "prepare_streets",
        "simulated street scenes with label flips",
        (
            "probunet prepare streets --out data/streets",
            "probunet prepare streets --out data/wide --size 128 256 --seed 1",
        ),
        flags=((("--size",), int, True), (("--images",), int, True)),
    ),
    "prepare labelled": Command(
        "probunet.data.own.street_folder",
        "prepare_labelled",
        "labelled street photographs with label flips",
        ("probunet prepare labelled --root camvid --classes configs/classes/camvid.yaml --out data/camvid",),
    ),
    "prepare cityscapes": Command(
        "probunet.data.own.street_folder",
        "prepare_cityscapes",
        "Cityscapes from its official folders, with label flips",
        ("probunet prepare cityscapes --root cityscapes --out data/cityscapes",),
    ),
    "prepare lidc": Command(
        "probunet.data.lidc.download",
        "prepare_lidc",
        "the original LIDC-IDRI download: DICOM and readers' XML",
        (
            "probunet prepare lidc --dicom LIDC-IDRI --out data/lidc",
            "probunet prepare lidc --dicom LIDC-IDRI --xml tcia-lidc-xml --out data/lidc --keep-going",
            "probunet prepare lidc --xml tcia-lidc-xml --check",
        ),
        flags=((("--check",), bool, False), (("--keep_going",), bool, False)),
    ),
    "prepare folder": Command(
        "probunet.data.own.folder_store",
        "prepare_folder",
        "your own images and readers, in nnU-Net's folders",
        (
            "probunet prepare folder --root mine --out data/mine",
            "probunet prepare folder --root mine --out data/mine --size 256 256 --seed 1",
        ),
        flags=((("--size",), int, True), (("--fractions",), float, True)),
    ),
    "prepare inspect": Command(
        "probunet.data.own.fingerprint",
        "inspect",
        "what such a folder or a store holds, before anything is written",
        ("probunet prepare inspect mine", "probunet prepare inspect data/mine --picture mine.png"),
        ("data",),
    ),
    "prepare import": Command(
        "probunet.data.lidc_crops.community",
        "prepare_import",
        "LIDC-IDRI as others passed it on: PNG crops, pickle, HDF5",
        (
            "probunet prepare import lidc_crops --out data/crops",
            "probunet prepare import data_lidc.pickle --out data/pickle",
            "probunet prepare import lidc_slices.tar.gz --out data/slices --spacing 0.5",
        ),
        ("source",),
        flags=((("--fractions",), float, True),),
    ),
    "prepare verify": Command(
        "probunet.data.prepare",
        "verify",
        "check the checksums of a store",
        ("probunet prepare verify data/readers",),
        ("store",),
    ),
    "train": Command(
        "probunet.training.experiment",
        "train",
        "train the models of an experiment, or go on with it",
        (
            "probunet train --config configs/demo.yaml",
            "probunet train --config configs/demo.yaml --out runs/longer --trainer.max_time 00:00:20:00",
            "probunet train --config configs/demo.yaml --only unet --print_config",
        ),
        flags=((("--only",), str, True), (("--set_aside",), bool, False)),
    ),
    "compare": Command(
        "probunet.commands.compare",
        "compare",
        "train, evaluate and show several models under the same conditions",
        (
            "probunet compare --config configs/compare_readers_quick.yaml",
            "probunet compare --config configs/compare_streets_quick.yaml --out runs/mine --workers 1",
        ),
        flags=((("-n", "--n"), int, True),),
    ),
    "evaluate": Command(
        "probunet.evaluation.model_scores",
        "evaluate",
        "score a trained model against all readers",
        (
            "probunet evaluate runs/demo",
            "probunet evaluate runs/demo/probabilistic_unet --data data/elsewhere --split test --n 1 4 8 16",
            "torchrun --nproc_per_node 4 -m probunet evaluate runs/lidc --device cuda --shard auto",
        ),
        ("run",),
        ((("-n", "--n"), int, True),),
    ),
    "sample": Command(
        "probunet.commands.sample",
        "sample",
        "draw plausible segmentations of images and volumes",
        (
            "probunet sample runs/demo/probabilistic_unet crop.png -n 16 --out hypotheses",
            "probunet sample runs/lidc/probabilistic_unet ct/ --format dicomseg --out hypotheses",
            "probunet sample runs/lidc/probabilistic_unet slice.dcm --at 310 140 --out hypotheses",
            "probunet sample runs/demo/probabilistic_unet crop.png --z 0,0,1.5,0,0,0 --out one",
            "probunet sample runs/lidc/probabilistic_unet archive/ --shard 0/4 --out hypotheses",
        ),
        ("model", "inputs"),
        ((("-n", "--n"), int, False), (("--at",), int, True)),
    ),
    "export": Command(
        "probunet.commands.export",
        "export",
        "a trained model to pass on: safetensors and JSON, or ONNX",
        (
            "probunet export runs/demo/probabilistic_unet --out demo_model --licence 'CC BY 4.0'",
            "probunet export runs/demo/probabilistic_unet --out demo_onnx --format onnx",
        ),
        ("model",),
    ),
    "explore": Command(
        "probunet.commands.explore",
        "explore",
        "look at hypotheses in the browser, move through them, pick one",
        (
            "probunet explore runs/demo/probabilistic_unet data/demo",
            "probunet explore runs/demo/probabilistic_unet crop.png --port 8000",
        ),
        ("model", "data"),
    ),
    "score": Command(
        "probunet.commands.score",
        "score",
        "score any tool's samples against any readers",
        (
            "probunet score --samples samples.npy --references readers.npy --n 1 4 8 16 --out scores.json",
            "probunet score --compare ours/ theirs/ --references readers/ --out scores.json",
        ),
        (),
        (
            (("-n", "--n"), int, True),
            (("--compare",), Path, True),
            (("--classes",), int, True),
            (("--weights",), float, True),
            (("--allow_missing",), bool, False),
            (("--calibration",), bool, False),
        ),
    ),
    "report": Command(
        "probunet.report.page",
        "report",
        "one self-contained page about an experiment",
        ("probunet report runs/demo",),
        ("experiment",),
    ),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line.

    Exits with 0, with 2 after one sentence on the user's mistake, with 130 after Ctrl-C and 143 after SIGTERM.
    """
    signal.signal(signal.SIGTERM, _terminate)
    try:
        _run(list(sys.argv[1:] if arguments is None else arguments))
    except (InputError, ArgumentError) as error:
        _stop(2, f"error: {' '.join(str(error).split())}")
    except KeyboardInterrupt:
        _stop(130, "interrupted; what was finished is kept, nothing half-written is left")


def _run(words: list[str]) -> None:
    name = next((n for n in (" ".join(words[:2]), " ".join(words[:1])) if n in COMMANDS), None)
    if name is None:
        group = " ".join(words[:1])
        listed = {n: c for n, c in COMMANDS.items() if n.startswith(group + " ")} or COMMANDS
        if (
            words
            and group not in ("-h", "--help")
            and (listed is COMMANDS or words[1:2] not in ([], ["-h"], ["--help"]))
        ):
            raise InputError(f"there is no command '{' '.join(words[:2])}'; choose one of {', '.join(listed)}")
        print("usage: probunet COMMAND ...\n\ncommands:")
        print("\n".join(f"  {n:<18} {c.summary}" for n, c in listed.items()))
        print("\n'probunet COMMAND --help' shows the arguments and examples of a command.")
        return
    COMMANDS[name].load()(**parse(name, words[len(name.split()) :]))


def parse(name: str, words: Sequence[str]) -> dict[str, Any]:
    """Turn the words behind a subcommand into the arguments of its function.

    Args:
        name: of the subcommand, for example ``prepare slices``.
        words: what follows it on the command line.

    Raises:
        ArgumentError: unknown key, wrong type, or something missing.
    """
    command = COMMANDS[name]
    function = command.load()
    doc = parse_docstring(function.__doc__ or "")
    described = {p.arg_name: p.description or "" for p in doc.params}
    parser = ArgumentParser(
        prog=f"probunet {name}",
        description="\n\n".join(filter(None, (doc.short_description, doc.long_description))),
        epilog="examples:\n  " + "\n  ".join(command.examples),
        formatter_class=_Formatter,
        exit_on_error=False,
    )
    parser.add_argument("--config", action="config", help="YAML file with any of the arguments below")
    signature = inspect.signature(function).parameters
    for parameter in command.positional:
        needed: dict[str, Any] = {} if signature[parameter].default is inspect.Parameter.empty else {"nargs": "?"}
        if get_origin(get_type_hints(function)[parameter]) is list:
            needed = {"nargs": "+"}
        parser.add_argument(parameter, type=Path, help=described[parameter], **needed)
    for flags, kind, several in command.flags:
        parameter = flags[-1].removeprefix("--")
        default = signature[parameter].default
        default = list(default) if isinstance(default, tuple) else default
        how: dict[str, Any] = {"action": "store_true"} if kind is bool else {"type": kind, "default": default}
        how |= {"nargs": "+"} if several else {}
        parser.add_argument(*flags, help=described[parameter], **how)
    skip: set[str | int] = {*command.positional, *(flags[-1].removeprefix("--") for flags, _, _ in command.flags)}
    if "trainer" in signature:
        parser.add_class_arguments(_trainer_class(), "trainer", skip=OWN_TRAINER_ARGUMENTS, instantiate=False)
        skip.add("trainer")
    parser.add_function_arguments(function, skip=skip)
    chosen = parser.parse_args([_with_underscores(word) for word in words])
    descriptions = {key: chosen.pop(key) for key in ("models", "trainer") if key in signature}
    if "trainer" in descriptions:  # only what differs from Lightning's own defaults
        usual = parser.get_defaults()["trainer"]
        descriptions["trainer"] = {k: v for k, v in vars(descriptions["trainer"]).items() if v != usual[k]}
    instantiated = parser.instantiate(chosen)
    return {key: descriptions.get(key, instantiated.get(key)) for key in signature}


def _trainer_class() -> type:
    from pytorch_lightning import Trainer

    return Trainer


def _with_underscores(word: str) -> str:
    """``--allow-missing`` is as good as ``--allow_missing``."""
    flag, equals, value = word.partition("=")
    return flag.replace("-", "_").replace("__", "--", 1) + equals + value if word.startswith("--") else word


def _terminate(*_: Any) -> None:
    _stop(143, "terminated; what was finished is kept, nothing half-written is left")


def _stop(code: int, message: str) -> None:
    console.quiet = False  # silent about its progress where it is one of several processes
    console.print(message, markup=False, highlight=False, soft_wrap=True)
    raise SystemExit(code)


class _Formatter(DefaultHelpFormatter, RawDescriptionHelpFormatter):
    """Keeps the line breaks of descriptions and examples."""


OWN_TRAINER_ARGUMENTS: set[str | int] = {
    "logger",
    "callbacks",
    "plugins",
    "use_distributed_sampler",
    "accumulate_grad_batches",
    "enable_progress_bar",
    "enable_model_summary",
    "num_sanity_val_steps",
    "default_root_dir",
    "check_val_every_n_epoch",
    "max_epochs",
}
"""Arguments of Lightning's Trainer that the training sets itself."""
