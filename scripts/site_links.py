"""A hook of mkdocs: links from the guides to files of the repository that are no pages of the site.

Pictures are copied into the site; of everything else the text stays and the link goes, as the site stands alone.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\((\.\./[^)\s]+)\)")
PLACE = "repository"


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Replace links that leave the folder of the pages."""
    docs = Path(config.docs_dir)
    here = docs / PurePosixPath(page.file.src_uri).parent

    def replaced(match: re.Match[str]) -> str:
        picture, text, target = match.groups()
        path = (here / target.partition("#")[0]).resolve()
        if path.is_relative_to(docs):
            return match[0]
        if not path.exists():
            raise PluginError(f"{page.file.src_uri} links to {target}, which is not there")
        if not picture:
            return text
        inside = f"{PLACE}/{path.relative_to(docs.parent).as_posix()}"
        if files.get_file_from_path(inside) is None:
            files.append(File.generated(config, inside, abs_src_path=str(path)))
        up = "../" * page.file.src_uri.count("/")
        return f"![{text}]({up}{inside})"

    return LINK.sub(replaced, markdown)
