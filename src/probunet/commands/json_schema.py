"""What a configuration of a training may say, as a JSON schema for editors: of the signatures that read it."""

from __future__ import annotations

import json
from dataclasses import is_dataclass
from typing import Any

from probunet import models
from probunet.commands.arguments import make_parser
from probunet.core.packages import needed_by

OWN = {
    "type": "object",
    "description": "A model of your own, named in full; its code runs with --trust.",
    "properties": {
        "class_path": {"type": "string", "pattern": r"^(?!probunet\.)\w+(\.\w+)+$"},
        "init_args": {"type": "object"},
    },
    "required": ["class_path"],
    "additionalProperties": False,
}
"""A class that this package knows nothing of."""


def training_schema() -> dict[str, Any]:
    """The JSON schema (draft 2020-12) of a configuration for ``probunet train``.

    Raises:
        InputError: the extra of training is missing, whose arguments are part of it.
    """
    with needed_by("probunet configs --schema"):
        from probunet.commands.train import train

        schema: dict[str, Any] = json.loads(make_parser(train, "train").get_completion_script("jsonschema"))
    del schema["properties"]["trust"]  # which no file may say
    for name, definition in schema["$defs"].items():
        if is_dataclass(getattr(models, name, None)):  # one of several objectives, of which the class is named
            path = {"const": f"probunet.{name}"}
            named = {"properties": {"class_path": path, "init_args": definition}, "required": ["class_path"]}
            by_name = {"type": "object", "additionalProperties": False, **named}
            schema["$defs"][name] = {"anyOf": [by_name, definition]}
    kinds = schema["$defs"]["SegmentationModel"]["anyOf"]
    kinds.sort(key=lambda kind: str(kind.get("properties", {}).get("class_path")))
    kinds.append(OWN)
    return {"title": "A training of probunet", **schema}
