"""A hook of mkdocs: the tutorials as notebooks, made of the pages themselves and offered at the top of each.

A page is the only source. Its ``python`` is the code of its notebook, cell by cell, and its lines of commands are
cells that call them; the text between them is the text of the page. Pictures stay behind, as the code draws them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
from mkdocs.structure.files import File, Files
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

BLOCK = re.compile(r"^```(\w*)\n(.*?)^```\n", re.DOTALL | re.MULTILINE)
PICTURE = re.compile(r"^!\[[^\]]*\]\([^)]*\)\n", re.MULTILINE)
LINK = re.compile(r"\[((?:[^\[\]]|\[[^\]]*\])*)\]\((?!https?:)[^)]*\)")
FIRST = """\
*{page} of probunet as a notebook. In the folder of its source, `pip install '.[all]' jupyterlab ipywidgets` installs
what it needs. Begin in an empty folder and run the cells from top to bottom.*"""


def notebook(page: Path) -> nbformat.NotebookNode:
    """Make the notebook of a page.

    Args:
        page: Markdown whose code runs from top to bottom.
    """
    cells = [new_markdown_cell(FIRST.format(page=page.name)), *_cells(page.read_text(encoding="utf-8"))]
    for i, cell in enumerate(cells):
        cell.id = f"cell-{i}"  # in place of a random one, so that the same page gives the same file
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    made = new_notebook(cells=cells, metadata={"kernelspec": kernel, "language_info": {"name": "python"}})
    nbformat.validate(made)
    return made


def _cells(text: str) -> Iterator[nbformat.NotebookNode]:
    prose = 0
    for block in BLOCK.finditer(text):
        code = _code(*block.groups())
        if code is not None:
            yield from _prose(text[prose : block.start()])
            yield new_code_cell(code)
            prose = block.end()
    yield from _prose(text[prose:])


def _code(language: str, block: str) -> str | None:
    """What a cell runs; ``None`` of a block that is there to be read."""
    lines = block.rstrip().splitlines()
    if language == "python":
        return "\n".join(lines)
    if not language and all(line.startswith("probunet ") for line in lines):
        return "\n".join(f"!{line}" for line in lines)
    return None


def _prose(text: str) -> Iterator[nbformat.NotebookNode]:
    """A cell of text, in which links to other pages are their words."""
    text = LINK.sub(r"\1", PICTURE.sub("", text)).strip()
    if text:
        yield new_markdown_cell(text)


def on_files(files: Files, config: Any) -> Files:
    """Put the notebooks of the pages that ``extra.notebooks`` of mkdocs.yml lists into the site."""
    for name in config.extra["notebooks"]:
        content = nbformat.writes(notebook(Path(config.docs_dir, name)))
        files.append(File.generated(config, place(name), content=content))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Name the notebook of a page below its title."""
    if page.file.src_uri not in config.extra["notebooks"]:
        return markdown
    title, rest = markdown.split("\n", 1)
    return f"{title}\n\n[This page as a notebook]({place(page.file.src_uri)})\n{rest}"


def place(name: str) -> str:
    """Where the notebook of a page lies in the site."""
    return f"notebooks/{Path(name).stem}.ipynb"
