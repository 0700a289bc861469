"""Tokenizers that split a text by a rule: into characters, or into words."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from pydl.errors import Error
from pydl.text.vocabulary import Vocabulary


class Tokenizer:
    """Splits texts into the tokens of a vocabulary, and puts them together again."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary

    def __len__(self) -> int:
        return len(self.vocabulary)

    @staticmethod
    def split(text: str) -> list[str]:
        """The tokens of a text."""
        raise NotImplementedError

    @staticmethod
    def join(tokens: Iterable[str]) -> str:
        """The text of tokens."""
        raise NotImplementedError

    @classmethod
    def fit(cls, *texts: str, **settings: Any) -> Tokenizer:
        """With the vocabulary of some texts; `settings` go to `Vocabulary.count`. Raises Error for
        texts without tokens."""
        for text in texts:
            if not isinstance(text, str):
                raise Error(f"fit takes texts, fit(text, text, ...), not a {type(text).__name__}")
        tokens = (token for text in texts for token in cls.split(text))
        return cls(Vocabulary.count(tokens, **settings))

    def encode(self, text: str) -> np.ndarray:
        """(T,) int64: the tokens' numbers. Raises Error for unknown ones, unless the vocabulary
        has a token that stands for them."""
        return self.vocabulary.encode(self.split(text))

    def decode(self, numbers: Iterable[int]) -> str:
        """The text of tokens' numbers. Raises Error for numbers that are none."""
        return self.join(self.vocabulary.decode(numbers))

    def save(self, path: str | os.PathLike) -> None:
        """Writes the vocabulary: see `Vocabulary.save`."""
        self.vocabulary.save(path)

    @classmethod
    def load(cls, path: str | os.PathLike) -> Tokenizer:
        """With the vocabulary of a file: see `Vocabulary.load`."""
        return cls(Vocabulary.load(path))


class Characters(Tokenizer):
    """Each character is a token.

    >>> tokens = Characters.fit("banana")
    >>> tokens.encode("nab")
    array([1, 0, 2])
    """

    @classmethod
    def fit(cls, *texts: str, special: Sequence[str] = (), **settings: Any) -> Characters:
        """As `Tokenizer.fit`, but unknown characters are errors unless `special` has ``<unk>``."""
        return super().fit(*texts, special=special, **settings)

    @staticmethod
    def split(text: str) -> list[str]:
        return list(text)

    @staticmethod
    def join(tokens: Iterable[str]) -> str:
        return "".join(tokens)


class Words(Tokenizer):
    """Runs of letters and digits, in lower case, and each other character but spaces are tokens;
    markers such as ``<unk>`` and ``<s>`` are one token each.

    >>> words = Words.fit("The cat sat. The dog sat.", least=2)
    >>> words.vocabulary.tokens
    ('<unk>', '.', 'sat', 'the')
    >>> words.decode(words.encode("The bird sat."))
    'the <unk> sat.'
    """

    @staticmethod
    def split(text: str) -> list[str]:
        return re.findall(r"<\w+>|\w+(?:'\w+)*|[^\w\s]", text.lower())

    @staticmethod
    def join(tokens: Iterable[str]) -> str:
        return re.sub(r" ([.,;:!?)\]}])|([(\[{]) ", r"\1\2", " ".join(tokens))
