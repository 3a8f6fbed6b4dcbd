"""How many CPU threads this process may use for a model."""

import os

import torch


def use_threads(count: int) -> None:
    """Bounds torch's and the tokenizers' threads; call it once at start, before the first model.

    TOKENIZERS_PARALLELISM is always set, because unset, a later fork warns and turns parallelism off by itself.
    """
    torch.set_num_threads(count)
    os.environ["TOKENIZERS_PARALLELISM"] = "true" if count > 1 else "false"
    os.environ["RAYON_NUM_THREADS"] = str(count)
