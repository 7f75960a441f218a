"""What ``probunet sample`` keeps: for every picture a folder that answers one question, whole or not at all."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

from probunet.core.descriptions import read_json
from probunet.core.errors import InputError
from probunet.core.files import shown
from probunet.core.names import safe_name
from probunet.core.writing import writing_folder
from probunet.inference.calibrated import needs_calibration
from probunet.inference.folder import SUMMARY, Folder
from probunet.inference.predictor import Predictor
from probunet.inference.request import Request
from probunet.io.pictures import Picture


class Results:
    """The folders of a command's results.

    Args:
        out: where they are.
        predictor: whose model is asked.
        request: of every picture.

    Raises:
        InputError: outlines are asked for, of one reader or of a model that was not calibrated.
    """

    def __init__(self, out: Path, predictor: Predictor, request: Request) -> None:
        self.out, self.predictor, self.request = out, predictor, request
        self._calibration()

    def _calibration(self) -> dict[str, str]:
        """Checksum of the calibration that outlines are of, as it lies beside the model now; nothing without them."""
        if not self.request.outlined:
            return {}
        return {"calibration": needs_calibration(self.predictor, self.request.reader).checksum}

    def folder(self, picture: Picture) -> Path:
        """Of a picture."""
        return self.out / safe_name(picture.name)

    def has(self, picture: Picture) -> bool:
        """Whether the answer to this very question is there already.

        Raises:
            InputError: the folder holds the answer to another one, or something else.
        """
        folder = self.folder(picture)
        if not folder.exists():
            return False
        try:
            question = read_json(folder / SUMMARY)["request"]
        except (InputError, KeyError) as error:
            raise InputError(
                f"{shown(folder)} exists and is no result of this command; remove it or choose another --out"
            ) from error
        asked = self._question(picture)
        of_picture = {key: asked[key] for key in ("input", "sha256")}
        if question != asked and {**question, **of_picture} == asked:
            if question["input"] == asked["input"]:
                raise InputError(
                    f"{asked['input']} is not what {shown(folder)} holds the samples of: it was changed since; remove "
                    "these or choose another --out"
                )
            raise InputError(
                f"{shown(folder)} holds the samples of {question['input']}, and {asked['input']} has that name too; "
                "take them one by one, each with its own --out"
            )
        if question != asked:
            raise InputError(
                f"{shown(folder)} holds samples that were asked for differently; remove it or choose another --out"
            )
        return True

    def _question(self, picture: Picture) -> dict[str, Any]:
        return {"input": shown(picture.source), "sha256": picture.checksum, **self._of_all, **self._calibration()}

    @cached_property
    def _of_all(self) -> dict[str, Any]:
        """What is asked of every picture, and of which model."""
        model = {"weights": self.predictor.identity, "model": self.predictor.trained.settings_checksum}
        return {**model, **self.request.as_json()}

    def write(self, picture: Picture, tell: Callable[[], None]) -> list[str]:
        """Write the folder of a picture, whole or not at all.

        Args:
            picture: its pixels are read here.
            tell: called after every slice.

        Returns:
            What the user should know.

        Raises:
            InputError: the picture cannot be read or does not fit the model, or the folder cannot be written.
        """
        request = self.request
        if request.above and picture.shape[0] == 1:
            raise InputError(f"{shown(picture.source)} is one slice and has no volume that --above could ask for")
        prediction = self.predictor(picture, at=request.at, reader=request.reader)
        # before anything is made: the first slice is read, and most of what can be wrong shows
        noise = prediction.noise(request.n, request.seed) if request.z is None else prediction.latents(request.z)
        folder = self.folder(picture)
        with writing_folder(folder) as temporary:
            Folder(temporary, prediction, request).fill(noise, tell, self._question(picture))
        return prediction.notes
