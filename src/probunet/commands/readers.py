"""``probunet readers``: who marks what, reader by reader, as a page and as JSON."""

from __future__ import annotations

from pathlib import Path

from probunet.core.console import say
from probunet.core.descriptions import write_json
from probunet.core.files import check_out_folder
from probunet.core.packages import needed_by
from probunet.core.seeds import checked_seed
from probunet.core.writing import writing_folder
from probunet.evaluation.readers import study_readers
from probunet.metrics.consensus import Consensus


def readers(data: Path, /, out: Path = Path("readers"), reference: Consensus = "majority", seed: int = 0) -> None:
    """Say of each reader how much is marked, how near it is to the others, and which readings are not like theirs.

    Makes a folder with readers.json, the page readers.html, and its tables and pictures as files. Data whose columns
    are not always the same person (LIDC-IDRI, for example) says nothing of single readers and is refused.

    Args:
        data: prepared store, or folder with dataset.json, imagesTr and labelsTr, whose volumes are taken as a whole.
        out: folder to make.
        reference: sensitivity and specificity against the majority of the other readers, or as STAPLE estimates them
            (which needs SimpleITK).
        seed: of the bootstrap.

    Raises:
        InputError: readers who are not persons, a file that does not fit, or a folder that exists already.

    Examples:
        probunet readers data/mine --out readers
        probunet readers mine --reference staple --out readers_staple
    """
    check_out_folder(out, [data])
    checked_seed(seed)
    with needed_by("probunet readers"):
        from probunet.report.readers import write_readers  # matplotlib takes a second to load
    study = study_readers(data, reference)
    content = study.as_json(seed)
    with writing_folder(out) as folder:
        write_json(folder / "readers.json", content)
        write_readers(folder, study, content)
    say(
        f"{len(study.readers)} readers of {len(study.patients):,} cases: the page is {out / 'readers.html'}; "
        f"{len(content['outliers'])} readings are not like the others"
    )
    for pair in content["copies"]:
        first, second = pair["readers"]
        say(f"note: {first} and {second} are equal bit for bit in {pair['equal']} of {pair['of']} cases")
