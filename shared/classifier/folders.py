"""A folder that appears whole or not at all."""

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

# Begins the names of folders under construction.
UNFINISHED = ".building-"


def build_once(target: Path, build: Callable[[Path], None]) -> Path:
    """Returns `target`, first built in a folder beside it and renamed; whoever comes second uses the first one's.

    A crash leaves only a hidden `.building-*` folder, never half a target.
    """
    if target.is_dir():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    workplace = Path(tempfile.mkdtemp(prefix=UNFINISHED, dir=target.parent))
    try:
        build(workplace)
        _rename_unless_there(workplace, target)
    finally:
        shutil.rmtree(workplace, ignore_errors=True)
    return target


def _rename_unless_there(source: Path, target: Path) -> None:
    source.chmod(0o755)
    try:
        source.rename(target)
    except OSError:
        # Renaming onto a folder that is not empty fails: another process was faster, with the same content.
        if not target.is_dir():
            raise
