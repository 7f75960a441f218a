"""Names of files and folders made from text that a file, a store, a request or a model brought along.

Such text is data: it may hold ``../``, an absolute path, a NUL or the name of a device. Whatever it holds, what
:func:`safe_name` makes of it is a name within one folder.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable

from probunet.core.errors import InputError

LONGEST = 100
"""Bytes of a name in UTF-8: file systems take 255, and endings, numbers and marks of half-written files come on top."""

_RESERVED = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³])( *\..*)?", re.IGNORECASE)
_FORBIDDEN = frozenset('<>:"/\\|?*') | frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_ESCAPING = frozenset(":\\")
_CATEGORIES = frozenset(("Cc", "Cs", "Cn", "Zl", "Zp"))  # control, not UTF-8, not assigned, line, paragraph


def safe_name(text: str, taken: Iterable[str] = ()) -> str:
    """Make a name of one file or folder that every common file system takes.

    Text that is such a name already stays as it is. Any other text gets a short checksum of itself at its end, so
    that two texts stay two names wherever and in whichever order they are seen.

    Args:
        text: anything.
        taken: names that are in use in the same folder; a number tells the new name from these, also where only
            the case of the letters or the form of an accent differs.

    Returns:
        At most :data:`LONGEST` bytes without separator, control character, leading dot or trailing dot, and no name
        that Windows reserves for a device; the number that sets it apart from ``taken`` comes on top.

    Examples:
        >>> safe_name("lesion 7")
        'lesion 7'
        >>> safe_name("../../etc/passwd")
        '_._.._etc_passwd-3754d6cb'
        >>> safe_name("Mask", taken=["mask"])
        'Mask-2'
    """
    name = "".join("_" if _is_forbidden(letter) else letter for letter in text)
    name = re.sub(r"^[. ]|[. ]$", "_", name)
    if _RESERVED.fullmatch(name):
        name = f"_{name}"
    if not name or name != text or len(name.encode()) > LONGEST:
        checksum = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]
        name = f"{shortened(name, LONGEST - 9) or '_'}-{checksum}"
    used = {_key(other) for other in taken}
    numbered, number = name, 2
    while _key(numbered) in used:
        numbered, number = f"{name}-{number}", number + 1
    return numbered


def refuse_alike(names: Iterable[str], what: str, source: str) -> None:
    """Refuse two names of which people would say that they are one.

    Args:
        names: of persons or classes; the same one may come again and again.
        what: they are names of, in the plural, for the message.
        source: where they were read, for the message.

    Raises:
        InputError: two differ in upper and lower case, in blanks, or in the form of an accent, and in nothing else.
    """
    seen: dict[str, str] = {}
    for name in dict.fromkeys(names):
        if (other := seen.setdefault(_key(" ".join(name.split())), name)) != name:
            raise InputError(
                f"{source} has the {what} {other[:80]!a} and {name[:80]!a}, which differ in upper and lower "
                "case, blanks or the form of an accent only; write one name always in one way"
            )


def path_below(text: str, source: str) -> str:
    """The text of a description, if it is the path of something below a folder.

    Args:
        text: folders and a file, with ``/`` between them.
        source: where it was read, for the message.

    Raises:
        InputError: absolute, empty, with ``..``, a drive or a backslash, or a letter that no name has.
    """
    parts = text.split("/")
    wrong = [part for part in parts if part in ("", ".", "..") or any(letter in _ESCAPING for letter in part)]
    if wrong or any(unicodedata.category(letter) in _CATEGORIES for letter in text):
        short = "".join(letter if letter.isprintable() else "?" for letter in text[:80])
        raise InputError(f"{source} has the path '{short}'; write one below the folder, without '..', as in a/b")
    return text


def safe_names(texts: Iterable[str]) -> list[str]:
    """Make names for texts that share a folder: no two of them are equal."""
    names: list[str] = []
    for text in texts:
        names.append(safe_name(text, names))
    return names


def shortened(text: str, size: int) -> str:
    """Cut a text to ``size`` bytes of UTF-8 and no half letter."""
    return text.encode("utf-8", "surrogateescape")[:size].decode("utf-8", "ignore")


def _is_forbidden(letter: str) -> bool:
    return letter in _FORBIDDEN or unicodedata.category(letter) in _CATEGORIES


def _key(name: str) -> str:
    """Equal for names that some file system takes for one."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
