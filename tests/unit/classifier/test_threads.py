"""One setting bounds torch's and the tokenizers' threads."""

import os

import pytest
import torch

from shared.classifier.threads import use_threads


@pytest.mark.parametrize(("count", "parallel"), [(1, "false"), (2, "true")])
def test_torch_and_tokenizers_are_bounded(count: int, parallel: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_num_threads()
    for name in ("TOKENIZERS_PARALLELISM", "RAYON_NUM_THREADS"):
        monkeypatch.setenv(name, "")
    try:
        use_threads(count)
        assert torch.get_num_threads() == count
        assert (os.environ["TOKENIZERS_PARALLELISM"], os.environ["RAYON_NUM_THREADS"]) == (parallel, str(count))
    finally:
        torch.set_num_threads(before)
