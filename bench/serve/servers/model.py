"""What every batching peer answers with: model and tokenizer as the library gives them, a batch padded to its longest.

More direct than the library's pipeline, whose own loop over single texts and data loader would cost the peers time.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer


@dataclass(frozen=True)
class ServerOptions:
    """What the bench tells a server, by environment variables `BENCH_NAME`."""

    files: Path
    port: int
    threads: int
    max_tokens: int
    batch: int
    wait_ms: float
    device: str

    @classmethod
    def read(cls) -> "ServerOptions":
        """From this process's environment."""
        said = os.environ
        return cls(
            files=Path(said["BENCH_FILES"]),
            port=int(said["BENCH_PORT"]),
            threads=int(said["BENCH_THREADS"]),
            max_tokens=int(said["BENCH_MAX_TOKENS"]),
            batch=int(said["BENCH_BATCH"]),
            wait_ms=float(said["BENCH_WAIT_MS"]),
            device=said["BENCH_DEVICE"],
        )

    @property
    def on_gpu(self) -> bool:
        """Whether models are computed on one."""
        return self.device.startswith("cuda")

    def variables(self) -> dict[str, str]:
        """The environment to read them from."""
        return {f"BENCH_{name.upper()}": str(value) for name, value in vars(self).items()}


class Model:
    """Answers batches with label and score."""

    def __init__(self, options: ServerOptions) -> None:
        torch.set_num_threads(options.threads)
        self._max_tokens, self._device = options.max_tokens, options.device
        self._tokenizer = AutoTokenizer.from_pretrained(options.files)
        model = AutoModelForSequenceClassification.from_pretrained(options.files, dtype=torch.float32)
        self._model = model.to(self._device).eval()

    @torch.inference_mode()
    def answer(self, texts: Sequence[str]) -> list[dict[str, str | float]]:
        """One answer a text, in order."""
        encoded = self._tokenizer(
            list(texts), padding=True, truncation=True, max_length=self._max_tokens, return_tensors="pt"
        ).to(self._device)
        scores, columns = torch.softmax(self._model(**encoded).logits, dim=1).max(dim=1)
        names = self._model.config.id2label
        pairs = zip(columns.tolist(), scores.tolist(), strict=True)
        return [{"label": names[column], "score": score} for column, score in pairs]
