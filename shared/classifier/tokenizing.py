"""A tokenizer straight from its files, where these alone say what it does."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

TOKENIZER_FILE, OPTIONS_FILE = "tokenizer.json", "tokenizer_config.json"
# transformers changes the normaliser of BERT's kind by these options; here by its own name for each.
_OPTIONS = {
    "do_lower_case": "lowercase",
    "strip_accents": "strip_accents",
    "tokenize_chinese_chars": "handle_chinese_chars",
}
_ADDS_TOKENS = "added_tokens_decoder"


def read_tokenizer(folder: Path) -> tuple[Tokenizer, dict[str, Any]] | None:
    """The tokenizer and its options; None if a file is missing, or options would change it as transformers reads them.

    Raises: Whatever json and tokenizers do of damaged files.
    """
    file, options_file = folder / TOKENIZER_FILE, folder / OPTIONS_FILE
    if not (file.is_file() and options_file.is_file()):
        return None
    text, options = file.read_text(), json.loads(options_file.read_text())
    normaliser = json.loads(text).get("normalizer") or {}
    return (Tokenizer.from_str(text), options) if _is_as_it_stands(normaliser, options) else None


def _is_as_it_stands(normaliser: Mapping[str, Any], options: Mapping[str, Any]) -> bool:
    agree = all(options.get(name, normaliser.get(own)) == normaliser.get(own) for name, own in _OPTIONS.items())
    return agree and _ADDS_TOKENS not in options
