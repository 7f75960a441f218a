"""The site of the guides: every page is in it, every public name is in the reference, its Python runs."""

import re
from pathlib import Path

import yaml

import probunet as pu
from probunet.commands.listed import COMMANDS

DOCS = Path(__file__).parents[1] / "docs"
SITE = yaml.safe_load((DOCS.parent / "mkdocs.yml").read_text(encoding="utf-8"))
REFERENCE = "\n".join(page.read_text(encoding="utf-8") for page in (DOCS / "reference").glob("*.md"))
DESCRIBED = re.findall(r"^::: (\S+)$", REFERENCE, re.MULTILINE)


def pages(nav):
    for entry in nav:
        for part in entry.values():
            yield from [part] if isinstance(part, str) else pages(part)


def test_every_page_is_in_the_navigation():
    assert set(pages(SITE["nav"])) == {page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md")}


def test_nothing_is_fetched_when_a_page_is_looked_at():
    assert SITE["theme"]["font"] is False
    assert SITE["strict"] is True


def test_every_public_name_and_command_is_in_the_reference():
    names = {name.rpartition(".")[2] for name in DESCRIBED}
    assert set(pu.__all__) - {"__version__", "metrics", "models", "testing"} <= names
    assert set(pu.metrics.__all__) <= names
    functions = {f"probunet.commands.{place.replace(':', '.')}" for place in COMMANDS.values()}
    assert functions <= set(DESCRIBED)
    for name in COMMANDS:
        assert f"\n## probunet {name}\n" in REFERENCE


def test_all_of_probunet_on_one_page_runs():
    names: dict = {}
    for block in re.findall(r"^```python\n(.*?)^```", (DOCS / "all.md").read_text(), re.DOTALL | re.MULTILINE):
        exec(compile(block, "all.md", "exec"), names)
    assert names["labels"].shape == (16, 2, 32, 32)
    assert names["hypotheses"].shape == (4, 1, 128, 128)
    assert names["distance"].value.shape == (2,)
