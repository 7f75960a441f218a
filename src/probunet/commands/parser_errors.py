"""What jsonargparse says of a wrong option, in one sentence."""

from __future__ import annotations

import re

_KINDS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "str": "text",
    "list": "a list",
    "tuple": "a list",
    "Sequence": "a list",
    "dict": "names with values",
    "Path": "a path",
    "PosixPath": "a path",
}


def sentence(text: str) -> str:
    """Give an error of the parser as one sentence: the option by its whole name, the value, and what it should be."""
    keys = re.findall(r'Parser key "([^"]+)"', text)
    name = ".".join(_last_part(key, before) for before, key in zip(["", *keys], keys, strict=False))
    if match := re.search(r"Unable to load config '(.*)'\s+- (.*)", text, re.DOTALL):
        return f"--{name}: {match[1]} is no valid YAML: {' '.join(match[2].split())[:120]}"
    if unknown := re.findall(r"(?:Group '([^']+)' does not accept option|Option) '([^']+)'", text):
        return f"there is no option --{'.'.join(filter(None, (name, *unknown[-1])))[:80]}; see --help"
    if match := re.search(r"unrecognized arguments: (.*)", text):
        return f"there is no option {match[1][:80]}; see --help"
    if match := re.search(r"arguments are required: (.*)", text):
        names = match[1].split(", ")
        return f"{', '.join(names)} {'is' if len(names) == 1 else 'are'} missing; see --help"
    if match := re.search(r"argument ([^:]+): expected (.*?) argument", text):
        return f"{match[1].split('/')[-1]} needs a value; see --help"
    values = re.findall(r"(?:Given value|Got value): (.*)", text)
    kinds = re.findall(r"Expected an? (?:<class '([\w.]+)'>|typing\.(Literal\[.*?\]))", text)
    wanted = dict.fromkeys(_kind(plain or literal) for plain, literal in kinds if plain != "NoneType")
    if name and values and wanted:
        return f"--{name}: {values[0].strip()[:60]} is not {' or '.join(wanted)}"[:200]
    if name and values and "Union subtypes" in text:
        return f"--{name}: {values[-1].strip()[:60]} is not names with values"
    rest = re.sub(r'Parser key "[^"]+":?', "", text)
    return (f"--{name}: " if name else "") + " ".join(rest.split())[:160]


def _last_part(key: str, before: str) -> str:
    return key.removeprefix(f"{before}.")


def _kind(name: str) -> str:
    if name.startswith("Literal"):
        return "one of " + ", ".join(re.findall(r"[\w.-]+", name.removeprefix("Literal")))
    return _KINDS.get(name.split(".")[-1], "names with values")
