"""Chosen hypotheses as a file to save: what ``probunet sample`` writes, packed where it is several files."""

from __future__ import annotations

import io
import json
import tempfile
import zipfile
from pathlib import Path

from probunet.inference.writers import WRITERS, Drawn, Format


def packed(drawn: Drawn, format: Format) -> tuple[str, bytes]:
    """Write hypotheses in a format.

    Args:
        drawn: the hypotheses on the whole picture, and facts about them.
        format: in which they are written.

    Returns:
        Name of the file and its content: the file alone where it is one, else a ZIP of all with ``facts.json``.

    Raises:
        InputError: the format cannot hold this picture, or a package that it needs is missing.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        WRITERS[format](folder, drawn, {"samples"})
        files = sorted(file for file in folder.rglob("*") if file.is_file())
        if len(files) == 1:
            _, dot, ending = files[0].name.partition(".")
            return f"hypotheses{dot}{ending}", files[0].read_bytes()
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as zipped:
            for file in files:
                zipped.write(file, file.relative_to(folder).as_posix())
            zipped.writestr("facts.json", json.dumps(dict(drawn.facts), indent=2) + "\n")
        return "hypotheses.zip", archive.getvalue()
