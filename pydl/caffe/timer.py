"""pycaffe's Timer."""

import time


class Timer:
    """Measures time in milliseconds.

    >>> timer = Timer()
    >>> timer.start()
    >>> timer.stop()
    >>> timer.ms > 0
    True
    """

    def __init__(self) -> None:
        self._began: float | None = None
        self._ms = 0.0

    def start(self) -> None:
        """Begins; what was measured before is forgotten, unless it is running."""
        if self._began is None:
            self._began = time.perf_counter()

    def stop(self) -> None:
        if self._began is not None:
            self._ms = 1e3 * (time.perf_counter() - self._began)
            self._began = None

    @property
    def ms(self) -> float:
        """The last time measured; stops a running timer."""
        self.stop()
        return self._ms
