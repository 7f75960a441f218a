"""Nothing half-written, and what killed processes leave behind is removed by whoever comes next."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
from small_data import DESCRIPTION, blobs

from probunet.core.files import remove_remains, writing_file
from probunet.data.prepare import write_store
from probunet.data.store import Store

KILLED_WHILE_PREPARING = """
import os, signal, sys
from functools import partial
from pathlib import Path
sys.path.insert(0, {tests!r})
import numpy as np
from small_data import DESCRIPTION, blob, blobs
from probunet.data.prepare import Item, write_store

def die(index):
    os.kill(os.getpid(), signal.SIGKILL)

items = blobs(80)
items[70] = Item(items[70].example, partial(die, 70))
write_store(Path(sys.argv[1]), items, DESCRIPTION, np.uint8, jobs=1)
"""


def test_a_killed_prepare_leaves_nothing_after_the_same_command(tmp_path):
    out = tmp_path / "data" / "blobs"
    script = KILLED_WHILE_PREPARING.format(tests=str(Path(__file__).parent))
    killed = subprocess.run([sys.executable, "-c", script, out], stderr=subprocess.DEVNULL, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert not out.exists()
    (left,) = out.parent.iterdir()
    assert (left / "images.npy").is_file()
    store = write_store(out, blobs(80), DESCRIPTION, np.uint8, jobs=1)
    store.verify()
    assert [path.name for path in out.parent.iterdir()] == ["blobs"]
    assert len(Store(out).examples) == 80


def test_what_a_running_process_writes_is_left_alone(tmp_path):
    target = tmp_path / "scores.json"
    with writing_file(target) as temporary:
        temporary.write_text("half")
        other = tmp_path / temporary.name.replace(f"-{os.getpid()}-", "-4194304-")  # no process has this number
        other.write_text("left behind")
        (tmp_path / ".scores-elsewhere-1-00.json").write_text("another machine's")
        remove_remains(target)
        assert temporary.read_text() == "half"
        assert not other.exists()
    assert {path.name for path in tmp_path.iterdir()} == {"scores.json", ".scores-elsewhere-1-00.json"}
