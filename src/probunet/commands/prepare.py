"""``probunet prepare inspect`` and ``probunet prepare verify``: what a folder or a store holds, said on the screen."""

from __future__ import annotations

from pathlib import Path

from probunet.core.console import console
from probunet.data.own.fingerprint import fingerprint
from probunet.data.store import Store


def inspect(data: Path, /, picture: Path | None = None) -> None:
    """Print what a folder for 'prepare folder', or a prepared store, holds: sizes, intensities, readers, agreement.

    Every file is read and checked, and nothing is written but the picture.

    Args:
        data: folder with dataset.json, imagesTr and labelsTr, or a prepared store.
        picture: .png of a contact sheet to write: some images and what each reader marked.

    Raises:
        InputError: a file is missing, unreadable or does not fit.

    Examples:
        probunet prepare inspect mine
        probunet prepare inspect data/mine --picture mine.png
    """
    print("\n".join(fingerprint(data, picture).lines()))


def verify(store: Path, /) -> None:
    """Verify the checksums of a prepared store.

    Args:
        store: the folder.

    Raises:
        InputError: it is not a store, or a file was changed since it was made.

    Examples:
        probunet prepare verify data/readers
    """
    opened = Store(store)
    opened.verify()
    console.print(f"{store} is intact: {len(opened.cases):,} cases, {opened.manifest['title']}")
