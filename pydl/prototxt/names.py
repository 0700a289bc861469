"""Names in messages: the one that was meant, and a few of many."""

from collections.abc import Collection, Iterable
from difflib import get_close_matches
from itertools import islice


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name most like `name`, in any case of letters, or None.

    >>> nearest("num_ouput", ["num_output", "pad"])
    'num_output'
    """
    by_lower = {k.lower(): k for k in known}
    match = get_close_matches(name.lower(), by_lower, n=1)
    return by_lower[match[0]] if match else None


def listed(names: Collection[str], most: int = 4) -> str:
    """The first names, and dots where there are more.

    >>> listed(["a", "b", "c"], most=2)
    'a, b, ...'
    """
    return ", ".join(islice(names, most)) + ", ..." * (len(names) > most)
