"""Pictures from bytes that nobody vouches for: one guard in front of the decoders that files have, too."""

from __future__ import annotations

from functools import partial
from pathlib import Path, PurePath

from probunet.core.errors import InputError
from probunet.core.files import shown
from probunet.core.names import safe_name
from probunet.io.content import OF_UPLOADS, Content
from probunet.io.formats import ENDINGS, ending, read_stored, stem
from probunet.io.pictures import Picture

MAXIMUM_BYTES = 32 * 2**20
SUFFIXES = ENDINGS


def read_upload(name: str, content: bytes) -> Picture:
    """Read the header of an uploaded file and its first slice, so that what is wrong with it is said at once.

    Args:
        name: of the file, for its ending and for messages; no file of this name is opened.
        content: of the file.

    Raises:
        InputError: an unknown ending, first bytes that say something else, more than 32 MiB, more than 2048x2048 px
            a slice or 256 MiB in all (seen in the header, before anything is decoded), or damaged.
    """
    path = Path(PurePath(name.replace("\\", "/").replace("\0", "_")).name)
    if not ending(path):
        raise InputError(f"{shown(name)} has none of the endings {', '.join(SUFFIXES)}; convert it first")
    if len(content) > MAXIMUM_BYTES:
        raise InputError(f"{shown(name)} has {len(content):,} bytes; at most {MAXIMUM_BYTES:,} are read")
    picture = Picture(safe_name(stem(path)), path, partial(read_stored, Content(path, content, OF_UPLOADS)))
    picture.slice(0)
    return picture
