"""A complete configuration from the data and the machine, each choice with its reason.

The rules are those of the configurations that were made by hand and measured (``docs/results_tables.md``,
``docs/choose.md``): small networks with batch normalisation on a processor, the paper's on a GPU; experts and the
energy score where several readers looked, a Probabilistic U-Net where one did or labels flip.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import yaml

from probunet.core.words import by, counted
from probunet.nets.unet import MINIMUM_SIZE
from probunet.training.traits import Machine, Traits

PIXELS = {False: (96 * 128, 16 * 64 * 64), True: (256 * 256, 32 * 128 * 128)}
"""Pixels of a crop and of a batch at the most, on a processor and on a GPU; of a volume's crop four times as many."""
CHANNELS = {False: (16, 32, 64, 96, 64), True: (32, 64, 128, 192, 192)}
FEW = 1000
"""Training images, slices of volumes, below which deformation is worth the sharpness that it takes."""
SEEN = {False: 4000 * 16 * 64 * 64, True: 20000 * 32 * 128 * 128}
"""Pixels of all batches together: on a processor an hour or two of a core; LIDC's crops had D_GED^2 0.241 after 1,200
steps of 16, 0.218 after 4,000, 0.216 after 8,000 (three trainings)."""
STYLE = 1.5
"""How many times as much one reader marks as another, from where each is worth an expert: such experts had 0.90 times
the D_GED^2 of others where that is 2.3, and 1.06 times where it is 1.4 (``benchmarks/results/readers_*.json``)."""
ROUNDS, LEAST_STEPS = 200, 1200
"""Rounds through few images after which more steps learn them by heart, and steps that any network needs."""


@dataclass(frozen=True)
class Plan:
    """What was chosen; the reasons are written by :func:`written`.

    Attributes:
        crop: what the model sees.
        centred: whether crops lie around the middle, where the marks are.
        shift: of a centred crop, in pixels.
        batch: images a step.
        scales: of the network.
        experts: experts with the energy score, or a Probabilistic U-Net.
        persons: whether every expert is a reader.
        steps: of the training.
    """

    crop: tuple[int, ...]
    centred: bool
    shift: int
    batch: int
    scales: int
    experts: bool
    persons: bool
    steps: int


def plan(traits: Traits, machine: Machine) -> Plan:
    """Choose for a store and a machine."""
    crop, centred = _crop(traits, machine.gpu)
    shift = min((min(traits.size) - min(crop)) // 2, min(crop) // 8) if centred else 0
    scales = max(2, min(5, int(math.log2(min(crop[-2:]) / 4)) + 1))
    experts = traits.readers > 1 and not traits.flips
    persons = experts and traits.style >= STYLE
    hypotheses = 2 * (len(traits.names) if persons else 4) if experts else 1
    batch = min(_batch(traits, crop, machine, hypotheses), traits.training)
    return Plan(crop, centred, shift, batch, scales, experts, persons, _steps(traits, crop, batch, machine.gpu))


def _steps(traits: Traits, crop: tuple[int, ...], batch: int, gpu: bool) -> int:
    """As many steps as the pixels that are worth it, but few images are not seen for ever; in hundreds."""
    enough = SEEN[gpu] / (batch * math.prod(crop))
    return round(min(enough, max(ROUNDS * traits.training / batch, LEAST_STEPS)) / 100) * 100


def _crop(traits: Traits, gpu: bool) -> tuple[tuple[int, ...], bool]:
    """Sides of what the model sees, and whether it is cut around the middle."""
    most = PIXELS[gpu][0] * (4 if traits.dims == 3 else 1)
    if traits.dims == 2 and traits.around:
        side = max(16 * math.ceil((max(traits.around) + 8) / 16), 2 * MINIMUM_SIZE)
        if side**2 <= most and side <= 0.75 * min(traits.size):
            return (side, side), True
    least = (1,) * (traits.dims - 2) + (MINIMUM_SIZE,) * 2
    whole = tuple(map(max, traits.size, least))
    if traits.dims == 3:  # volumes may be smaller, and are padded: no side is lost when it is halved
        whole = tuple(4 * math.ceil(side / 4) if side < 16 else 8 * math.ceil(side / 8) for side in whole)
    sides, share = whole, 1.0
    while math.prod(sides) > most and sides != least:
        share *= 0.97
        sides = tuple(max(_even(side * share), low) for side, low in zip(whole, least, strict=True))
    return sides, False


def _even(side: float) -> int:
    """A side that can be halved three times, where it is long enough for that."""
    return int(side) // 8 * 8 if side >= 16 else int(side)


def _batch(traits: Traits, crop: tuple[int, ...], machine: Machine, hypotheses: int) -> int:
    """A power of two that the pixels of a batch and three quarters of the memory allow."""
    pixels = math.prod(crop)
    most = PIXELS[machine.gpu][1] * (2 if traits.dims == 3 else 1) // pixels
    batch = 2 ** max(1, min(5 if machine.gpu else 4, int(math.log2(max(most, 2)))))
    values = CHANNELS[machine.gpu][0] * 24 + hypotheses * (64 + 4 * len(traits.classes))
    while batch > 2 and 4 * batch * pixels * values / 2**30 > 0.75 * machine.memory_gb:
        batch //= 2
    return batch


def written(store: Path, traits: Traits, machine: Machine, out: Path) -> str:
    """The configuration as YAML, each choice with its reason in a comment.

    Args:
        store: folder of the store.
        traits: of the store.
        machine: that will train.
        out: folder of the experiment.
    """
    chosen = plan(traits, machine)
    lines = [*_head(store, traits, machine), *_data(store, traits, chosen, out)]
    lines += [*_model(traits, chosen, machine), *_schedule(traits, chosen, machine)]
    return "\n".join(lines) + "\n"


def _line(depth: int, text: str, reason: str = "") -> str:
    line = "  " * depth + text
    return f"{line:<33} # {reason}" if reason else line


def _plain(text: str) -> str:
    """A name as it can stand in a comment: short, in one line, nothing but what can be printed."""
    return "".join(letter for letter in " ".join(text.split()) if letter.isprintable())[:60]


BEGIN_WITH_SLICES = (
    "# Nearer to the readers: prepare the same data once more without --dims 3, train the same model with dims: 2 and",
    "# no spacing on these slices, and give that run as --start here, with a first learning rate of 1e-4 (nodules of",
    "# LIDC-IDRI: D^2_GED 0.20 on validation volumes, not 0.25).",
)


def _head(store: Path, traits: Traits, machine: Machine) -> list[str]:
    kind = "volumes" if traits.dims == 3 else "images"
    mm = f" at {' x '.join(f'{side:g}' for side in traits.spacing)} mm" if traits.spacing else ", pixel size unknown"
    readers = "label flips" if traits.flips else f"up to {counted(traits.readers, 'reading')} of each"
    trained_on = f"{traits.training:,} {kind} of {traits.patients:,} patients"
    return [
        f"# Planned from {_plain(store.name)}: {trained_on} for training,",
        f"# {traits.validation:,} for validation, {by(traits.size)} px{mm}, {traits.channels} channel(s),",
        f"# {len(traits.classes)} classes, {readers}; for {machine.name}, {machine.memory_gb:.0f} GB free.",
        "# Change what you like: every key is explained by 'probunet train --help'.",
        *(BEGIN_WITH_SLICES if traits.dims == 3 else ()),
    ]


def _data(store: Path, traits: Traits, chosen: Plan, out: Path) -> list[str]:
    if chosen.centred:
        cut = f"holds all marks of 95 % of the cases, which lie in the middle of {by(traits.size)} px"
    elif all(side >= size for side, size in zip(chosen.crop, traits.size, strict=True)):
        volumes = f"half of the volumes have {by(traits.size)} or less"
        cut = volumes if traits.dims == 3 else "the whole image, which is small enough"
    else:
        cut = f"at random places of {by(traits.size)} px, as much as a step can take here"
    images = traits.training * (traits.size[0] if traits.dims == 3 else 1)
    deform = images < FEW and not traits.flips
    why = f"fewer than {FEW:,} images: half are deformed" if deform else "not deformed: interpolation blurs faint edges"
    lines = [
        _line(0, f"out: {_quoted(out.as_posix())}", "every model gets a folder in it"),
        _line(0, "seed: 0", "same seed, same model"),
        "data:",
        _line(1, f"store: {_quoted(store.as_posix())}"),
        _line(1, f"crop: [{', '.join(map(str, chosen.crop))}]", cut),
        _line(1, f"batch_size: {chosen.batch}", "as many as time and memory allow here"),
        _line(1, f"validation_images: {min(256, traits.validation)}", "decide which state is the best"),
        "  augmentation:",
        _line(2, f"probability: {0.5 if deform else 0}", why),
        _line(2, f"elastic: {1.5 if deform else 0}", "" if deform else "nor elastically"),
        _line(2, "mirror: true", "left and right mean the same"),
    ]
    square = chosen.crop[-1] == chosen.crop[-2]
    if square and (chosen.centred or traits.dims == 3) and not traits.flips:
        lines.append(_line(2, "turn: true", "no up either around a lesion: with mirror the eight symmetries"))
    if chosen.centred:
        lines.append(_line(2, f"shift: {chosen.shift}", "pixels to every side of the middle"))
    return lines


def _quoted(text: str) -> str:
    """Text as a YAML string, whatever it contains."""
    return yaml.safe_dump(text, default_style='"', width=math.inf).strip()


def _model(traits: Traits, chosen: Plan, machine: Machine) -> list[str]:
    name = "mixture_of_experts" if chosen.experts else "probabilistic_unet"
    kind = "MixtureOfExperts" if chosen.experts else "ProbabilisticUNet"
    reason = (
        f"{traits.readers} readings an image: lowest D_GED^2 of all methods (docs/choose.md)"
        if chosen.experts
        else "labels flip: rare combinations with the right frequency"
        if traits.flips
        else "one reading an image: learns how readings vary from image to image"
    )
    channels = CHANNELS[machine.gpu][: chosen.scales]
    classes = _plain(", ".join(traits.classes))
    scales = f"{len(channels)} scales for {by(chosen.crop)} px"
    lines = [
        "models:",
        f"  {name}:",
        _line(2, f"class_path: probunet.{kind}", reason),
        "    init_args:",
        _line(3, f"in_channels: {traits.channels}", "as in the store"),
        _line(3, f"num_classes: {len(traits.classes)}", classes),
        _line(3, f"dims: {traits.dims}", "volumes" if traits.dims == 3 else "images"),
        _line(3, f"channels: [{', '.join(map(str, channels))}]", scales),
        _line(3, f"convolutions: {3 if machine.gpu else 2}", "of every scale"),
        _line(3, f"combine_channels: {32 if machine.gpu else 16}", "of f_comb, which every hypothesis runs through"),
        _line(3, f"batch_norm: {str(chosen.batch > 1).lower()}", "not in the paper, and better on validation patients"),
    ]
    if traits.dims == 3 and traits.spacing:
        spacing = ", ".join(f"{mm:g}" for mm in traits.spacing)
        lines.append(_line(3, f"spacing: [{spacing}]", "mm: coarse axes are pooled later"))
    if chosen.experts:
        who = _line(3, "experts: 4")
        if chosen.persons:
            names = ", ".join(_quoted(name) for name in traits.names)
            why = f"each an expert, as one marks {traits.style:.1f} times as much as another"
            who = _line(3, f"reader_names: [{names}]", why)
        lines += [who, _line(3, "draws: 2", "of every expert in training"), *_energy(chosen)]
    return lines


def _energy(chosen: Plan) -> list[str]:
    side = max(math.sqrt(math.prod(chosen.crop[-2:])), 64)
    return [
        "energy:",
        _line(1, f"weight: {round(300 * side / 64, -1):g}", "nats per D_GED^2; grows with the length of outlines"),
        _line(1, "samples: 6", "hypotheses of every image, which repel each other"),
        _line(1, "temperature: 0.3", "faint probabilities must not add up to pixels"),
    ]


def _schedule(traits: Traits, chosen: Plan, machine: Machine) -> list[str]:
    precision = "bf16-mixed" if machine.gpu else "auto"  # the faster of two
    rounds = chosen.steps * chosen.batch / traits.training
    return [
        "optimisation:",
        _line(1, f"learning_rate: {3.0e-4 if machine.gpu else 1.0e-3}", "of Adam, at the start"),
        _line(1, "final_learning_rate: 1.0e-5"),
        _line(1, "schedule: cosine"),
        "trainer:",
        _line(1, f"max_steps: {chosen.steps}", f"every image is seen {rounds:,.0f} times; more is better, and slower"),
        _line(1, f"precision: {precision}", "weights stay in float32"),
        _line(1, f"val_check_interval: {chosen.steps // 20}", "steps between validations; the best state is kept"),
    ]
