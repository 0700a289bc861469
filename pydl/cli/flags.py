"""Flags in Caffe's forms, and the flags that several commands share."""

from __future__ import annotations

import argparse
import itertools
import re
import sys
from collections.abc import Iterable, Sequence
from difflib import get_close_matches

from pydl.errors import Error

_NUMBER = re.compile(r"-[\d.]")


def normalise(argv: Sequence[str]) -> list[str]:
    """Brings ``-flag value`` and ``-flag=value`` to argparse's ``--flag``; ``-`` in names to ``_``.

    One-letter flags, negative numbers and what follows ``--`` stay. So does what follows the
    program in ``run program``: the ``--`` is put there.

    >>> normalise(["train", "-solver", "s.prototxt", "--stop-on-nan=false", "-o", "-1"])
    ['train', '--solver', 's.prototxt', '--stop_on_nan=false', '-o', '-1']
    """
    if argv[:1] == ["run"] and len(argv) > 1 and not argv[1].startswith("-"):
        argv = [*argv[:2], "--", *argv[2:]]
    end = argv.index("--") if "--" in argv else len(argv)
    return [_normalise_one(token) for token in argv[:end]] + list(argv[end:])


def _normalise_one(token: str) -> str:
    if not token.startswith("-") or len(token) <= 2 or _NUMBER.match(token):
        return token
    name, equals, value = token.lstrip("-").partition("=")
    dashes = "-" if len(name) == 1 else "--"
    return f"{dashes}{name.replace('-', '_')}{equals}{value}"


def nearest_hint(name: str, known: Iterable[str]) -> str:
    """``; did you mean "train"?`` or nothing."""
    match = get_close_matches(name, list(known), 1)
    return f'; did you mean "{match[0]}"?' if match else ""


class Parser(argparse.ArgumentParser):
    """An argument parser that raises pydl.Error, with the nearest flag for an unknown one."""

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, allow_abbrev=False, **kwargs)
        self._switches: list[str] = []

    def flags(self) -> list[str]:
        """All flags in their long form, or the short one if they have no other."""
        return [action.option_strings[-1] for action in self._actions if action.option_strings]

    def error(self, message: str) -> None:
        raise Error(f"{self._command()}{message}; see {self.prog} -help")

    def print_help(self, file=None) -> None:
        """Unlike argparse's, not silent about an output that cannot be written."""
        print(self.format_help(), end="", file=file)

    def add_switch(self, name: str, help: str) -> None:
        """A flag without a value, off by default, in gflags' forms: -x, -x=false, -nox.

        Unlike other flags it never takes the next word for its value.
        """
        self._switches.append(name)
        self.add_argument(f"--{name}", action="store_true", help=help)
        self.add_argument(f"--no{name}", dest=name, action="store_false", help=argparse.SUPPRESS)

    def _plain_switch(self, token: str) -> str:
        name, equals, value = token.removeprefix("--").partition("=")
        if not equals or name not in self._switches:
            return token
        try:
            return f"--{name}" if boolean(value) else f"--no{name}"
        except argparse.ArgumentTypeError as error:
            self.error(f"argument --{name}: {error}")

    def parse_known_args(self, args=None, namespace=None):
        args = [self._plain_switch(token) for token in args or []]
        if self._subparsers is None:
            self._check_flags(args)
        namespace, extra = super().parse_known_args(args, namespace)
        if extra:
            self.error(f'unexpected argument "{extra[0]}"')
        return namespace, extra

    def _check_flags(self, args: Sequence[str]) -> None:
        """Before argparse, which would complain first of a flag that is missing for a typo."""
        for token in itertools.takewhile(lambda token: token != "--", args):
            name = token.partition("=")[0]
            is_flag = name.startswith("-") and len(name) > 1 and not _NUMBER.match(name)
            if is_flag and name not in self._option_string_actions:
                self.error(f"unknown flag {name}{nearest_hint(name, self.flags())}")

    def _command(self) -> str:
        command = self.prog.removeprefix("pydl").strip()
        return f"{command}: " if command else ""


def add_command(
    subparsers: argparse._SubParsersAction, name: str, description: str, epilog: str
) -> argparse.ArgumentParser:
    """A sub-command's parser, with its examples as they are typed."""
    return subparsers.add_parser(
        name,
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def add_net_flags(
    parser: argparse.ArgumentParser, weights: bool = True, python: bool = True
) -> None:
    """-level, -stage and, if asked for, -weights and -allow_python."""
    if weights:
        parser.add_argument(
            "--weights",
            type=split,
            default=[],
            metavar="W[,W2]",
            help="weights, loaded by layer name: .caffemodel, .caffemodel.h5 or .safetensors",
        )
    parser.add_argument("--level", type=int, default=0, help="level of the net's state (0)")
    parser.add_argument(
        "--stage", type=split, default=[], metavar="A[,B]", help="stages of the net's state"
    )
    if python:
        add_python_flag(parser)


def add_python_flag(parser: Parser) -> None:
    """-allow_python; see `allow_python`."""
    parser.add_switch(
        "allow_python", "run the code that Python layers name; the working folder is on its path"
    )


def allow_python(args: argparse.Namespace) -> bool:
    """Whether Python layers may run; if so, modules in the working folder are found."""
    if args.allow_python and "" not in sys.path:
        sys.path.insert(0, "")
    return args.allow_python


def add_phase_flag(parser: argparse.ArgumentParser, default: str) -> None:
    parser.add_argument(
        "--phase", type=phase, default=default, help=f"phase of the net, TRAIN or TEST ({default})"
    )


def add_run_flags(parser: argparse.ArgumentParser) -> None:
    """-threads, and -gpu, which this build refuses."""
    parser.add_argument(
        "--threads", type=positive, metavar="N", help="threads to use (OMP_NUM_THREADS, or all)"
    )
    parser.add_argument("--gpu", nargs="?", const="all", help=argparse.SUPPRESS)


def add_backend(parser: argparse.ArgumentParser) -> None:
    """-backend of the tools that Caffe has; see `check_backend`."""
    parser.add_argument("--backend", default="lmdb", metavar="TYPE", help="lmdb")


def check_backend(backend: str) -> None:
    """Raises Error for what is no LMDB."""
    if backend.lower() != "lmdb":
        raise Error(f'backend "{backend}": databases are written and read as lmdb')


def apply_run_flags(args: argparse.Namespace) -> None:
    """Sets the threads. Raises Error for -gpu."""
    if args.gpu is not None:
        raise Error(
            f"-gpu {args.gpu}: this build has no CUDA; leave -gpu out to run on the processor"
        )
    if args.threads is not None:
        import pydl

        pydl.set_num_threads(args.threads)


def split(text: str) -> list[str]:
    """The parts of a list with commas."""
    return [part.strip() for part in text.split(",") if part.strip()]


def positive(text: str) -> int:
    """A number of at least 1."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f'expected a whole number of at least 1, got "{text}"')
    return value


def count(text: str) -> int:
    """A number of at least 0."""
    if text.isdecimal():
        return int(text)
    raise argparse.ArgumentTypeError(f'expected a whole number of at least 0, got "{text}"')


def boolean(text: str) -> bool:
    """true or false, in the forms that gflags takes."""
    words = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    if text.lower() not in words:
        raise argparse.ArgumentTypeError(f'expected true or false, got "{text}"')
    return words[text.lower()]


def phase(text: str) -> str:
    """TRAIN or TEST."""
    if text.upper() not in ("TRAIN", "TEST"):
        raise argparse.ArgumentTypeError(f'expected TRAIN or TEST, got "{text}"')
    return text.upper()


def add_model(parser: argparse.ArgumentParser) -> None:
    """The model as -model FILE or as the first word; see `given_model`."""
    parser.add_argument("model_file", nargs="?", metavar="MODEL", help="prototxt or .safetensors")
    parser.add_argument("--model", metavar="FILE", help="the same as a flag")


def given_model(args: argparse.Namespace, command: str) -> str:
    """The model that either form gave. Raises Error for none or two."""
    given = [model for model in (args.model, args.model_file) if model]
    if len(given) != 1:
        what = "its model is missing" if not given else f"two models: {' and '.join(given)}"
        raise Error(f"{command}: {what}; see pydl {command} -help")
    return given[0]
