"""`Vocabulary`: which number stands for which token."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from pydl.errors import Error
from pydl.formats.atomic import atomic_write
from pydl.prototxt.names import nearest

UNKNOWN = "<unk>"
_ESCAPES = {"\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


class Vocabulary:
    """Tokens and their numbers, 0 to ``len - 1``.

    Args:
        tokens: in the order of their numbers, each once.
        unknown: the token, one of them, that stands for all others; None: others are errors.

    Raises:
        Error: no tokens, one that is there twice, or an `unknown` that is not among them.

    >>> words = Vocabulary(["<unk>", "the", "cat"], unknown="<unk>")
    >>> words.encode(["the", "dog"])
    array([1, 0])
    >>> words.decode([2])
    ['cat']
    """

    def __init__(self, tokens: Iterable[str], unknown: str | None = None) -> None:
        self.tokens = tuple(tokens)
        if not self.tokens:
            raise Error("a vocabulary needs at least one token, got none")
        self._numbers = {token: number for number, token in enumerate(self.tokens)}
        if len(self._numbers) < len(self.tokens):
            token, count = Counter(self.tokens).most_common(1)[0]
            raise Error(f"a vocabulary has each token once, got {token!r} {count} times")
        if unknown is not None and unknown not in self._numbers:
            raise Error(f"unknown={unknown!r} is not one of the tokens")
        self.unknown = unknown

    @classmethod
    def count(
        cls,
        tokens: Iterable[str],
        size: int | None = None,
        least: int = 1,
        special: Sequence[str] = (UNKNOWN,),
    ) -> Vocabulary:
        """Of the tokens of a text: `special` ones, then those that are there at least `least`
        times, the most frequent first, up to `size` in all. The special token ``<unk>`` stands for
        those left out.

        Raises:
            Error: no tokens at all, or none that is there often enough.

        >>> Vocabulary.count("a rose is a rose".split(), size=3).tokens
        ('<unk>', 'a', 'rose')
        """
        if size is not None and size < len(special) + 1:
            raise Error(f"size {size} leaves no room for tokens beside {len(special)} special ones")
        counts = Counter(tokens)
        order = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        kept = [token for token, n in order if n >= least and token not in special]
        if not kept:
            few = f", none of {len(counts)} {least} times" if counts else ""
            raise Error(f"a vocabulary needs tokens to count, but there are none{few}")
        room = None if size is None else size - len(special)
        return cls([*special, *kept[:room]], UNKNOWN if UNKNOWN in special else None)

    def __len__(self) -> int:
        return len(self.tokens)

    def __iter__(self) -> Iterator[str]:
        return iter(self.tokens)

    def __repr__(self) -> str:
        shown = ", ".join(map(repr, self.tokens[:5])) + (", ..." if len(self) > 5 else "")
        return f"<Vocabulary of {len(self)} tokens: {shown}>"

    def __contains__(self, token: object) -> bool:
        return token in self._numbers

    def number(self, token: str) -> int:
        """Raises Error for a token that is not there, unless one stands for such."""
        found = self._numbers.get(token)
        if found is not None:
            return found
        if self.unknown is not None:
            return self._numbers[self.unknown]
        close = nearest(token, self.tokens)
        hint = f"the nearest is {close!r}" if close else "a special token <unk> would stand for it"
        raise Error(f"{token!r} is not in this vocabulary of {len(self)} tokens; {hint}")

    def encode(self, tokens: Iterable[str]) -> np.ndarray:
        """(T,) int64. Raises Error as `number`."""
        return np.array([self.number(token) for token in tokens], np.int64)

    def decode(self, numbers: Iterable[int]) -> list[str]:
        """Raises Error for numbers that are not 0 to ``len - 1``."""
        given = numbers if np.ndim(numbers) or not isinstance(numbers, Iterable) else list(numbers)
        numbers = np.asarray(given)
        if numbers.ndim != 1:
            raise Error(f"decode takes the numbers of one text, a sequence, not {given!r}")
        numbers = numbers.astype(np.int64)
        outside = numbers[(numbers < 0) | (numbers >= len(self))]
        if outside.size:
            raise Error(f"{outside[0]} is no token's number: there are 0 to {len(self) - 1}")
        return [self.tokens[number] for number in numbers]

    def save(self, path: str | os.PathLike) -> None:
        """Writes a text file: a token on each line, in the order of the numbers. Line breaks, tabs
        and backslashes in tokens are written as in C."""
        lines = ("".join(_ESCAPES.get(c, c) for c in token) for token in self.tokens)
        with atomic_write(Path(path)) as file:
            file.write("".join(f"{line}\n" for line in lines).encode())

    @classmethod
    def load(cls, path: str | os.PathLike) -> Vocabulary:
        """Reads what `save` wrote, or any file of a token on each line. ``<unk>``, where it is
        there, stands for unknown tokens. Raises Error naming the file."""
        try:
            text = Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or error
            raise Error(f"{path}: cannot be read: {reason}") from None
        tokens = [_unescaped(line) for line in text.split("\n")]
        if tokens[-1] == "":
            tokens.pop()
        try:
            return cls(tokens, UNKNOWN if UNKNOWN in tokens else None)
        except Error as error:
            raise Error(f"{path}: {error}") from None


def _unescaped(line: str) -> str:
    originals = {written: character for character, written in _ESCAPES.items()}
    token, at = "", 0
    while at < len(line):
        step = 2 if line[at : at + 2] in originals else 1
        token += originals.get(line[at : at + step], line[at : at + step])
        at += step
    return token
