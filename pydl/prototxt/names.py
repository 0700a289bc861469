"""Finding the name that was meant."""

from collections.abc import Iterable
from difflib import get_close_matches


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name most like `name`, in any case of letters, or None.

    >>> nearest("num_ouput", ["num_output", "pad"])
    'num_output'
    """
    by_lower = {k.lower(): k for k in known}
    match = get_close_matches(name.lower(), by_lower, n=1)
    return by_lower[match[0]] if match else None
