"""What is wrong with a model's files, said in one way whoever reads them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shared.errors import ModelError


def refuse_missing(missing: set[str] | list[str], folder: Path) -> None:
    """transformers fills missing weights with random numbers; such a model would answer, and wrongly."""
    if missing:
        raise ModelError(f"{folder}: weights are missing ({', '.join(sorted(missing)[:3])} …); save the model again")


@contextmanager
def load_errors(folder: Path) -> Iterator[None]:
    """Damaged files raise whatever the reader at hand raises, down to bare Exception; all mean the same here."""
    try:
        yield
    except ModelError:
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise ModelError(f"{folder}: cannot be loaded as a model ({reason}); download or train it again") from error
