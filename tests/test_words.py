"""One word for one thing: what source, docstrings and guides call by another name is listed here, or it fails."""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "src" / "probunet").rglob("*.py"))
GUIDES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]

INSTEAD = {
    "truth": "references, or the known probabilities",
    "truths": "references",
    "eps": "noise",
    "annotation": "reading",
    "annotations": "readings",
    "example": "case",
    "examples": "cases",
}
"""Words that are not used in names, and what is said instead."""
ALLOWED = (  # LIDC-IDRI's own word for what one reader drew around one lesion
    *("data/lidc/", "data/lidc_crops/spacing.py", "data/lidc_crops/slices.py", "data/lidc_crops/pickle.py"),
    "commands/prepare_lidc.py",
    "commands/arguments.py",  # of docstrings
)
POOR = {"one", "found", "there", "told", "given"}
POOR_STILL_USED = 63
"""Names that say nothing of what they hold; this number only goes down."""


def _names(tree: ast.AST) -> Iterator[str]:
    """What a file gives a name to."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.id if isinstance(node, ast.Name) else node.attr
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name


def _docstrings(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module):
            yield ast.get_docstring(node) or ""


def _words(name: str) -> set[str]:
    return {word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", name)}


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: file.relative_to(ROOT / "src" / "probunet").as_posix())
def test_a_thing_has_its_own_name(file):
    if file.relative_to(ROOT / "src" / "probunet").as_posix().startswith(ALLOWED):
        return
    tree = ast.parse(file.read_text())
    wrong = {name: INSTEAD[word] for name in _names(tree) for word in _words(name) & INSTEAD.keys()}
    assert not wrong
    prose = " ".join(_docstrings(tree)).replace("for example", "")
    for word in ("truth", "eps", "annotation"):
        assert not re.search(rf"\b{word}\b", prose), f"say {INSTEAD[word]}"


@pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.name)
def test_guides_say_it_in_the_same_words(page):
    text = re.sub(r"`[^`]*`|\]\([^)]*\)|https?://\S+", "", page.read_text())
    for word in ("truth", "truths", "eps"):
        assert not re.search(rf"\b{word}\b", text, re.IGNORECASE), f"say {INSTEAD[word]}"


def test_names_that_say_nothing_become_fewer():
    poor = Counter({file: sum(name in POOR for name in _names(ast.parse(file.read_text()))) for file in SOURCES})
    most = ", ".join(f"{file.name} {count}" for file, count in poor.most_common(5))
    assert poor.total() <= POOR_STILL_USED, f"name what it holds ({most})"
