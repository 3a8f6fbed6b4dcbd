"""Only the words that occur are trained: of a table of all words, most rows would be carried along for nothing.

The table is half of a small model's weights, and few of its words occur in a window. For all others there is no
gradient, yet each step would fill, clip and apply one, and each checkpoint hold three numbers a weight.
"""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class OccurringWords(nn.Embedding):
    """Rows of another table, asked for by their numbers there. Any other number is an error, never another word."""

    def __init__(self, table: nn.Embedding, words: torch.Tensor) -> None:
        """Args: words: (n,) their numbers in the table, each once."""
        places = torch.full((table.num_embeddings,), len(words))
        places[words] = torch.arange(len(words))
        padding = None if table.padding_idx not in words.tolist() else int(places[table.padding_idx])
        super().__init__(len(words), table.embedding_dim, padding, _weight=table.weight.detach()[words])
        self.places: torch.Tensor
        self.register_buffer("places", places, persistent=False)

    def forward(self, token_ids: torch.Tensor) -> torch.Tensor:
        return functional.embedding(self.places[token_ids], self.weight, self.padding_idx)


@contextmanager
def only_occurring(model: "PreTrainedModel", words: Collection[int]) -> Iterator[None]:
    """Within, the model knows these words alone; afterwards all, and those that did not occur are as they were.

    What is learned is the same, but for weight decay, which would shrink words that nothing is learned about. A table
    that is frozen, or does more than look up, stays as it is.
    """
    table = model.get_input_embeddings()
    if type(table) is not nn.Embedding or not table.weight.requires_grad:
        yield
        return
    occurring = torch.tensor(sorted(words))
    narrow = OccurringWords(table, occurring)
    model.set_input_embeddings(narrow)
    try:
        yield
    finally:
        model.set_input_embeddings(table)
    with torch.no_grad():
        table.weight[occurring] = narrow.weight.to(table.weight.device)
