"""A folder imports only folders written below it (the one rule of the house); no file imports in a circle."""

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

SOURCE = Path(__file__).parents[1] / "src" / "probunet"
ROOMS = (  # from the top down; the files beside them (cli, __init__, __main__) stand above all
    *("commands", "explore", "report", "evaluation", "training", "inference", "runs", "models", "objectives"),
    *("distributions", "nets", "data", "metrics", "io", "drawing", "core"),
)
DATA = ("own", "simulated", "lidc_crops", "lidc")  # the folders of data, from the top down, above its own files


def _module(file: Path) -> str:
    return ".".join(("probunet", *file.relative_to(SOURCE).with_suffix("").parts)).removesuffix(".__init__")


MODULES = {_module(file): file for file in sorted(SOURCE.rglob("*.py"))}


def _imports(file: Path) -> Iterator[str]:
    """Every module of this package that a file imports, also inside of functions and for types only."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.partition(".")[0] == "probunet")
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: imports name their module in full"
            if node.module and node.module.partition(".")[0] == "probunet":
                for alias in node.names:
                    whole = f"{node.module}.{alias.name}"
                    yield whole if whole in MODULES else node.module


def _height(module: str) -> tuple[int, int]:
    """How high a module stands: its room, and within data its folder."""
    names = module.split(".")[1:]
    if not names or names[0] not in ROOMS:
        return len(ROOMS), 0
    inner = len(DATA) - DATA.index(names[1]) if names[0] == "data" and len(names) > 1 and names[1] in DATA else 0
    return len(ROOMS) - 1 - ROOMS.index(names[0]), inner


def test_every_folder_is_a_room() -> None:
    folders = {path.name for path in SOURCE.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert folders == set(ROOMS)


def test_imports_point_downward() -> None:
    upward = [
        f"{module} imports {target}"
        for module, file in MODULES.items()
        for target in _imports(file)
        if _height(target) > _height(module)
    ]
    assert not upward, "\n".join(upward)


def test_no_file_imports_in_a_circle() -> None:
    TopologicalSorter({module: set(_imports(file)) - {module} for module, file in MODULES.items()}).prepare()
