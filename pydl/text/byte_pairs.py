"""`BytePairs`: byte pair encoding (Sennrich et al. 2015, arXiv:1508.07909), by the package
tokenizers."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from pydl.errors import Error
from pydl.formats.atomic import atomic_write


class BytePairs:
    """Tokens are bytes, and runs of bytes that are frequent in the texts it was fitted on: no text
    is unknown to it. Needs the package tokenizers (``pip install "pydl[text]"``).

    >>> tokens = BytePairs.fit("low lower lowest " * 20, size=270)
    >>> tokens.decode(tokens.encode("lower"))
    'lower'
    """

    def __init__(self, model: Any) -> None:
        self._model = model

    @classmethod
    def fit(cls, *texts: str, size: int = 1000, special: Iterable[str] = ()) -> BytePairs:
        """With a vocabulary of at most `size` tokens: the `special` ones, all 256 bytes, and the
        pairs that were joined. Raises Error for a size without room for these."""
        tokenizers = _tokenizers()
        special = list(special)
        if size < 256 + len(special):
            raise Error(
                f"size {size} is too small for the 256 bytes and {len(special)} special tokens"
            )
        model = tokenizers.Tokenizer(tokenizers.models.BPE())
        model.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
        model.decoder = tokenizers.decoders.ByteLevel()
        trainer = tokenizers.trainers.BpeTrainer(
            vocab_size=size,
            special_tokens=special,
            initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        model.train_from_iterator(texts, trainer)
        return cls(model)

    def __len__(self) -> int:
        return self._model.get_vocab_size()

    def number(self, token: str) -> int:
        """Of a special token. Raises Error if there is none such."""
        found = self._model.token_to_id(token)
        if found is None:
            raise Error(f"{token!r} is not one of the tokens")
        return found

    def encode(self, text: str) -> np.ndarray:
        """(T,) int64: the tokens' numbers."""
        return np.array(self._model.encode(text).ids, np.int64)

    def decode(self, numbers: Iterable[int]) -> str:
        """The text of tokens' numbers. Raises Error for numbers that are none."""
        numbers = [int(number) for number in numbers]
        for number in numbers:
            if not 0 <= number < len(self):
                raise Error(f"{number} is no token's number: there are 0 to {len(self) - 1}")
        return self._model.decode(numbers, skip_special_tokens=False)

    def save(self, path: str | os.PathLike) -> None:
        """Writes the JSON file of the package tokenizers."""
        with atomic_write(Path(path)) as file:
            file.write(self._model.to_str(pretty=True).encode())

    @classmethod
    def load(cls, path: str | os.PathLike) -> BytePairs:
        """Reads such a file. Raises Error naming it."""
        try:
            return cls(_tokenizers().Tokenizer.from_file(os.fspath(path)))
        except Error:
            raise
        except Exception as error:  # the package raises nothing more special
            raise Error(f"{path}: is no tokenizer's file: {error}") from None


def _tokenizers() -> Any:
    try:
        import tokenizers
    except ImportError:
        raise Error(
            'byte pair encoding needs the package tokenizers: pip install "pydl[text]"'
        ) from None
    return tokenizers
