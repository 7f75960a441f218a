"""``probunet adapt``: one more reader for a model of readers."""

from __future__ import annotations

from pathlib import Path

from probunet.core.console import console
from probunet.core.files import shown
from probunet.core.seeds import checked_seed
from probunet.data.manifest import Split
from probunet.data.store import Store
from probunet.evaluation.fit import check_fit, check_pixels, check_values
from probunet.runs.trained import open_model
from probunet.training.adapt import adapt as fit


def adapt(
    model: str,
    /,
    reader: str,
    data: Path,
    out: Path,
    split: Split = "train",
    steps: int = 300,
    seed: int = 0,
    trust: list[str] | None = None,
) -> None:
    """Teach a model of readers one more person from a few readings; what it draws for each of the others stays.

    Where nobody is asked for, the model draws as any of its readers, of whom the new one is one like each of them.

    Args:
        model: run directory, exported folder or published name of a model that was trained with reader_names.
        reader: the person's name, as in the data.
        data: prepared store with readings of the person.
        out: folder to make, an exported model that knows the person too.
        split: part of the data that is fitted to.
        steps: of the fit.
        seed: of the fit; the same seed gives the same model.
        trust: modules whose code may run, for models of your own; those of probunet need none.

    Raises:
        InputError: a model without readers or one that knows the person, data of another kind, or no readings of that
            person.

    Examples:
        probunet adapt runs/mine/probabilistic_unet --reader Novak --data data/novak --out novak
    """
    trained, store = open_model(model, trust or ()), Store(data)
    check_fit(trained, store, "train")
    check_values(trained, store, split)
    check_pixels(trained, store)
    count = fit(trained, store, reader, out, split, steps, checked_seed(seed))
    console.print(
        f"{shown(out)} knows {reader} from {count} reading{'s' if count > 1 else ''} of the {split} split; "
        f"next: probunet sample {shown(out)} PICTURE --reader {reader} --out hypotheses",
        markup=False,
        highlight=False,
    )
