"""Reading and writing the files of a transformer: safetensors and JSON only, complete, or refused."""

from pathlib import Path
from typing import TYPE_CHECKING

from transformers import AutoTokenizer, PreTrainedTokenizerFast

from shared.classifier.quiet import quietly
from shared.classifier.tokenizing import TOKENIZER_FILE
from shared.errors import ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# Never the hub, never pickle, never code that came with the weights.
LOCAL = {"local_files_only": True, "trust_remote_code": False}
WEIGHTS = {**LOCAL, "use_safetensors": True, "output_loading_info": True}


def load_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """The folder's tokenizer.

    Raises: ModelError if there is none that batches.
    """
    if not (folder / TOKENIZER_FILE).is_file():
        # transformers would make one with an empty vocabulary, and the model would answer every text alike.
        raise ModelError(f"{folder}: tokenizer.json is missing; save the tokenizer beside the model")
    tokenizer = AutoTokenizer.from_pretrained(folder, **LOCAL)
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise ModelError(f"{folder}: its tokenizer has no fast version, which batching needs")
    return tokenizer


def save_flat(model: "PreTrainedModel", tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Writes weights, config and tokenizer flat into the folder, made if need be."""
    # Left over from whoever tokenised last, they would be saved, and change the digest of the same model.
    tokenizer.backend_tokenizer.no_padding()
    tokenizer.backend_tokenizer.no_truncation()
    with quietly():
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)


def pad_id_of(tokenizer: PreTrainedTokenizerFast) -> int:
    """The id that fills a batch up; any will do for a tokenizer that names none, since padding is masked."""
    return tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0


def window_of(model: "PreTrainedModel", tokenizer: PreTrainedTokenizerFast, max_tokens: int | None = None) -> int:
    """The most tokens that the model reads of a text, special ones included; fewer if told so."""
    own = min(int(tokenizer.model_max_length), int(model.config.max_position_embeddings))
    return own if max_tokens is None else min(own, max_tokens)
