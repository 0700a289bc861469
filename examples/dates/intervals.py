"""Intervals of time as people write them in twelve languages, and in ISO 8601 (needs Babel)."""

import datetime
import random
import sys

import numpy as np

from pydl import sequences
from pydl.text import Characters

try:
    from babel.dates import format_date
except ImportError:
    sys.exit("names of months are missing: pip install babel")

LANGUAGES = ("en", "de", "fr", "es", "it", "nl", "pt", "sv", "da", "pl", "fi", "tr")
STYLES = ("full", "long", "medium", "d MMMM yyyy", "EEE d MMM yyyy", "MMMM d, yyyy")
FIRST, LAST = datetime.date(1900, 1, 1).toordinal(), datetime.date(2099, 12, 31).toordinal()
START, STOP = "<start>", "<stop>"


def write(first, last, style, language):
    """As people write it, and in ISO 8601."""
    days = (format_date(day, style, locale=language) for day in (first, last))
    return " \N{EN DASH} ".join(days), f"{first}/{last}"


def interval(draw, held_out):
    """Any two days in one of the languages and styles."""
    days = sorted(day(draw, held_out) for _ in range(2))
    style, language = draw.choice(STYLES), draw.choice(LANGUAGES)
    return write(*days, style, language)


def day(draw, held_out):
    """Every tenth day is held out: others do not learn of it in any language."""
    while True:
        number = draw.randint(FIRST, LAST)
        if (number % 10 == 0) == held_out:
            return datetime.date.fromordinal(number)


def pairs(count, seed, held_out=False):
    draw = random.Random(seed)
    return [interval(draw, held_out) for _ in range(count)]


class Texts:
    """The characters of both sides, and texts as what the nets read: (steps, sequences)."""

    def __init__(self, pairs):
        self.source = Characters.fit(*(text for text, _ in pairs))
        self.target = Characters.fit("0123456789-/", special=(START, STOP))
        self.start, self.stop = (self.target.vocabulary.number(token) for token in (START, STOP))
        self.longest = max(len(text) for text, _ in pairs)
        self.steps = len("2000-01-01/2000-01-02") + 1

    def read(self, texts):
        """The encoder's inputs. What stands behind a text's end does not matter."""
        lengths = [len(text) for text in texts]
        written = np.zeros((self.longest, len(texts)))
        for column, text in zip(written.T, texts, strict=True):
            column[: len(text)] = self.source.encode(text)
        return {
            "written": written,
            "goes_on": sequences.goes_on(lengths, self.longest),
            "length": np.array(lengths),
            "first": np.arange(len(texts)),
            "last": sequences.last_steps(lengths, self.longest),
        }

    def batch(self, pairs):
        """All that the net which learns reads."""
        written, intervals = zip(*pairs, strict=True)
        return self.read(written) | self.say(intervals)

    def say(self, intervals):
        """The decoder's inputs: what it said so far, after the start, and what has to come next."""
        rows = [[self.start, *self.target.encode(text), self.stop] for text in intervals]
        said = np.transpose(rows)
        cont = sequences.goes_on([self.steps] * len(intervals))
        return {"said": said[:-1], "cont": cont, "label": said[1:]}
