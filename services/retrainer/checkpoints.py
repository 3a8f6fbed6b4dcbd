"""Which checkpoints are complete. The Trainer writes one file after another, and a kill may come between any two."""

import json
import shutil
from pathlib import Path

MARKER = "complete.json"
_PREFIX = "checkpoint-"


def mark_complete(checkpoint: Path) -> None:
    """Lists the checkpoint's files and sizes; written last, so its presence says that all the rest is there."""
    sizes = {path.name: path.stat().st_size for path in checkpoint.iterdir() if path.is_file()}
    draft = checkpoint / f".{MARKER}.draft"
    draft.write_text(json.dumps(sizes, sort_keys=True))
    draft.replace(checkpoint / MARKER)


def is_complete(checkpoint: Path) -> bool:
    """Whether every listed file is there in its full size."""
    try:
        sizes: dict[str, int] = json.loads((checkpoint / MARKER).read_bytes())
        return all((checkpoint / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError):
        return False


def step_of(checkpoint: Path) -> int:
    """The optimiser step that the checkpoint was taken after."""
    return int(checkpoint.name.removeprefix(_PREFIX))


def latest_complete(folder: Path) -> Path | None:
    """The newest usable checkpoint. Half-written ones are deleted, or the Trainer would count them as its newest."""
    usable = []
    for checkpoint in folder.glob(f"{_PREFIX}*"):
        if is_complete(checkpoint):
            usable.append(checkpoint)
        else:
            shutil.rmtree(checkpoint)
    return max(usable, key=step_of, default=None)
