"""`transformers.pipeline` in a process of its own, as whoever uses it has it: nothing is set up as in our server.

`python -m bench.piped FILES DEVICE THREADS WINDOW` answers each line of standard input, `{"precision": .., "texts":
[..]}`, with one of standard output, an `Answered` in JSON. `bench.inference` starts it by `Piped`.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import numpy as np
from numpy.typing import NDArray

from deploy.local import process
from shared.classifier.precision import Precision, torch_dtype
from shared.classifier.quiet import quietly
from shared.classifier.threads import use_threads

BATCH = 16
ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Answered:
    """Scores of n texts, (n, labels), and what they took whoever gave them."""

    scores: NDArray[np.float64]
    seconds: float
    processor_seconds: float


Answer = Callable[[Sequence[str]], Answered]


def timed(ask: Callable[[Sequence[str]], NDArray[np.float64]]) -> Answer:
    """The same with what it took."""

    def answer(texts: Sequence[str]) -> Answered:
        began, processor_began = time.perf_counter(), time.process_time()
        scores = ask(texts)
        return Answered(scores, time.perf_counter() - began, time.process_time() - processor_began)

    return answer


class Piped(AbstractContextManager["Piped"]):
    """The process, until the block ends."""

    def __init__(self, files: Path, device: str, threads: int, window: int) -> None:
        """Args: window: tokens, beyond which a text is cut."""
        self._argv = [*process.PYTHON_MODULE, "bench.piped", str(files), device, str(threads), str(window)]

    def __enter__(self) -> Self:
        # Imported here, since importing it is what sets them.
        from services import WAITING_THREADS

        own = {name: value for name, value in os.environ.items() if name not in WAITING_THREADS}
        self._running = subprocess.Popen(
            self._argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**own, "PYTHONPATH": str(ROOT)},
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._running.communicate()

    def answer(self, precision: Precision) -> Answer:
        """Asks it, in this precision. The `Answer` raises RuntimeError if the process has ended."""
        asking, answering = _open(self._running.stdin), _open(self._running.stdout)

        def answer(texts: Sequence[str]) -> Answered:
            asking.write(json.dumps({"precision": precision, "texts": list(texts)}) + "\n")
            asking.flush()
            if not (line := answering.readline()):
                raise RuntimeError(f"the pipeline's process ended with status {self._running.wait()}")
            said = json.loads(line)
            return Answered(np.array(said.pop("scores")), **said)

        return answer


def _open(stream: IO[str] | None) -> IO[str]:
    assert stream is not None  # both were asked for
    return stream


def main() -> None:
    """Answers until standard input ends."""
    files, device, threads, window = sys.argv[1:]
    use_threads(int(threads))
    # What libraries print must not come between the answers.
    answers, sys.stdout = sys.stdout, sys.stderr

    @cache
    def ask(precision: Precision) -> Answer:
        return timed(_pipeline(files, device, int(window), precision))

    with quietly():
        for line in sys.stdin:
            asked: dict[str, Any] = json.loads(line)
            found = ask(asked["precision"])(asked["texts"])
            print(json.dumps(vars(found) | {"scores": found.scores.tolist()}), file=answers, flush=True)


def _pipeline(
    files: str, device: str, window: int, precision: Precision
) -> Callable[[Sequence[str]], NDArray[np.float64]]:
    from transformers import pipeline

    ask = pipeline("text-classification", model=files, device=device, dtype=torch_dtype(precision), top_k=None)

    def answer(texts: Sequence[str]) -> NDArray[np.float64]:
        rows = ask(list(texts), batch_size=BATCH, truncation=True, max_length=window)
        return np.array(
            [[score for _, score in sorted((each["label"], each["score"]) for each in row)] for row in rows]
        )

    return answer


if __name__ == "__main__":
    main()
