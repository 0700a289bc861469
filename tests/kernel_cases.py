"""The cases on which test_kernels.py checks and times every kernel.

A case is a kernel of `pydl._core.kernels` with its arguments; arrays are described (`x`, `out`,
`acc`, ...) and made anew, from a fixed seed, for every call.
"""

from __future__ import annotations

import functools
import itertools
import math
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from bf16 import from_bf16, to_bf16

from pydl import _core

kernels = _core.kernels

GUARD = 16  # elements before and after each array that nobody may write
SENTINEL = 1234.5

# Arrays


@dataclass(frozen=True)
class Array:
    """An argument: `fill(rng, shape)` gives its values."""

    shape: tuple[int, ...]
    fill: Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]
    written: bool = False
    dtype: type = np.float32
    fixed: bool = False  # float32 even where activations are bfloat16


@dataclass(frozen=True)
class Same:
    """The same memory as argument `index`."""

    index: int


@dataclass(frozen=True)
class From:
    """An input computed from the arguments before it."""

    function: Callable[..., np.ndarray]


def normal(rng, shape):
    return rng.standard_normal(shape)


def special(rng, shape):
    """Normal numbers, among them NaN, infinities, zeros of both signs and large numbers."""
    values = rng.standard_normal(shape)
    odd = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1e30, -1e30, 90.0, -90.0, 1e-6]
    where = rng.random(shape) < 0.3
    values[where] = rng.choice(odd, np.count_nonzero(where))
    return values


def positive(rng, shape):
    return rng.uniform(0.5, 2, shape)


def integers(rng, shape):
    """Few values, so that there are ties."""
    return rng.integers(-2, 3, shape)


def x(*shape, fill=normal, dtype=np.float32) -> Array:
    """An input."""
    return Array(shape, fill, dtype=dtype)


def out(*shape, dtype=np.float32) -> Array:
    """An output, NaN at first: all of it must be written, nothing of it read."""
    unset = {np.float32: np.nan, np.uint8: 249}.get(dtype, -7)
    return Array(shape, lambda rng, shape: np.full(shape, unset), True, dtype)


def acc(*shape, fill=normal, dtype=np.float32) -> Array:
    """An output that is read as well."""
    return Array(shape, fill, True, dtype)


def parameter(*shape, fill=normal) -> Array:
    """An input that is always float32: parameters and statistics."""
    return Array(shape, fill, fixed=True)


def total(*shape, fill=normal) -> Array:
    """An output that is read as well and always float32: gradients of parameters."""
    return Array(shape, fill, True, fixed=True)


def statistic(*shape) -> Array:
    """An output that is always float32."""
    return replace(out(*shape), fixed=True)


def bf16_values(rng, shape):
    """float32 that rounding to bfloat16 leaves as they are."""
    return from_bf16(to_bf16(rng.standard_normal(shape)))


def sentinel(dtype: np.dtype) -> np.generic:
    return np.array(SENTINEL % 256 if dtype == np.uint8 else SENTINEL).astype(dtype)


def guarded(values: np.ndarray, shift: int = 1) -> np.ndarray:
    """A copy in the middle of guards, `shift` elements after a multiple of 64 bytes."""
    memory = np.full(values.size + 3 * GUARD, sentinel(values.dtype), values.dtype)
    start = -(memory.ctypes.data // memory.itemsize) % GUARD + GUARD + shift
    array = memory[start : start + values.size].reshape(values.shape)
    array[...] = values
    return array


def aligned(values: np.ndarray) -> np.ndarray:
    return guarded(values, shift=0)


def guards_hold(array: np.ndarray) -> bool:
    base = array.base if array.base is not None else array
    memory = base if base.base is None else base.base
    start = (array.ctypes.data - memory.ctypes.data) // memory.itemsize
    outside = np.concatenate([memory[:start], memory[start + array.size :]])
    return bool((outside == sentinel(memory.dtype)).all())


# Cases


@dataclass(frozen=True)
class Case:
    name: str  # "eltwise.add 17"
    args: tuple  # in the kernel's order: numbers, None, Array, Same, From
    prepare: Callable[[str], Callable]  # of an implementation's name: what to call with the args
    implementations: Callable[[], list[str]] = field(default=lambda: [""])
    tolerance: float = 2e-6  # of the largest value; 0: equal
    atol: float = 0
    flops: float = 0
    half: bool = False  # activations are bfloat16

    def is_half(self, array: Array) -> bool:
        return self.half and array.dtype == np.float32 and not array.fixed

    def make(self, place: Callable[[np.ndarray], np.ndarray] = guarded) -> list:
        rng = np.random.default_rng(zlib.crc32(self.name.encode()))
        made: list[Any] = []
        for arg in self.args:
            if isinstance(arg, Array):
                values = np.asarray(arg.fill(rng, arg.shape), arg.dtype)
                made.append(place(to_bf16(values) if self.is_half(arg) else values))
            elif isinstance(arg, Same):
                made.append(made[arg.index])
            elif isinstance(arg, From):
                made.append(place(arg.function(*made)))
            else:
                made.append(arg)
        return made

    def results(self, args: list, returned: Any) -> list[np.ndarray]:
        """What a call has computed: its return value and the arrays it writes."""
        values = [] if returned is None else [np.float64(returned)]
        for arg, made in zip(self.args, args, strict=True):
            written = self.args[arg.index] if isinstance(arg, Same) else arg
            if isinstance(written, Array) and (written.written or isinstance(arg, Same)):
                values.append(made)
        return values

    @property
    def bytes(self) -> int:
        arrays = [arg for arg in self.args if isinstance(arg, Array)]
        return sum((2 if self.is_half(a) else 4) * int(np.prod(a.shape)) for a in arrays)


CASES: list[Case] = []


# Families whose kernels take float32 or bfloat16.
TYPED = (
    "eltwise", "activation", "pool", "lrn", "embed", "recurrent", "norm", "reduce.sum_middle",
    "l2_norm", "interp", "row_norm", "group_norm", "rotary", "attention",
)  # fmt: skip


def case(
    kernel: str,
    *args: Any,
    note: str = "",
    half_tolerance: float | None = None,
    **settings: Any,
) -> None:
    """Adds a case of a kernel given as "family.name", in each type that it takes."""
    family, name = kernel.split(".")
    function = getattr(getattr(kernels, family), name)
    numbers = [str(a) for a in args if isinstance(a, bool | int | float)]
    shapes = ["x".join(map(str, a.shape)) for a in args if isinstance(a, Array)]
    label = note or " ".join(numbers or shapes[:1])
    label += " in place" if any(isinstance(a, Same) for a in args) else ""
    arrays = [a for a in args if isinstance(a, Array) and a.dtype == np.float32]
    typed = {family, kernel} & set(TYPED) and not all(a.fixed for a in arrays)
    for half in (False, True) if typed else (False,):
        full = f"{kernel} {label}{' bf16' if half else ''}"
        if half and half_tolerance is not None:
            settings["tolerance"] = half_tolerance
        CASES.append(Case(full, args, lambda _, f=function: f, half=half, **settings))


def both_places(kernel: str, *args: Any, **settings: Any) -> None:
    """The case with its last argument an output of its own, and in place of its first array."""
    case(kernel, *args, **settings)
    first = next(i for i, arg in enumerate(args) if isinstance(arg, Array))
    case(kernel, *args[:-1], Same(first), **settings)


# Around the widths of vectors (4, 8, 16) and unrolled loops, and large enough for threads.
LENGTHS = (0, 1, 7, 16, 17, 33, 255, 1000, 300_007)
# (outer, channels, inner)
BLOCKS = (
    (0, 3, 4), (1, 1, 1), (2, 3, 5), (3, 17, 1), (1, 1, 1000), (2, 64, 49), (5, 16, 8),
    (100, 33, 1), (7, 1, 9), (4, 96, 729), (5000, 20, 1), (2, 3, 40_009), (600, 130, 1),
)  # fmt: skip


def eltwise() -> None:
    for n in LENGTHS:
        case("eltwise.fill", n, 0.5, out(n), tolerance=0)
        both_places("eltwise.scale", n, -1.5, x(n), out(n))
        case("eltwise.axpby", n, 0.5, x(n), 2.0, acc(n))
        case("eltwise.axpby", n, 0.5, x(n), 0.0, out(n))  # y is not read
        for name in ("add", "add_relu", "mul"):
            both_places(f"eltwise.{name}", n, x(n), x(n), out(n), tolerance=0)
        case("eltwise.add", n, x(n), x(n), Same(2), note=f"{n} second", tolerance=0)
        both_places("eltwise.div", n, x(n), x(n, fill=positive), out(n))
        case("eltwise.max2", n, x(n, fill=integers), x(n, fill=integers), 3, 4, out(n),
             out(n, dtype=np.int32), tolerance=0)  # fmt: skip
        case("eltwise.max_with", n, x(n, fill=integers), 5, acc(n, fill=integers),
             acc(n, fill=integers, dtype=np.int32), tolerance=0)  # fmt: skip
        case("eltwise.select", n, x(n), x(n, fill=integers, dtype=np.int32), 1, out(n), tolerance=0)
        for name in ("sum", "asum", "sumsq"):
            case(f"eltwise.{name}", n, x(n), tolerance=0, atol=2e-7 * n)
        case("eltwise.dot", n, x(n), x(n), tolerance=0, atol=2e-7 * n)
    for name in ("add", "add_relu", "mul", "div"):
        case(f"eltwise.{name}", 999, x(999, fill=special), x(999, fill=special), out(999),
             note="special", tolerance=1e-6)  # fmt: skip
    case("eltwise.scale", 999, -2.0, x(999, fill=special), out(999), note="special")
    case("eltwise.max2", 999, x(999, fill=special), x(999, fill=special), 0, 1, out(999),
         out(999, dtype=np.int32), note="special", tolerance=0)  # fmt: skip
    case("eltwise.max_with", 999, x(999, fill=special), 2, acc(999, fill=special),
         acc(999, fill=integers, dtype=np.int32), note="special", tolerance=0)  # fmt: skip


def affine() -> None:
    for outer, channels, inner in BLOCKS:
        size, shape = (outer, channels, inner), f"{outer} {channels} {inner}"
        for scale, bias in itertools.product((parameter(channels), None), repeat=2):
            note = f"{shape} {'scale ' if scale else ''}{'bias' if bias else ''}".strip()
            both_places("eltwise.affine_forward", *size, x(*size), scale, bias, out(*size),
                        note=note)  # fmt: skip
        both_places("eltwise.multiply_add", *size, x(*size), parameter(channels), x(*size),
                    out(*size))  # fmt: skip
        case("eltwise.multiply_add", *size, x(*size), parameter(channels), x(*size), Same(5),
             note=f"{shape} second")  # fmt: skip
        atol = 2e-7 * outer * inner + 1e-6
        for dscale, dbias in ((1, 1), (1, 0), (0, 1)):
            case("eltwise.affine_backward_params", *size, x(*size) if dscale else None, x(*size),
                 total(channels) if dscale else None, total(channels) if dbias else None,
                 note=f"{shape} {'scale ' * dscale}{'bias' * dbias}".strip(),
                 atol=atol)  # fmt: skip


def every_bf16(rng, shape):
    """All bfloat16, NaN and infinities among them, and what lies between two of them; 0 in the
    place of denormals, which kernels may flush."""
    bits = rng.permutation(2**16).astype(np.uint32) << 16
    bits += rng.choice(np.uint32([0, 1, 0x7FFF, 0x8000, 0x8001]), 2**16)
    bits[bits & 0x7F800000 == 0] = 0
    return bits.view(np.float32)


def conversion() -> None:
    function = kernels.eltwise.convert
    for n in (*LENGTHS, 2**16):
        a, bits = x(n, fill=every_bf16 if n == 2**16 else special), x(n, dtype=np.uint16)
        if n == 2**16:
            bits = replace(bits, fill=lambda rng, shape: rng.permutation(2**16))
        for note, args in (
            ("to bf16", (n, a, out(n, dtype=np.uint16))), ("from bf16", (n, bits, out(n))),
            ("float32", (n, a, out(n))),
        ):  # fmt: skip
            CASES.append(Case(f"eltwise.convert {n} {note}", args, lambda _: function, tolerance=0))


def movement() -> None:
    for rows, row, x_stride, y_stride in (
        (0, 5, 5, 5), (3, 0, 4, 4), (1, 7, 7, 9), (5, 3, 8, 3), (17, 33, 33, 40), (64, 16, 48, 16),
        (3, 50_000, 50_001, 50_003), (20_000, 6, 9, 6), (9, 1, 3, 2), (7, 2, 5, 4), (6, 4, 4, 9),
        (20_000, 3, 3, 7),
    ):  # fmt: skip
        # Between the rows of y nothing may be written.
        case("eltwise.copy_rows", rows, row, x(rows, x_stride), x_stride,
             acc(rows, y_stride), y_stride, tolerance=0)  # fmt: skip
    for n, c, s in (
        (0, 3, 4), (1, 1, 1), (2, 3, 5), (2, 4, 16), (1, 2, 33), (3, 17, 31), (2, 64, 49),
        (1, 3, 50_176), (8, 1, 9), (2, 5, 1), (1, 256, 196), (3, 10, 10_007), (2, 1000, 3),
        (1, 16, 16), (4, 15, 17),
    ):  # fmt: skip
        case("eltwise.to_channels_last", n, c, s, x(n, c, s), out(n, s, c), tolerance=0)
        case("eltwise.to_plain", n, c, s, x(n, s, c), out(n, c, s), tolerance=0)


def l2_norm() -> None:
    for rows, positions, channels in (
        (0, 1, 3), (1, 1, 1), (5, 1, 7), (3, 4, 16), (700, 1, 33), (2, 1000, 21), (70, 1, 512),
        (1, 3, 1030), (40_009, 1, 3), (2, 40_009, 1),
    ):  # fmt: skip
        shape = kernels.l2_norm.L2NormShape(rows=rows, positions=positions, channels=channels)
        size, note = (rows, positions, channels), f"{rows} {positions} {channels}"
        scale = parameter(channels)
        for eps in (1e-10, 0.5):
            both_places("l2_norm.forward", shape, x(*size), eps, scale, 1.5, statistic(rows),
                        out(*size), note=f"{note} {eps}")  # fmt: skip
        lengths = parameter(rows, fill=positive)
        atol = 2e-7 * rows * positions + 1e-6
        for dx, dscale in (
            (out(*size), total(channels)), (Same(5), total(channels)), (out(*size), None),
            (None, total(channels)),
        ):  # fmt: skip
            words = f"{note} {'dx ' if dx else ''}{'dscale' if dscale else ''}".strip()
            case("l2_norm.backward", shape, x(*size), scale, -0.7, lengths, x(*size), dx, dscale,
                 note=words, tolerance=1e-5, atol=atol)  # fmt: skip


def interp() -> None:
    # (n, channels, of each axis (size, begin, in, out))
    for n, channels, h, w in (
        (1, 1, (1, 0, 1, 1), (1, 0, 1, 1)),
        (2, 3, (4, 0, 4, 7), (5, 0, 5, 9)),
        (1, 17, (9, 0, 9, 4), (8, 0, 8, 3)),  # smaller
        (2, 21, (8, 2, 5, 11), (9, 1, 6, 13)),  # of a part
        (1, 33, (1, 0, 1, 6), (1, 0, 1, 5)),
        (3, 16, (6, 0, 6, 1), (5, 0, 5, 1)),
        (1, 5, (40, 0, 40, 3), (3, 0, 3, 40)),
        (1, 2, (3, 0, 3, 300), (4, 1, 2, 400)),
        (2, 64, (20, 0, 20, 39), (20, 0, 20, 39)),
        (1, 21, (33, 0, 33, 257), (33, 0, 33, 257)),
        (1, 8, (7, 0, 7, 7), (6, 0, 6, 6)),
    ):
        shape = kernels.interp.InterpShape(n, channels, h, w)
        note = f"{n} {channels} {h} {w}"
        image, result = (n, h[0], w[0], channels), (n, h[3], w[3], channels)
        case("interp.forward", shape, x(*image), out(*result), note=note, tolerance=1e-5)
        case("interp.backward", shape, x(*result), out(*image), note=note, tolerance=1e-5)


ROWS = ((0, 5), (1, 1), (3, 1), (1000, 1), (2, 7), (5, 33), (3, 5000))


def activation() -> None:
    for n, fill in [*((n, normal) for n in LENGTHS), (999, special)]:
        note = {"note": "special"} if fill is special else {}
        exact = {"tolerance": 0} | note
        a, dy = x(n, fill=fill), x(n)
        for slope in (0.0, 0.1, -0.5):
            exact_note = {"tolerance": 0, "note": f"{note.get('note', n)} {slope}"}
            both_places("activation.relu_forward", n, a, slope, out(n), **exact_note)
            case("activation.relu_backward", n, a, dy, slope, out(n), **exact_note)
            case("activation.relu_backward", n, a, dy, slope, Same(2), **exact_note)
        both_places("activation.sigmoid_forward", n, a, out(n), **note)
        both_places("activation.tanh_forward", n, a, out(n), **note)
        elementwise(n, fill, note)
        for alpha in (1.0, 0.3):
            both_places("activation.elu_forward", n, a, alpha, out(n),
                        note=f"{note.get('note', n)} {alpha}")  # fmt: skip
        if fill is normal:
            unit = x(n, fill=lambda rng, shape: rng.random(shape))
            for name in ("sigmoid_backward", "tanh_backward"):
                case(f"activation.{name}", n, unit, dy, out(n))
                case(f"activation.{name}", n, unit, dy, Same(2))
            case("activation.elu_backward", n, a, x(n), dy, 0.3, out(n))
            case("activation.elu_backward", n, a, Same(1), dy, 0.3, Same(3))
            for ratio in (0.0, 0.5, 0.9):
                both_places("activation.dropout", n, a, ratio, 1.25, 7, 2**40 + 3, out(n), **exact)
    for rows, n, fill in (*((*size, normal) for size in ROWS), (70, 9, special)):
        halves, dy = x(rows, 2, n, fill=fill), x(rows, n)
        case("activation.glu_forward", rows, n, halves, out(rows, n))
        if fill is normal:  # else in tests/test_activation_units.py: gates are 0 or 1 in float only
            case("activation.glu_backward", rows, n, halves, dy, out(rows, 2, n))
            case("activation.glu_backward", rows, n, halves, dy, Same(2))
        for pieces, values in itertools.product((1, 2, 3, 4), (fill, integers)):
            line = {"note": f"{rows} {pieces} {n} {values.__name__}", "tolerance": 0}
            a = x(rows, pieces, n, fill=values)
            case("activation.maxout_forward", rows, pieces, n, a, out(rows, n), **line)
            case("activation.maxout_backward", rows, pieces, n, a, dy, out(rows, pieces, n), **line)
            case("activation.maxout_backward", rows, pieces, n, a, dy, Same(3), **line)
    for outer, channels, inner in BLOCKS:
        size = (outer, channels, inner)
        a, slope, dy = x(*size), parameter(channels), x(*size)
        both_places("activation.prelu_forward", *size, a, slope, out(*size))
        for dx, dslope in (
            (out(*size), total(channels)),
            (out(*size), None),
            (None, total(channels)),
        ):
            note = f"{outer} {channels} {inner} {'dx ' if dx else ''}{'dslope' if dslope else ''}"
            case("activation.prelu_backward", *size, a, slope, dy, dx, dslope, note=note.strip(),
                 atol=2e-7 * outer * inner + 1e-6)  # fmt: skip


def elementwise(n: int, fill: Callable, note: dict[str, str]) -> None:
    """The activations that only have cases of their length, and of odd numbers."""
    a, dy, label = x(n, fill=fill), x(n), note.get("note", n)
    exact = {"tolerance": 0} | note

    def backward(kernel: str, first: Array, *numbers: float, **settings: Any) -> None:
        case(f"activation.{kernel}", n, first, dy, *numbers, out(n), **settings)
        case(f"activation.{kernel}", n, first, dy, *numbers, Same(2), **settings)

    both_places("activation.abs_forward", n, a, out(n), **exact)
    backward("abs_backward", a, **exact)
    both_places("activation.bnll_forward", n, a, out(n), **note)
    backward("bnll_backward", a, **note)
    both_places("activation.clip_forward", n, a, -0.5, 0.7, out(n), **exact)
    backward("clip_backward", a, -0.5, 0.7, **exact)
    both_places("activation.exp_forward", n, a, -0.7, 1.35, out(n), tolerance=1e-5, **note)
    backward("exp_backward", a, -0.7, **note)
    both_places("activation.threshold", n, a, 0.25, out(n), **exact)
    for beta, threshold in ((1.0, 20.0), (3.0, 1.5)):
        line = f"{label} {beta} {threshold}"
        both_places("activation.softplus_forward", n, a, beta, threshold, out(n), note=line)
        backward("softplus_backward", a, beta, threshold, note=line)
    both_places("activation.selu_forward", n, a, out(n), **note)
    backward("selu_backward", a, **note)
    for slope in (0.0, 0.25):
        line = f"{label} {slope}"
        wide = replace(a, fill=lambda rng, shape: 5 * fill(rng, shape))
        both_places("activation.relu6_forward", n, wide, slope, out(n), note=line, tolerance=0)
        backward("relu6_backward", wide, slope, note=line, tolerance=0)
    for kernel in ("hard_swish", "mish"):
        wide = replace(a, fill=lambda rng, shape: 3 * fill(rng, shape))
        both_places(f"activation.{kernel}_forward", n, wide, out(n), tolerance=1e-5, **note)
        backward(f"{kernel}_backward", wide, tolerance=1e-5, atol=1e-6, **note)
    for tanh in (False, True):
        wide = replace(a, fill=lambda rng, shape: 3 * fill(rng, shape))
        line = f"{label} {tanh}"
        both_places("activation.gelu_forward", n, wide, tanh, out(n), note=line, tolerance=5e-6)
        backward("gelu_backward", wide, tanh, note=line, tolerance=5e-6, atol=2e-6)
    for beta in (1.0, 1.7):
        both_places("activation.swish_forward", n, a, beta, out(n), note=f"{label} {beta}")
        backward("swish_backward", a, beta, note=f"{label} {beta}")
    if fill is special:
        logs, powers = ((1.0, 0.0, 1.0),), ((1.0, 0.0, p) for p in (3.0, 0.5, -2.0, 1.0, 2.0))
    else:
        a = x(n, fill=positive)
        logs, powers = ((2.0, 0.5, -0.7),), ((2.0, 0.5, p) for p in (0.37, -0.75, 5.0, 1.0, 2.0))
    for line in logs:
        both_places("activation.log_forward", n, a, *line, out(n), note=f"{label} {line}")
        backward("log_backward", a, *line, note=f"{label} {line}")
    for line in powers:
        both_places("activation.power_forward", n, a, *line, out(n), note=f"{label} {line}")
        backward("power_backward", a, *line, 0.3, note=f"{label} {line}")


def cost_volume() -> None:
    make = kernels.cost_volume.CostVolumeShape
    # n, c, h, w, kernel, max_displacement, pad, stride1, stride2
    for numbers in (
        (1, 1, 3, 3, 1, 1, 1, 1, 1), (2, 5, 6, 7, 1, 2, 2, 1, 1), (1, 17, 9, 8, 3, 2, 3, 1, 1),
        (1, 33, 8, 9, 1, 4, 4, 1, 2), (2, 64, 7, 7, 1, 2, 0, 1, 1), (1, 40, 9, 10, 3, 3, 4, 2, 3),
        (1, 100, 6, 5, 1, 0, 0, 2, 1), (1, 130, 12, 11, 1, 5, 5, 1, 1),
    ):  # fmt: skip
        n, c, h, w, kernel, most, pad, stride, _ = numbers
        border = most + kernel // 2
        out_h, out_w = (-(-(size + 2 * pad - 2 * border) // stride) for size in (h, w))
        side = 2 * (most // numbers[-1]) + 1
        for subtract in (False, True):
            shape = make(n=n, c=c, h=h, w=w, out_h=out_h, out_w=out_w, kernel=kernel,
                         max_displacement=most, pad=pad, stride1=stride, stride2=numbers[-1],
                         subtract=subtract)  # fmt: skip
            note = f"{' '.join(map(str, numbers))}{' subtract' if subtract else ''}"
            volume, images = (n, out_h, out_w, side * side), (x(n, h, w, c), x(n, h, w, c))
            case("cost_volume.forward", shape, *images, out(*volume), note=note)
            for name in ("backward_a", "backward_b"):
                case(f"cost_volume.{name}", shape, *images, x(*volume), out(n, h, w, c), note=note,
                     tolerance=4e-6)  # fmt: skip


def masked() -> None:
    """Dropout of channels (plain and channels-last), of whole sequences, and of odd axes."""
    for sizes, strides in (
        ((1, 1), (1, 0)), ((6, 35), (1, 0)), ((3, 35, 4), (4, 0, 1)), ((5, 33), (0, 1)),
        ((40, 1000), (1, 0)), ((3, 5, 7, 2), (7, 0, 1, 0)), ((77,), (1,)),
        ((2, 300, 17), (17, 0, 1)),
    ):  # fmt: skip
        shape = kernels.activation.MaskShape(sizes=list(sizes), strides=list(strides))
        drawn = 1 + sum((n - 1) * step for n, step in zip(sizes, strides, strict=True))
        mask = parameter(drawn, fill=lambda rng, shape: 2 * rng.integers(0, 2, shape))
        for fill, kind in ((normal, ""), (special, " special")):
            both_places("activation.masked", shape, x(*sizes, fill=fill), mask, out(*sizes),
                        note=f"{sizes} {strides}{kind}", tolerance=0)  # fmt: skip


def im2col() -> None:
    # (planes, of each axis (in, kernel, stride, pad, dilation))
    for planes, *axes in (
        (3, (9, 2, 1, 0, 1)),
        (1, (1, 1, 1, 0, 1), (1, 1, 1, 0, 1)),
        (4, (5, 2, 1, 1, 1), (7, 3, 2, 0, 1)),
        (2, (8, 3, 1, 1, 2), (7, 3, 1, 1, 2)),
        (0, (4, 2, 1, 0, 1), (4, 2, 1, 0, 1)),
        (2, (3, 3, 2, 5, 1), (2, 2, 3, 4, 2)),  # windows wholly in the padding
        (2, (4, 2, 1, 0, 1), (4, 2, 2, 1, 1), (5, 3, 1, 1, 2)),
        (1, (3, 2, 1, 0, 1), (4, 1, 2, 1, 1), (3, 2, 1, 1, 1), (4, 3, 3, 2, 1)),
        (40, (30, 3, 1, 1, 1), (33, 3, 1, 1, 1)),
    ):
        counts = [(i + 2 * p - d * (k - 1) - 1) // s + 1 for i, k, s, p, d in axes]
        full = [(a[0], count, *a[1:]) for a, count in zip(axes, counts, strict=True)]
        shape = kernels.im2col.Im2colShape(planes=planes, axes=full)
        image = planes * int(np.prod([a[0] for a in axes]))
        columns = planes * int(np.prod([a[1] for a in axes]) * np.prod(counts))
        note = f"{planes} of {' '.join('-'.join(map(str, a)) for a in axes)}"
        case("im2col.im2col", shape, x(image), out(columns), note=note, tolerance=0)
        case("im2col.col2im", shape, x(columns), out(image), note=note)


def window(size: int, kernel: int, stride: int, pad: int) -> int:
    """Caffe's output size: rounded up, and no window starts in the padding after the end."""
    count = -(-(size + 2 * pad - kernel) // stride) + 1
    return count - 1 if pad and (count - 1) * stride >= size + pad else count


# (n, c, in, kernel, stride, pad, what it is)
POOLS = (
    (0, 3, (5, 5), 2, 2, 0, "empty"),
    (1, 1, (1, 1), 1, 1, 0, "one"),
    (2, 3, (8, 8), 2, 2, 0, "k2s2"),
    (2, 20, (24, 24), 2, 2, 0, "lenet"),
    (2, 17, (13, 11), 3, 2, 0, "k3s2"),
    (2, 5, (13, 11), 3, 2, 1, "k3s2p1"),
    (1, 33, (9, 7), 3, 1, 1, "k3s1p1"),
    (3, 4, (7, 10), (3, 2), (2, 3), (1, 0), "rectangular"),
    (2, 7, (6, 9), (6, 9), 1, 0, "global"),
    (2, 35, (17, 15), (17, 15), 1, 0, "global, 255 positions"),
    (2, 35, (16, 17), (16, 17), 1, 0, "global, 272 positions"),
    (1, 18, (30, 25), (19, 20), 7, (9, 3), "large windows"),
    (1, 8, (5, 5), 5, 3, 2, "clipped"),
    (1, 3, (9, 9), 2, 3, 1, "stride > kernel"),
    (2, 96, (55, 55), 3, 2, 0, "alexnet"),
    (3, 19, (23,), 3, 2, 1, "1-D"),
    (2, 64, (40,), 2, 2, 0, "1-D k2s2"),
    (2, 17, (5, 7, 6), 2, 2, 0, "3-D k2s2"),
    (1, 40, (6, 5, 7), 3, (2, 1, 2), 1, "3-D k3p1"),
    (2, 5, (7, 8, 9), (7, 3, 8), (1, 2, 3), (0, 1, 2), "3-D uneven"),
    (1, 3, (5, 4, 5), 1, (3, 2, 3), 0, "3-D stride > kernel"),
    (1, 70, (7, 7, 6), (7, 7, 6), 1, 0, "3-D global"),
)


def pool() -> None:
    for n, c, in_, kernel, stride, pad, note in POOLS:
        axes = len(in_)
        per_axis = [(v,) * axes if isinstance(v, int) else v for v in (kernel, stride, pad)]
        sides = [*zip(in_, *per_axis, strict=True)]
        counts = [window(*side) for side in sides]
        ones = [(1, 1, 1, 1, 0)] * (3 - axes)
        full = ones + [(s[0], o, *s[1:]) for s, o in zip(sides, counts, strict=True)]
        image, pooled = n * c * int(np.prod(in_)), n * c * int(np.prod(counts))
        for channels_last in (False, True):
            shape = kernels.pool.PoolShape(n, c, *full, channels_last=channels_last)
            label = f"{note} {'channels-last' if channels_last else 'plain'}"
            a, y = x(image), out(pooled)
            mask = out(pooled, dtype=np.uint8 if shape.mask_is_small else np.int32)
            for fill in (normal, integers, special):
                case("pool.max_forward", shape, replace(a, fill=fill), y, mask,
                     note=f"{label} {fill.__name__}", tolerance=0)  # fmt: skip
            case("pool.max_forward", shape, a, y, None, note=f"{label} no mask", tolerance=0)
            case("pool.max_backward", shape, x(pooled),
                 From(functools.partial(_pool_mask, image)), out(image), note=label)  # fmt: skip
            case("pool.ave_forward", shape, a, y, note=label)
            case("pool.ave_backward", shape, x(pooled), out(image), note=label)
            if np.any(pad):
                inside = kernels.pool.PoolShape(
                    n, c, *full, channels_last=channels_last, padding_counts=False
                )
                label += " inside"
                case("pool.ave_forward", inside, a, y, note=label)
                case("pool.ave_backward", inside, x(pooled), out(image), note=label)
            elif channels_last:
                stochastic_pool(shape, image, pooled, mask, note)


def stochastic_pool(shape: Any, image: int, pooled: int, mask: Array, note: str) -> None:
    """The sums of counts are exact, so that the choice is."""

    def counts(rng, shape):
        return rng.integers(0, 4, shape)

    def chances(rng, shape):
        return rng.integers(0, 2**24, shape) * 2.0**-24

    case("pool.sample_forward", shape, parameter(image, fill=counts),
         parameter(pooled, fill=chances), statistic(pooled), mask, note=note,
         tolerance=0)  # fmt: skip
    for fill in (counts, integers):
        a, name = parameter(image, fill=fill), f"{note} {fill.__name__}"
        case("pool.expect_forward", shape, a, statistic(pooled), note=name)
        case("pool.expect_backward", shape, a, parameter(pooled), parameter(pooled),
             statistic(image), note=name, tolerance=5e-6)  # fmt: skip


def with_reference(function: Callable, *args: Any) -> Any:
    """Calls a kernel as the reference has it."""
    isa = kernels.isa()
    kernels.set_isa("ref")
    try:
        return function(*args)
    finally:
        kernels.set_isa(isa)


def _pool_mask(count: int, shape: Any, dy: np.ndarray) -> np.ndarray:
    rng = np.random.default_rng(count)
    mask = np.empty(dy.size, np.uint8 if shape.mask_is_small else np.int32)
    values = rng.standard_normal(count).astype(np.float32)
    y = np.empty(dy.size, np.float32)
    with_reference(kernels.pool.max_forward, shape, values, y, mask)
    return mask


def lrn() -> None:
    def add(name: str, note: str, count: int, **fields: Any) -> None:
        fields = {"inner": 1, "h": 1, "w": 1, "channels_last": False} | fields
        shape = kernels.lrn.LrnShape(**fields)
        case(f"lrn.{name}_forward", shape, x(count), out(count), note=note, tolerance=5e-6)
        case(f"lrn.{name}_backward", shape, x(count), x(count), out(count), note=note,
             tolerance=5e-6)  # fmt: skip

    for outer, channels, inner in BLOCKS:
        for size, alpha, beta, k in ((5, 1e-4, 0.75, 1.0), (3, 0.5, 0.75, 2.0), (7, 0.3, 0.6, 1.5),
                                     (1, 1.0, 0.5, 1.0), (3, 1.0, 1.0, 1.0)):  # fmt: skip
            if size != 5 and outer * channels * inner > 20_000:
                continue
            add("across", f"{outer} {channels} {inner} size {size} beta {beta}",
                outer * channels * inner, outer=outer, channels=channels, inner=inner, size=size,
                alpha=alpha, beta=beta, k=k)  # fmt: skip
    for outer, channels, h, w in ((0, 2, 3, 3), (1, 1, 1, 1), (2, 3, 5, 4), (1, 17, 8, 7),
                                  (2, 32, 31, 33)):  # fmt: skip
        for channels_last, size in itertools.product((False, True), (1, 3, 5)):
            layout = "channels-last" if channels_last else "plain"
            add("within", f"{outer} {channels} {h} {w} size {size} {layout}",
                outer * channels * h * w, outer=outer, channels=channels, h=h, w=w,
                channels_last=channels_last, size=size, alpha=0.8, beta=0.75, k=1.0)  # fmt: skip


def softmax() -> None:
    def logits(rng, shape):
        return rng.standard_normal(shape) * rng.choice([1, 30, 1000], shape)

    def with_infinity(rng, shape):
        values = rng.standard_normal(shape)
        values[rng.random(shape) < 0.3] = -np.inf
        return values

    def probabilities(rng, shape):
        values = rng.random(shape) ** 4
        values[rng.random(shape) < 0.1] = 0
        return values

    for outer, classes, inner in (
        (0, 4, 3), (1, 1, 1), (3, 10, 1), (5, 1000, 1), (2, 3, 49), (4, 7, 5), (64, 10, 1),
        (2, 21, 5000), (3000, 17, 1), (7, 16, 16),
    ):  # fmt: skip
        shape = kernels.softmax.SoftmaxShape(outer=outer, classes=classes, inner=inner)
        size, note = (outer, classes, inner), f"{outer} {classes} {inner}"
        for fill in (normal, logits, with_infinity):
            both_places("softmax.forward", shape, x(*size, fill=fill), out(*size),
                        note=f"{note} {fill.__name__}")  # fmt: skip
        y = x(*size, fill=lambda rng, shape: rng.random(shape))
        case("softmax.backward", shape, y, x(*size), out(*size), note=note, tolerance=5e-6)
        case("softmax.backward", shape, y, x(*size), Same(2), note=note, tolerance=5e-6)

        def label(rng, shape, classes=classes):
            return rng.integers(0, classes, shape)

        p, labels = x(*size, fill=probabilities), x(outer, inner, fill=label)
        for ignore in (False, True):
            text = f"{note}{' ignore' if ignore else ''}"
            for least in (1.2e-38, 0.01):
                case("softmax.loss", shape, p, labels, ignore, 0, least, out(1, dtype=np.int64),
                     note=f"{text} {least}")  # fmt: skip
            for given, each, smoothing in itertools.product(
                (True, False), (True, False), (0.0, 0.1, 1.0)
            ):
                of_class = x(classes, fill=positive) if given else None
                of_position = x(outer, inner, fill=integers) if each else None
                words = f"{text} {'weights ' * given}{'positions ' * each}{smoothing}"
                case("softmax.smoothed_loss", shape, p, labels, ignore, 0, of_class, of_position,
                     smoothing, 1e-5, out(1, dtype=np.int64), note=words,
                     atol=1e-6 * outer * inner)  # fmt: skip
                case("softmax.smoothed_loss_backward", shape, p, labels, ignore, 0, of_class,
                     of_position, smoothing, 0.25, out(*size), note=words)  # fmt: skip
            weights, sums = x(classes, classes), x(classes)
            case("softmax.infogain", shape, p, labels, ignore, 0, weights, 1e-20,
                 out(1, dtype=np.int64), note=text, atol=1e-5 * outer * inner)  # fmt: skip
            case("softmax.infogain_backward", shape, p, labels, ignore, 0, weights, sums, 0.25,
                 out(*size), note=text)  # fmt: skip
            case("softmax.loss_backward", shape, p, labels, ignore, 0, 0.25, out(*size),
                 note=text)  # fmt: skip
            if not ignore:
                soft = x(*size, fill=lambda rng, shape: rng.random(shape))
                for smoothing in (0.0, 0.1):
                    case("softmax.soft_loss", shape, p, soft, smoothing, 1e-5,
                         note=f"{text} {smoothing}", atol=1e-6 * outer * inner)  # fmt: skip
                    case("softmax.soft_loss_backward", shape, p, soft, smoothing, 0.25,
                         out(*size), note=f"{text} {smoothing}", tolerance=5e-6)  # fmt: skip
            case("softmax.pick", shape, p, labels, ignore, 0, out(outer, inner), note=text,
                 tolerance=0)  # fmt: skip
            case("softmax.weighted_backward", shape, p, labels, ignore, 0, x(outer, inner), 0.25,
                 out(*size), note=text)  # fmt: skip


def stochastic() -> None:
    stream = (7, 2**40 + 3)
    for n in LENGTHS:
        unit = x(n, fill=lambda rng, shape: rng.random(shape))
        case("stochastic.uniform", n, *stream, out(n), note=str(n), tolerance=0)
        case("stochastic.bernoulli", n, unit, *stream, out(n), note=str(n), tolerance=0)
        case("stochastic.sigmoid_bernoulli", n, x(n), *stream, out(n), out(n), note=str(n))
        case("stochastic.sigmoid_bernoulli", n, x(n), *stream, Same(1), out(n), note=str(n))
        case("stochastic.add_gaussian", n, x(n), 0.5, *stream, out(n), note=str(n))
        case("stochastic.add_gaussian", n, x(n), 1.0, *stream, Same(1), note=str(n))
        for ratio in (0.0, 0.3, 1.0):
            both_places("stochastic.corrupt", n, x(n), ratio, -1.0, 2.0, *stream, out(n),
                        note=f"{n} {ratio:g}", tolerance=0)  # fmt: skip
        case("stochastic.gaussian_sample", n, x(n), x(n), *stream, out(n), out(n), note=str(n))
        case("stochastic.gaussian_kl", n, x(n), x(n), note=str(n))
        case("stochastic.gaussian_kl_backward", n, x(n), 0.3, out(n), note=str(n))


def negative_sampling() -> None:
    for n, words in ((0, 1), (1, 1), (5, 3), (17, 40), (3000, 1000), (20_001, 7)):
        keep = x(words, fill=lambda rng, shape: rng.random(shape))
        alias = x(words, dtype=np.int32,
                  fill=lambda rng, shape, words=words: rng.integers(0, words, shape))  # fmt: skip
        case("negative_sampling.draw", n, words, keep, alias, 7, 2**40 + 3, out(n, dtype=np.int32),
             note=f"{n} {words}", tolerance=0)  # fmt: skip
    for rows, samples, size, words in (
        (0, 3, 4, 2), (1, 1, 1, 1), (3, 2, 5, 4), (7, 6, 33, 9), (40, 26, 100, 50),
        (700, 6, 64, 2000),
    ):  # fmt: skip
        shape = kernels.negative_sampling.SampledShape(rows=rows, samples=samples, size=size)
        ids = x(rows, samples, dtype=np.int32,
                fill=lambda rng, shape, words=words: rng.integers(-1, words, shape))  # fmt: skip
        inputs, table = x(rows, size, fill=positive), x(words, size)
        note = f"{rows} {samples} {size} {words}"
        for bias, offset in itertools.product((x(words), None), repeat=2):
            words_of = f"{note} {'bias ' * bool(bias)}{'offset' * bool(offset)}"
            case("negative_sampling.forward", shape, inputs, table, bias, offset, ids,
                 out(rows, samples), note=words_of, tolerance=1e-5)  # fmt: skip
        wrong = x(rows, samples, fill=lambda rng, shape: rng.random(shape))
        case("negative_sampling.backward_x", shape, table, ids, wrong, 0.25, out(rows, size),
             note=note)  # fmt: skip
        of_w, of_b = acc(words, size), acc(words)
        for dw, db in ((of_w, of_b), (of_w, None), (None, of_b)):
            given = f"{note} {'dw ' * bool(dw)}{'db' * bool(db)}"
            case("negative_sampling.backward_w", shape, inputs, ids, wrong, 0.25, dw, db,
                 note=given, tolerance=1e-5)  # fmt: skip


def loss() -> None:
    for rows, dim in (
        (0, 3), (1, 1), (3, 1), (1, 1000), (5, 4), (64, 2), (7, 17), (33, 10), (3, 4096),
        (2, 5000), (1000, 33), (1, 300_007),
    ):  # fmt: skip
        size, n = (rows, dim), rows * dim
        a, factor = x(rows, dim), x(rows)
        case("loss.squared_distances", *size, a, a, out(rows, dtype=np.float64))
        case("loss.scaled_differences", *size, factor, a, a, out(rows, dim))

        def label(rng, shape, dim=dim):
            return rng.integers(0, dim, shape)

        for squared, fill in itertools.product((False, True), (normal, special, integers)):
            scores, labels = x(rows, dim, fill=fill), x(rows, fill=label)
            note = f"{rows} {dim} {'L2' if squared else 'L1'} {fill.__name__}"
            if fill is normal:
                case("loss.hinge", *size, scores, labels, squared, note=note, atol=2e-7 * n)
            case("loss.hinge_backward", *size, scores, labels, squared, 0.3, out(rows, dim),
                 note=note)  # fmt: skip
    for n in LENGTHS:
        targets = x(n, fill=lambda rng, shape: rng.choice([-1, 0, 0.3, 1], shape))
        scores = x(n, fill=lambda rng, shape: rng.standard_normal(shape) * 10)
        for ignore in (False, True):
            case("loss.sigmoid", n, scores, targets, ignore, -1, out(1, dtype=np.int64),
                 atol=1e-6 * n)  # fmt: skip
            case("loss.sigmoid_backward", n, scores, targets, ignore, -1, 0.3, out(n))
    case("loss.sigmoid_backward", 999, x(999, fill=special), x(999), False, 0, 0.3, out(999),
         note="special")  # fmt: skip
    for n, sigma in itertools.product(LENGTHS, (1.0, 3.0)):
        a = x(n, fill=integers) if sigma == 1 else x(n)
        for inner, outer in itertools.product((x(n), None), repeat=2):
            note = f"{n} {sigma:g} {'inner ' if inner else ''}{'outer' if outer else ''}".strip()
            case("loss.smooth_l1", n, a, a, inner, outer, sigma, note=note, atol=1e-6 * n)
            case("loss.smooth_l1_backward", n, a, a, inner, outer, sigma, 0.3, out(n), note=note)
    distances()
    divergences()


def distances() -> None:
    for rows, dim in ((0, 3), (1, 1), (3, 1), (5, 4), (7, 17), (3, 4096), (1000, 33), (1, 100_003)):
        size, a, f = (rows, dim), x(rows, dim), x(rows)
        case("loss.dots", *size, a, a, out(rows, dtype=np.float64), atol=2e-7 * dim)
        case("loss.combine_rows", *size, f, a, f, a, False, out(rows, dim), atol=1e-6)
        case("loss.combine_rows", *size, f, a, f, a, True, acc(rows, dim), atol=1e-6)
        for p in (1.0, 2.0, 3.0, 1.5):
            case("loss.powers", *size, a, a, 0.001, p, out(rows, dtype=np.float64), tolerance=1e-5)
            for add, y in ((False, out(rows, dim)), (True, acc(rows, dim))):
                case("loss.power_slopes", *size, f, a, a, 0.001, p, add, y, tolerance=1e-5,
                     atol=1e-6)  # fmt: skip
    for n, h, w in ((0, 2, 3), (1, 1, 1), (2, 1, 5), (3, 4, 1), (2, 5, 33), (1, 300, 401)):
        for squared, fill in itertools.product((False, True), (normal, integers)):
            note, pixels = f"{n} {h} {w} {squared} {fill.__name__}", x(n, h, w, fill=fill)
            case("loss.variation", n, h, w, pixels, squared, note=note)
            case("loss.variation_backward", n, h, w, pixels, squared, 0.3, out(n, h, w), note=note)


def divergences() -> None:
    def shares(rng, shape):
        values = rng.uniform(0.001, 1, shape)
        values[rng.random(shape) < 0.2] = 0
        return values

    for n, weighs in itertools.product(LENGTHS, (False, True)):
        a, weights = x(n), x(n, fill=positive) if weighs else None
        note = f"{n}{' weights' * weighs}"
        for log_target in (False, True):
            t = x(n) if log_target else x(n, fill=shares)
            line = f"{note}{' log' * log_target}"
            case("loss.kl_divergence", n, a, t, weights, log_target, note=line, atol=1e-6 * n)
            t = x(n) if log_target else x(n, fill=positive)
            for dx, dt in ((out(n), None), (None, out(n)), (out(n), out(n))):
                case("loss.kl_divergence_backward", n, a, t, weights, log_target, 0.3, dx, dt,
                     note=f"{line} {'dx' * bool(dx)}{'dt' * bool(dt)}", atol=1e-6)  # fmt: skip
        t = x(n, fill=lambda rng, shape: rng.choice([0, 0.3, 1], shape))
        scores = x(n, fill=lambda rng, shape: rng.standard_normal(shape) * 10)
        chances = x(n, fill=lambda rng, shape: rng.choice([0, 1e-9, 0.2, 0.7, 1], shape))
        for alpha, gamma in ((-1.0, 0.0), (0.25, 2.0), (0.7, 0.5), (0.5, 1.0)):
            line = f"{note} {alpha} {gamma}"
            case("loss.focal", n, scores, t, weights, alpha, gamma, note=line, tolerance=1e-5,
                 atol=1e-6 * n)  # fmt: skip
            case("loss.focal_backward", n, scores, t, weights, alpha, gamma, 0.3, out(n), note=line,
                 tolerance=1e-5)  # fmt: skip
            case("loss.focal_of_label", n, chances, weights or x(n), gamma, 1e-20, out(n),
                 note=line, tolerance=1e-5, atol=1e-6 * n)  # fmt: skip


def boxes() -> None:
    def corners(rng, shape):
        """(4, n), a few of them reversed or NaN."""
        first, size = rng.random((2, 2, shape[1])), rng.random((2, shape[1])) - 0.05
        values = np.concatenate([first[0], first[0] + size]).reshape(shape)
        values[:, rng.random(shape[1]) < 0.02] = np.nan
        return values

    codes = kernels.boxes.BoxCode
    for n in LENGTHS:
        for stride in (4, 7, 20):
            case("boxes.separate", n, x(n, stride), stride, out(4, n), note=f"{n} {stride}",
                 tolerance=0)  # fmt: skip
        for name, code in codes.__members__.items():
            for variances in (x(4, n, fill=positive), None):
                note = f"{n} {name}{' variances' if variances else ''}"
                case("boxes.decode", n, code, x(4, n), variances, x(4, n), out(4, n), note=note)
        for extra in (0.0, 1.0):
            box = x(4, fill=lambda rng, shape: np.array([0.3, 0.2, 0.8, 0.9]))
            case("boxes.raise_overlaps", n, box, x(4, n + 3, fill=corners), n + 3, extra,
                 acc(n, fill=lambda rng, shape: rng.random(shape) / 4), note=f"{n} {extra:g}",
                 tolerance=0)  # fmt: skip
        for threshold in (-0.5, 2.0, -1e30):
            case("boxes.above", n, x(n, fill=special), threshold, acc(n, dtype=np.int32),
                 note=f"{n} {threshold:g}", tolerance=0)  # fmt: skip


def arg_max() -> None:
    def few(rng, shape):
        """Ties, NaN and infinities."""
        values = rng.integers(-3, 4, shape).astype(np.float32)
        values[rng.random(shape) < 0.05] = rng.choice([np.nan, np.inf, -np.inf])
        return values

    for outer, n, inner, most in (
        (0, 4, 3, 2), (1, 1, 1, 1), (3, 5, 1, 5), (2, 1000, 1, 20), (5, 33, 1, 33), (7, 8, 1, 3),
        (2, 3, 5, 3), (2, 21, 1000, 4), (1, 16, 33, 16), (3, 70, 4, 6), (600, 100, 1, 5),
        (2, 40, 9, 20), (2, 500, 3, 60),
    ):  # fmt: skip
        for k, fill in itertools.product(sorted({1, most}), (normal, few)):
            for gap, index, value in ((0, 1, 1), (3, 1, 0), (0, 0, 1)):
                stride = k * inner + gap
                shape = kernels.arg_max.ArgMaxShape(
                    outer=outer, n=n, inner=inner, k=k, stride=stride
                )
                words = f"{fill.__name__}{' index' * index}{' value' * value}"
                case("arg_max.largest", shape, x(outer, n, inner, fill=fill),
                     acc(outer, stride) if index else None, acc(outer, stride) if value else None,
                     note=f"{outer} {n} {inner} {k} {words}", tolerance=0)  # fmt: skip


def image() -> None:
    def pixels(rng, shape):
        return rng.integers(0, 256, shape)

    for c, h, w, top, left, rows, columns in (
        (1, 1, 1, 0, 0, 1, 1), (3, 5, 7, 0, 0, 5, 7), (3, 33, 40, 2, 3, 27, 34),
        (1, 28, 28, 0, 0, 28, 28), (3, 256, 256, 14, 0, 227, 227), (2, 9, 20, 9, 0, 0, 20),
    ):  # fmt: skip
        for flip, mean_image in itertools.product((False, True), (False, True)):
            cut = kernels.image.ImageCut(channels=c, height=h, width=w, top=top, left=left,
                                         rows=rows, columns=columns, flip=flip)  # fmt: skip
            mean = (x(c, h, w), None) if mean_image else (None, x(c))
            note = f"{c} {h} {w} {rows} {columns}{' flip' * flip}{' image' * mean_image}"
            for kind, image in (
                ("bytes", x(c, h, w, fill=pixels, dtype=np.uint8)), ("floats", x(c, h, w)),
            ):  # fmt: skip
                case(f"image.{kind}", cut, image, *mean, 0.0625, out(c, rows, columns),
                     note=note, tolerance=0)  # fmt: skip
    varied_images()


def varied_images() -> None:
    def matrix(angle, size, h, w, rows, columns):
        """Turned around the middle, and scaled."""
        c, s = math.cos(math.radians(angle)) / size, math.sin(math.radians(angle)) / size
        x0, y0 = (columns - 1) / 2, (rows - 1) / 2
        return [c, s, (w - 1) / 2 - c * x0 - s * y0, -s, c, (h - 1) / 2 + s * x0 - c * y0]

    Border = kernels.image.Border
    for c, h, w, rows, columns in (
        (1, 1, 1, 1, 1), (3, 5, 7, 5, 7), (3, 33, 40, 27, 34), (1, 28, 28, 28, 28),
        (3, 256, 256, 227, 227), (2, 9, 20, 9, 20),
    ):  # fmt: skip
        matrices = {
            f"{angle} {size}": matrix(angle, size, h, w, rows, columns)
            for angle, size in ((0, 1), (-37.3, 0.613), (171, 3.1), (90, 0.05))
        }
        # Exact, and never in the middle of two pixels.
        matrices["nearest"] = [0.75, -0.25, 1.125, 0.5, 1.25, -2.125]
        for border, words in itertools.product(
            (Border.CONSTANT, Border.REPEAT, Border.REFLECT), matrices
        ):
            shape = kernels.image.ImageWarp(
                channels=c, height=h, width=w, rows=rows, columns=columns,
                matrix=matrices[words], border=border, nearest=words == "nearest")  # fmt: skip
            case("image.warp", shape, x(c, h + 2, w + 2), out(c, rows, columns), tolerance=2e-4,
                 note=f"{c} {h} {w} {rows} {columns} {words} {border.name}")  # fmt: skip
        for kind, dtype in (("bytes", np.uint8), ("floats", np.float32)):
            image = x(c, h, w, fill=lambda rng, shape: rng.integers(0, 256, shape), dtype=dtype)
            case(f"image.pad_{kind}", shape, image, x(c), out(c, h + 2, w + 2),
                 note=f"{c} {h} {w}", tolerance=0)  # fmt: skip
        for radius in (1, 2, 7):
            weights = x(2 * radius + 1, fill=lambda rng, shape: rng.random(shape))
            scratch = np.empty(rows * columns + columns + 2 * radius, np.float32)
            case("image.blur", c, rows, columns, radius, weights, scratch, acc(c, rows, columns),
                 note=f"{c} {rows} {columns} {radius}")  # fmt: skip
    for channels, pixels in ((1, 1), (3, 1), (1, 37), (3, 37), (3, 224 * 224)):
        for low, high in ((-0.5, 0.75), (-math.inf, math.inf)):
            case("image.mix", channels, pixels, x(channels, channels + 1), low, high,
                 acc(channels, pixels))  # fmt: skip


def reduce() -> None:
    for rows, n in (
        (0, 4), (3, 0), (1, 1), (1, 300_007), (5, 1), (3, 7), (17, 33), (2, 40_009), (600, 130),
    ):  # fmt: skip
        for name in ("sum", "asum", "sumsq"):
            case(f"reduce.{name}", rows, n, -0.5, x(rows, n), out(rows), atol=2e-7 * n)
            given = () if name == "sum" else (x(rows, n, fill=special),)
            case(f"reduce.{name}_backward", rows, n, x(rows), *given, out(rows, n), tolerance=0)
    for outer, n, inner in (
        *BLOCKS, (2, 0, 3), (3, 9, 2), (2, 100, 7), (1, 300, 3), (4, 70, 40), (1, 3, 100_000),
    ):  # fmt: skip
        case("reduce.sum_middle", outer, n, inner, x(outer, n, inner), out(outer, inner),
             atol=2e-7 * n)  # fmt: skip


def roi() -> None:
    def edges(size):
        """[begin, end) of bins, among them empty ones."""
        return lambda rng, shape: np.sort(rng.integers(0, size + 1, shape), -1)

    def below(end):
        return lambda rng, shape: rng.integers(0, end, shape)

    def taps(bins, size, seed):
        """Where each bin's taps begin, which positions they read, and how much of each."""
        counts = np.random.default_rng(seed).integers(0, 4, bins)
        total = int(counts.sum())
        first = Array((bins + 1,), lambda *_: np.append(0, counts.cumsum()), dtype=np.int32)
        return total, (first, x(total, fill=below(size), dtype=np.int32), x(total))

    for rois, ph, pw, n, c, h, w in (
        (0, 2, 3, 1, 5, 4, 6), (1, 1, 1, 1, 1, 1, 1), (5, 2, 3, 2, 7, 5, 4), (4, 3, 3, 1, 17, 9, 8),
        (9, 2, 2, 3, 64, 6, 7), (20, 7, 7, 2, 130, 15, 20), (3, 1, 2, 4, 33, 3, 40),
    ):  # fmt: skip
        note = f"{rois} {ph} {pw} {n} {c} {h} {w}"
        (row_taps, row), (column_taps, column) = taps(rois * ph, h, 0), taps(rois * pw, w, 1)
        sizes = {"rois": rois, "ph": ph, "pw": pw, "n": n, "h": h, "w": w,
                 "row_taps": row_taps, "column_taps": column_taps}  # fmt: skip
        shape = kernels.roi.RoiShape(c=c, **sizes)
        image = x(rois, fill=below(n), dtype=np.int32)
        bins = (x(rois, ph, 2, fill=edges(h), dtype=np.int32),
                x(rois, pw, 2, fill=edges(w), dtype=np.int32))  # fmt: skip
        images, pooled = (n, h, w, c), (rois, ph, pw, c)
        for fill in (normal, integers, special):
            for argmax in (out(*pooled, dtype=np.int32), None):
                words = f"{note} {fill.__name__}{' argmax' if argmax else ''}"
                case("roi.max_forward", shape, image, *bins, x(*images, fill=fill), out(*pooled),
                     argmax, note=words, tolerance=0)  # fmt: skip

        def somewhere(rng, shape, places=h * w):
            """A place for each channel of a bin, or none for all of them."""
            return np.where(rng.random((*shape[:-1], 1)) < 0.2, -1, rng.integers(0, places, shape))

        case("roi.max_backward", shape, image, x(*pooled),
             x(*pooled, fill=somewhere, dtype=np.int32), out(*images), note=note)  # fmt: skip
        maps, shape = c * ph * pw, kernels.roi.RoiShape(c=c * ph * pw, **sizes)
        case("roi.mean_forward", shape, image, *bins, x(n, maps, h, w), out(rois, maps), note=note)
        case("roi.mean_backward", shape, image, *bins, x(rois, maps), out(n, maps, h, w), note=note)
        shape = kernels.roi.RoiShape(c=c, **sizes)
        case("roi.align_forward", shape, image, *row, *column, x(*images), out(*pooled), note=note)
        case("roi.align_backward", shape, image, *row, *column, x(*pooled), out(*images), note=note)


def norm() -> None:
    def far(rng, shape):
        return rng.standard_normal(shape) + 100

    for outer, channels, inner in BLOCKS:
        if not outer:
            continue
        shape = kernels.norm.NormShape(outer=outer, channels=channels, inner=inner)
        size, note = (outer, channels, inner), f"{outer} {channels} {inner}"
        for fill in (normal, far):
            case("norm.statistics", shape, x(*size, fill=fill), statistic(channels),
                 statistic(channels),
                 note=f"{note} {fill.__name__}", tolerance=1e-5, atol=1e-6)  # fmt: skip
        inv_std = parameter(channels, fill=positive)
        both_places("norm.normalize", shape, x(*size), parameter(channels), inv_std, out(*size),
                    note=note)  # fmt: skip
        case("norm.backward", shape, x(*size), inv_std, x(*size), out(*size), note=note)
        case("norm.backward", shape, x(*size), inv_std, x(*size), Same(3), note=note)
        fused_norm(shape, size, note)
    for rows, n in ((0, 3), (1, 1), (3, 7), (5, 33), (2, 40_009), (600, 49)):
        size = rows, n
        for variance, fill in ((True, normal), (True, far), (False, far)):
            words = f"{rows} {n} {variance} {fill.__name__}"
            eps = 0.5 if n == 1 else 1e-9  # the deviation of one value is rounding alone
            case("norm.normalize_rows", *size, variance, eps, x(*size, fill=fill), statistic(rows),
                 out(*size), note=words, tolerance=1e-5, half_tolerance=1e-5)  # fmt: skip
            case("norm.normalize_rows", *size, variance, eps, x(*size, fill=fill),
                 statistic(rows), Same(4), note=words, tolerance=1e-5)  # fmt: skip
        for variance in (True, False):
            given = x(*size) if variance else None, parameter(rows, fill=positive)
            words = f"{rows} {n} {variance}"
            case("norm.rows_backward", *size, variance, *given, x(*size), out(*size), note=words)
            case("norm.rows_backward", *size, variance, *given, x(*size), Same(5), note=words)


def row_norm() -> None:
    def far(rng, shape):
        return rng.standard_normal(shape) + 100

    for rows, n, centered in (*itertools.product((1, 3, 130), (1, 5, 16, 33, 512), (True, False)),
                              (0, 7, True), (300, 768, True), (2, 20_011, True)):  # fmt: skip
        shape = kernels.row_norm.RowNormShape(rows=rows, n=n, centered=centered)
        size, note = (rows, n), f"{rows} {n}{'' if centered else ' rms'}"
        for affine, fill in ((1, normal), (0, far)):
            line = f"{note}{' affine' * affine}"
            gamma, beta = (parameter(n), parameter(n)) if affine else (None, None)
            mean = statistic(rows) if centered else None
            both_places("row_norm.forward", shape, 1e-5, x(*size, fill=fill), gamma, beta, mean,
                        statistic(rows), out(*size), note=line, tolerance=2e-5,
                        atol=1e-6)  # fmt: skip
            kept = parameter(rows) if centered else None, parameter(rows, fill=positive)
            sums = (total(n), total(n)) if affine else (None, None)
            given = shape, x(*size), gamma, *kept, x(*size)
            settings = {"tolerance": 5e-6, "atol": 2e-7 * rows + 1e-6}
            case("row_norm.backward", *given, False, *sums, out(*size), note=line, **settings)
            case("row_norm.backward", *given, False, *sums, Same(5), note=line, **settings)
            case("row_norm.backward", *given, True, *sums, acc(*size), note=f"{line} added",
                 **settings)  # fmt: skip
            if affine:
                case("row_norm.backward", *given, False, total(n), None, None,
                     note=f"{line} gamma only", **settings)  # fmt: skip


def group_norm() -> None:
    def far(rng, shape):
        return rng.standard_normal(shape) + 100

    for n, groups, channels, inner in (
        (0, 1, 2, 3), (1, 1, 1, 1), (3, 2, 6, 1), (2, 3, 12, 35), (5, 34, 34, 49), (2, 1, 17, 100),
        (1, 2, 4, 20_011), (4, 8, 64, 200), (1, 1, 3, 40_009),
    ):  # fmt: skip
        count, note = n * channels * inner, f"{n} {groups} {channels} {inner}"
        for last, (affine, fill) in itertools.product((False, True), ((1, normal), (0, far))):
            shape = kernels.group_norm.GroupNormShape(
                n=n, groups=groups, channels=channels, inner=inner, channels_last=last
            )
            line = f"{note}{' last' * last}{' affine' * affine}"
            gamma, beta = (parameter(channels), parameter(channels)) if affine else (None, None)
            # Where a group has one value, y is 0 times a large number.
            atol = 1e-6 if channels * inner > groups else 1e-3
            both_places("group_norm.forward", shape, 1e-5, x(count, fill=fill), gamma, beta,
                        statistic(n * groups), statistic(n * groups), out(count), note=line,
                        tolerance=2e-5, atol=atol)  # fmt: skip
            kept = parameter(n * groups), parameter(n * groups, fill=positive)
            sums = (total(channels), total(channels)) if affine else (None, None)
            given = shape, x(count), gamma, *kept, x(count)
            settings = {"tolerance": 1e-5, "atol": 2e-7 * n * inner + 1e-6}
            case("group_norm.backward", *given, False, *sums, out(count), note=line, **settings)
            case("group_norm.backward", *given, False, *sums, Same(5), note=line, **settings)
            case("group_norm.backward", *given, True, *sums, acc(count), note=f"{line} added",
                 **settings)  # fmt: skip
            if affine:
                case("group_norm.backward", *given, False, None, total(channels), None,
                     note=f"{line} beta only", **settings)  # fmt: skip


def rotary() -> None:
    for batch, steps, heads, size, gap in (
        (1, 1, 1, 2, 0), (2, 3, 2, 6, 3), (0, 3, 2, 6, 3), (3, 5, 3, 34, 0), (2, 40, 8, 64, 16)
    ):  # fmt: skip
        for halves, back in itertools.product((False, True), repeat=2):
            width = heads * size
            shape = kernels.rotary.RotaryShape(
                batch=batch, steps=steps, heads=heads, size=size, x_stride=width,
                y_stride=width + gap, halves=halves,
            )  # fmt: skip
            tables = parameter(steps, size), parameter(steps, size)
            note = f"{batch} {steps} {heads} {size}{' halves' * halves}{' back' * back}"
            case("rotary.rotate", shape, back, *tables, x(batch, steps, width),
                 out(batch, steps, width + gap), note=note)  # fmt: skip
            if gap == 0:
                case("rotary.rotate", shape, back, *tables, x(batch, steps, width), Same(4),
                     note=note)  # fmt: skip


def additive_scores() -> None:
    """Sizes below, at and above a vector's; sums of few and of saturated terms."""
    for queries, keys, batch, size in (
        (1, 1, 1, 1), (3, 5, 2, 7), (5, 3, 3, 16), (2, 9, 5, 33), (4, 40, 8, 65), (0, 4, 2, 3),
        (4, 0, 2, 3), (3, 4, 0, 5), (2, 3, 2, 0), (20, 30, 4, 256),
    ):  # fmt: skip
        shape = kernels.additive_scores.AdditiveScoresShape(
            queries=queries, keys=keys, batch=batch, size=size
        )
        q, k, scores = (queries, batch, size), (keys, batch, size), (queries, batch, keys)
        given, note = (
            (x(*q), x(*k, fill=lambda rng, shape: 4 * rng.standard_normal(shape)), x(size)),
            f"{queries} {keys} {batch} {size}",
        )
        case("additive_scores.forward", shape, *given, out(*scores), tolerance=1e-5, note=note)
        case("additive_scores.backward", shape, *given, x(*scores), out(*q), out(*k),
             out(batch, size), tolerance=1e-5, note=note)  # fmt: skip


# (batch, heads, queries, keys, size of a head, elements between the rows' ends, causal, mask)
ATTENTIONS = (
    (1, 1, 1, 1, 1, 0, False, None), (2, 3, 5, 7, 4, 2, False, "holes"),
    (1, 2, 17, 17, 16, 0, True, None), (2, 2, 70, 300, 33, 5, False, "lengths"),
    (1, 2, 260, 260, 20, 0, True, "holes"), (2, 1, 130, 40, 64, 0, True, None),
    (3, 1, 9, 530, 8, 0, True, "lengths"), (0, 2, 3, 4, 5, 0, False, None),
    (2, 2, 0, 4, 5, 0, False, None), (2, 2, 4, 0, 5, 0, True, None),
    (2, 2, 3, 40, 6, 0, False, "nothing"), (2, 3, 1, 300, 70, 5, False, "holes"),
    (2, 2, 4, 37, 64, 5, True, None), (2, 4, 256, 256, 64, 128, False, None),
)  # fmt: skip


def attention() -> None:
    for batch, heads, queries, keys, size, gap, causal, masked in ATTENTIONS:
        width = heads * size
        stride, rows = width + gap, keys + (gap == 5)
        shape = kernels.attention.AttentionShape(
            batch=batch, heads=heads, queries=queries, keys=keys, size=size, q_stride=stride,
            k_stride=stride, v_stride=stride, out_stride=width, key_rows=rows, causal=causal,
            scale=0.8 / size**0.5,
        )  # fmt: skip
        q, k = (batch, queries, stride), (batch, rows, stride)
        given = x(*q), x(*k), x(*k), key_mask(batch, keys, masked) if masked else None
        result, lse = (batch, queries, width), (batch, heads, queries)
        note = f"{batch} {heads} {queries} {keys} {size}{' causal' * causal} {masked or ''}".strip()
        settings = {"note": note, "tolerance": 1e-5, "half_tolerance": 1e-5, "atol": 1e-6}
        flops = 4.0 * batch * heads * queries * keys * size
        case("attention.forward", shape, *given, out(*result), statistic(*lse), **settings,
             flops=flops)  # fmt: skip
        forward = functools.partial(attended, shape, result, lse)
        kept = From(lambda *made, f=forward: f(made)[0]), From(lambda *made, f=forward: f(made)[1])
        given = shape, *given, *kept, x(*result)
        case("attention.backward", *given, out(*q), out(*k), out(*k), **settings,
             flops=2.5 * flops)  # fmt: skip
        if masked:
            settings["note"] += " some"
            case("attention.backward", *given, None, out(*k), None, **settings)
            case("attention.weights", shape, *given[1:3], given[4],
                 From(lambda *made, f=forward: f((*made[:3], made[2], made[3]))[1]),
                 statistic(*lse, keys), **settings)  # fmt: skip


def key_mask(batch: int, keys: int, kind: str) -> Array:
    """Of each item some keys at the end do not take part, of the second none do; or any do."""

    def fill(rng, shape):
        if kind == "holes":
            return rng.random(shape) < 0.7
        lengths = rng.integers(0, keys + 1, (batch, 1)) if kind == "lengths" else np.zeros((2, 1))
        lengths[1:2] = 0
        return np.arange(keys) < lengths

    return parameter(batch, keys, fill=fill)


def attended(shape: Any, result: tuple, lse: tuple, made: Any) -> tuple[np.ndarray, np.ndarray]:
    """What the reference's forward pass computes: out and lse."""
    _, q, k, v, mask, *_ = made
    arrays = np.zeros(result, q.dtype), np.zeros(lse, np.float32)
    with_reference(kernels.attention.forward, shape, q, k, v, mask, *arrays)
    return arrays


def fused_norm(shape: Any, size: tuple[int, int, int], note: str) -> None:
    channels = size[1]
    statistics = parameter(channels), parameter(channels, fill=positive)
    affine = parameter(channels), parameter(channels)
    for relu, residual in itertools.product((False, True), repeat=2):
        words = f"{note}{' relu' * relu}{' residual' * residual}"
        second = x(*size) if residual else None
        # What the residual is added to is rounded as well, to a neighbour where it is near a tie.
        half_tolerance = 2**-7 if residual else None
        both_places("norm.forward_fused", shape, x(*size), *statistics, *affine, second, relu,
                    out(*size), note=words, half_tolerance=half_tolerance)  # fmt: skip
        if residual:
            case("norm.forward_fused", shape, x(*size), *statistics, *affine, second, relu,
                 Same(6), note=f"{words} second", half_tolerance=half_tolerance)  # fmt: skip
        if residual and not relu:
            continue
        # In place: dx in dy's memory, or dresidual.
        outputs = [(out(*size), None), (Same(8), None)]
        if residual:
            outputs += [(out(*size), out(*size)), (Same(8), out(*size)), (out(*size), Same(8))]
        for dx, dresidual in outputs:
            place = "" if dresidual is None else " to both"
            place += " second" * isinstance(dresidual, Same)
            case("norm.backward_fused", shape, x(*size), *statistics, *affine, relu,
                 x(*size) if residual else None, x(*size), total(channels), total(channels), dx,
                 dresidual, note=f"{words}{place}", tolerance=4e-6,
                 atol=2e-7 * size[0] * size[2])  # fmt: skip


def update() -> None:
    for n in LENGTHS:
        for l1, decay, momentum, scale, clip in (
            (0.0, 0.0, 0.0, 1.0, math.inf), (0.0, 5e-4, 0.9, 1.0, math.inf),
            (1.0, 0.01, 0.9, 0.5, math.inf), (0.3, 0.01, 0.9, 0.5, 0.2), (0.0, 0.01, 0.9, 1.0, 0.5),
        ):  # fmt: skip
            shape = kernels.update.UpdateShape(
                n=n, grad_scale=scale, weight_decay=decay, l1=l1, rate=0.01, momentum=momentum,
                momentum2=0.99, delta=1e-3, decoupled_decay=0.1 * decay, clip=clip,
            )  # fmt: skip
            note = f"{n} L1 {l1} {decay} momentum {momentum} clip {clip}"
            # Integers: weights that are 0, whose sign is 0.
            weights, gradient, mean = acc(n, fill=integers), acc(n), acc(n)
            square = acc(n, fill=positive)
            for rule, history in {
                "sgd": [mean], "nesterov": [mean], "adagrad": [square], "rmsprop": [square],
                "adadelta": [square, square], "adam": [mean, square],
            }.items():  # fmt: skip
                case(f"update.{rule}", shape, weights, gradient, *history, note=note)
        case("update.average", n, 0.01, x(n), acc(n))
    for rows, size in ((0, 4), (1, 1), (5, 1), (3, 7), (20, 33), (64, 1000), (2, 100_003)):
        for most in (0.0, 0.3, 1.0, 40.0):
            case("update.limit_norms", rows, size, most, acc(rows, size))


# Products


def gemm() -> None:
    shapes = [
        (1, 1, 1), (2, 3, 4), (7, 5, 9), (16, 16, 16), (17, 33, 31), (6, 16, 8), (14, 32, 64),
        (1, 100, 50), (100, 1, 50), (50, 100, 1), (13, 200, 300), (129, 257, 63), (256, 256, 256),
        (64, 500, 800), (3, 1000, 1030), (300, 7, 517), (0, 5, 6), (5, 0, 6), (5, 6, 0),
    ]  # fmt: skip
    for m, n, k in shapes:
        for trans_a, trans_b in itertools.product((False, True), repeat=2):
            _gemm(m, n, k, trans_a, trans_b)
        _gemm(m, n, k, beta=1.0, bias=True)
        _gemm(m, n, k, trans_b=True, packed=True, bias=True)
        _gemm(m, n, k, packed=True, beta=0.5)
        _gemm(m, n, k, trans_b=True, packed=True, bias=True, relu=True)
        _gemm(m, n, k, beta=1.0, relu=True)
        for packed, trans_b in ((True, True), (False, True), (False, False)):
            _gemm(m, n, k, trans_b=trans_b, packed=packed, bias=True, relu=packed, residual=True)
    _gemm(45, 70, 33, stride=5, trans_a=True, beta=1.0)
    _gemm(45, 70, 33, stride=5, trans_b=True, packed=True)
    _gemm(45, 70, 33, stride=3)
    for packed, relu in itertools.product((False, True), repeat=2):
        _gemm(19, 40, 21, fill=special, packed=packed, relu=relu)
    for m, n, k in (*shapes, (40, 33, 1100), (2, 64, 517), (500, 37, 600)):
        for trans_a, trans_b in itertools.product((False, True), repeat=2):
            for bf16 in ("a", "b", "ab", "abc"):
                _gemm(m, n, k, trans_a, trans_b, bf16=bf16, fill=integers)
        for bf16 in ("a", "ac"):
            _gemm(m, n, k, trans_b=True, packed=True, bias=True, bf16=bf16)
            _gemm(m, n, k, packed=True, beta=1.0, bf16=bf16, relu=True)
            _gemm(m, n, k, packed=True, bf16=bf16 + "r", residual=True)
        _gemm(m, n, k, beta=0.5, bf16="ac", fill=integers)
        _gemm(m, n, k, trans_b=True, beta=1.0, bf16="ac")
        _gemm(m, n, k, bf16="c")
    for trans_a, trans_b, packed in itertools.product((False, True), repeat=3):
        _gemm(45, 70, 33, trans_a, trans_b, stride=5, packed=packed, bf16="abc"[:: 1 + packed])
    for rows, columns in ((0, 3), (1, 1), (3, 5), (17, 33), (500, 800), (1030, 64), (2, 4096)):
        for trans_a, beta in itertools.product((False, True), (0.0, 1.0)):
            for half in (False, True):
                _gemv(rows, columns, trans_a, beta, half)


def limit(bias, terms):
    """What relu is bounded by, where there is a bias so that some cases have it. It cuts few of the
    sums, of so many terms, and leaves the scale that tolerances go by."""
    return 2 * math.sqrt(terms) if bias else math.inf


def _gemm(m, n, k, trans_a=False, trans_b=False, beta=0.0, bias=False, packed=False, stride=0,
          fill=normal, relu=False, bf16="", residual=False):  # fmt: skip
    """`bf16`: which of a, b, c and the residual are bfloat16. The sums of `integers` are exact."""
    a, b = ((k, m) if trans_a else (m, k)), ((n, k) if trans_b else (k, n))
    words = {"A'": trans_a, "B'": trans_b, f"beta {beta}": beta, "bias": bias, "packed": packed,
             "relu": relu, "residual": residual, f"stride +{stride}": stride,
             "special": fill is special,
             "integers": fill is integers, f"bf16 {bf16}": bf16}  # fmt: skip

    def call(a_full, b_full, bias_array, residual_array, c_full):
        operands = a_full[:, : a[1]], b_full[:, : b[1]], c_full[:, :n]
        kernels.gemm(*operands, trans_a=trans_a, trans_b=trans_b, beta=beta, bias=bias_array,
                     packed=packed, relu=relu, residual=residual_array,
                     ceiling=limit(bias, k))  # fmt: skip

    def fixed(array, name):
        return replace(array, fixed=name not in bf16)

    if bf16 and fill is normal:
        fill = bf16_values
    of_b = fill if bf16 else normal
    c = acc(m, n + stride, fill=integers) if beta or stride else out(m, n)
    tolerance = 1e-5 if k < 500 else 2e-5
    CASES.append(Case(
        " ".join([f"gemm {m}x{n}x{k}", *(word for word, yes in words.items() if yes)]),
        (fixed(x(a[0], a[1] + stride, fill=fill), "a"),
         fixed(x(b[0], b[1] + stride, fill=of_b), "b"),
         parameter(n) if bias else None,
         fixed(x(m, n, fill=fill), "r") if residual else None, fixed(c, "c")),
        lambda _: call, tolerance=0 if fill is integers else tolerance, flops=2.0 * m * n * k,
        half=bool(bf16),
    ))  # fmt: skip


def _gemv(rows, columns, trans_a, beta, half):
    def call(a, v, y):
        kernels.gemv(a, v, y, trans_a=trans_a, beta=beta)

    m, k = (columns, rows) if trans_a else (rows, columns)
    CASES.append(Case(
        f"gemv {m}x{k}{' transposed' if trans_a else ''} beta {beta}{' bf16' if half else ''}",
        (x(rows, columns), x(k), acc(m) if beta else out(m)), lambda _: call, tolerance=1e-5,
        flops=2.0 * m * k, half=half,
    ))  # fmt: skip


# Embeddings and LSTMs


def embed() -> None:
    # (count, rows, size)
    for count, rows, size in ((0, 3, 4), (1, 1, 1), (7, 5, 3), (40, 4, 33), (9, 6, 16),
                              (2000, 50, 130), (300, 7, 1000)):  # fmt: skip
        index = parameter(count, fill=lambda rng, shape, rows=rows: rng.integers(0, rows, shape))
        table = parameter(rows, size)
        for bias, note in ((parameter(size), "bias"), (None, "")):
            case("embed.gather", count, rows, size, index, table, bias, out(count, size),
                 note=f"{count} {rows} {size} {note}", tolerance=1e-6)  # fmt: skip
        case("embed.scatter_add", count, rows, size, index, x(count, size),
             total(rows, size), tolerance=1e-5)  # fmt: skip


def goes_on(rng, shape):
    """0 where sequences begin, else 1; and what Caffe also takes, numbers between them."""
    cont = (rng.random(shape) < 0.8).astype(np.float32)
    cont[:1] = rng.integers(0, 2, cont[:1].shape)
    cont[rng.random(shape) < 0.05] = 0.5
    return cont


def activations(rng, shape):
    return rng.uniform(0.05, 0.95, shape)


# (steps, batch, hidden, floats between the rows of gates)
RECURRENCES = (
    (1, 1, 1, 0), (1, 2, 5, 0), (3, 1, 8, 1), (4, 3, 16, 0), (5, 2, 33, 3), (2, 15, 40, 0),
    (3, 14, 64, 16), (7, 1, 100, 0), (0, 2, 3, 0), (3, 0, 4, 0), (2, 33, 17, 5), (6, 5, 250, 0),
    (10, 32, 128, 16), (8, 1, 512, 16),
)  # fmt: skip


def recurrent() -> None:
    for steps, batch, hidden, gap in RECURRENCES:
        recurrence("rnn", 1, steps, batch, hidden, gap)
        recurrence("lstm", 4, steps, batch, hidden, gap)
        gru(steps, batch, hidden, gap)
    for kind, gates in (("rnn", 1), ("lstm", 4)):
        recurrence(kind, gates, 5, 3, 33, 3, reverse=True)
    gru(5, 3, 33, 3, reverse=True)
    for batch, hidden in ((0, 3), (1, 1), (2, 7), (3, 16), (5, 33), (64, 300)):
        size = batch, hidden
        given = *size, parameter(batch, fill=goes_on), parameter(*size), parameter(batch, 4, hidden)
        note = {"note": f"{batch} {hidden}"}
        case("recurrent.lstm_unit_forward", *given, statistic(*size), statistic(*size), **note)
        for dc0, dgates in ((1, 1), (1, 0), (0, 1)):
            case("recurrent.lstm_unit_backward", *given, parameter(*size), parameter(*size),
                 statistic(*size) if dc0 else None, statistic(batch, 4, hidden) if dgates else None,
                 note=f"{batch} {hidden}{' cells' * dc0}{' gates' * dgates}")  # fmt: skip


def recurrence(kind: str, kinds_of_gates: int, steps: int, batch: int, hidden: int,
               gap: int, reverse: bool = False) -> None:  # fmt: skip
    rows = kinds_of_gates * hidden
    shape = kernels.recurrent.RecurrentShape(
        steps=steps, batch=batch, hidden=hidden, gates=kinds_of_gates, gate_stride=rows + gap,
        reverse=reverse,
    )  # fmt: skip
    weights = parameter(rows, hidden, fill=lambda rng, s: rng.standard_normal(s) / s[1] ** 0.5)
    cont, state = parameter(steps, batch, fill=goes_on), parameter(batch, hidden)
    gates, cells = (steps, batch, rows + gap), (steps, batch, hidden)
    settings = recurrence_settings(steps, batch, hidden, rows, gap, reverse)
    is_lstm = int(kind == "lstm")  # which has c as well
    case(f"recurrent.{kind}_forward", shape, weights, cont, state, *[state] * is_lstm,
         total(*gates), out(*cells), *[statistic(*cells)] * is_lstm, out(*cells),
         **settings)  # fmt: skip
    case(f"recurrent.{kind}_backward", shape, weights, cont, *[state] * is_lstm,
         parameter(*gates, fill=activations), *[parameter(*cells)] * is_lstm, x(*cells),
         out(*gates), statistic(batch, rows), **settings)  # fmt: skip


def recurrence_settings(steps: int, batch: int, hidden: int, rows: int, gap: int,
                        reverse: bool) -> dict:  # fmt: skip
    return {
        "note": f"{steps} {batch} {hidden} {rows + gap}{' reverse' if reverse else ''}",
        "tolerance": 1e-5,
        # What one step rounds the other way to bfloat16 reaches the steps behind it.
        "half_tolerance": 2e-3 if steps > 1 else 1e-5,
        "flops": 2.0 * steps * batch * rows * hidden,
    }


def gru(steps: int, batch: int, hidden: int, gap: int, reverse: bool = False) -> None:
    rows = 3 * hidden
    shape = kernels.recurrent.RecurrentShape(
        steps=steps, batch=batch, hidden=hidden, gates=3, gate_stride=4 * hidden + gap,
        reverse=reverse,
    )  # fmt: skip
    weights = parameter(rows, hidden, fill=lambda rng, s: rng.standard_normal(s) / s[1] ** 0.5)
    cont, state = parameter(steps, batch, fill=goes_on), parameter(batch, hidden)
    gates, cells = (steps, batch, 4 * hidden + gap), (steps, batch, hidden)
    settings = recurrence_settings(steps, batch, hidden, rows, gap, reverse)
    last = total(batch, hidden) if steps == 0 else statistic(batch, hidden)
    case("recurrent.gru_forward", shape, weights, cont, parameter(rows), state, total(*gates),
         out(*cells), last, out(*cells), **settings)  # fmt: skip
    case("recurrent.gru_backward", shape, weights, cont, parameter(*gates, fill=activations),
         x(*cells), x(*cells), out(*gates), statistic(batch, rows), statistic(batch, hidden),
         **settings)  # fmt: skip


# Convolutions


def conv_shape(n, ic, oc, in_, kernel, stride=1, pad=0, dilation=1, group=1, **choice):
    """A shape of as many spatial axes as `in_` has; the rest may be one number for all axes."""
    axes = len(in_)
    per_axis = [(v,) * axes if isinstance(v, int) else v for v in (kernel, stride, pad, dilation)]
    return kernels.ConvShape(n, ic, oc, group, in_, *per_axis, **choice)


CONVOLUTIONS = (
    conv_shape(1, 1, 1, (1, 1), 1),
    conv_shape(0, 3, 4, (5, 5), 3),
    conv_shape(2, 3, 5, (7, 6), 1),
    conv_shape(2, 64, 33, (9, 11), 1),
    conv_shape(1, 16, 16, (8, 8), 1, stride=2),
    conv_shape(2, 3, 4, (6, 6), 1, pad=1),
    conv_shape(2, 1, 20, (28, 28), 5),
    conv_shape(2, 20, 50, (12, 12), 5),
    conv_shape(1, 3, 17, (23, 21), 3, pad=1),
    conv_shape(2, 16, 32, (14, 14), 3, pad=1),
    conv_shape(1, 3, 24, (31, 29), 11, stride=4),
    conv_shape(1, 5, 7, (10, 12), (3, 5), stride=(2, 1), pad=(1, 2)),
    conv_shape(2, 8, 6, (13, 13), 3, pad=2, dilation=2),
    conv_shape(2, 6, 9, (15, 12), (2, 3), stride=3, dilation=(3, 2), pad=1),
    conv_shape(2, 8, 12, (9, 9), 3, pad=1, group=2),
    conv_shape(2, 12, 8, (6, 7), 1, group=4),
    conv_shape(2, 17, 17, (9, 8), 3, pad=1, group=17),
    conv_shape(1, 8, 16, (9, 9), 3, stride=2, group=8),
    conv_shape(1, 33, 33, (12, 10), 5, pad=2, group=33),
    conv_shape(2, 4, 6, (19,), 3, pad=1, stride=2),
    conv_shape(1, 3, 5, (6, 7, 5), (2, 3, 3), pad=1, stride=(1, 2, 1)),
    conv_shape(1, 2, 3, (3, 4, 3, 4), 2),
    conv_shape(3, 10, 4, (), ()),
    conv_shape(1, 4, 4, (3, 3), 3),
    conv_shape(1, 4, 4, (2, 2), 4, pad=2, stride=3),
    conv_shape(1, 2, 3, (5, 5), 3, pad=4),
    conv_shape(8, 32, 64, (16, 16), 3, pad=1),
    # For gradients by many phases of a stride: upsampling, taps that some phases lack, wide rows.
    conv_shape(2, 21, 21, (40, 36), 8, stride=4, pad=2, group=21),
    conv_shape(1, 3, 3, (150, 700), 6, stride=(4, 3), pad=1, group=3),
    conv_shape(2, 9, 9, (13, 11), 2, stride=3, group=9),
    conv_shape(1, 5, 5, (7, 9, 8), (3, 4, 2), stride=(2, 1, 3), pad=1, dilation=(1, 1, 2), group=5),
    conv_shape(1, 18, 18, (16, 15), 3, stride=2, pad=2, dilation=2, group=18),
    conv_shape(2, 21, 20, (48, 40), 16, stride=8, pad=4),
    conv_shape(1, 6, 40, (9, 11, 13), 4, stride=(2, 3, 2), pad=(1, 0, 2)),
    # For Winograd: tiles cut off, many blocks of tiles, few channels and many, groups, pads.
    conv_shape(3, 40, 33, (7, 7), 3, pad=1),
    conv_shape(2, 17, 70, (13, 14), 3),
    conv_shape(2, 24, 20, (61, 46), 3, pad=1),
    conv_shape(48, 1200, 8, (5, 5), 3, pad=1),
    conv_shape(4, 150, 140, (9, 6), 3, pad=2),
    conv_shape(3, 96, 72, (13, 13), 3, pad=1, group=2),
    conv_shape(2, 20, 300, (6, 10), 3, pad=(0, 3), group=2),
    conv_shape(3, 40, 33, (7, 7), 5, pad=2),
    conv_shape(2, 17, 70, (13, 14), 5),
    conv_shape(3, 96, 72, (13, 13), 5, pad=2, group=2),
    conv_shape(4, 150, 140, (9, 6), 5, pad=4),
    conv_shape(8, 96, 256, (15, 15), 5, pad=2, group=2),
    conv_shape(2, 20, 44, (6, 10), 5, pad=(0, 3), group=2),
)


def conv() -> None:
    for shape in CONVOLUTIONS:
        n, ic, oc, group, in_, kernel = _fields(shape)
        image, result = x(n, *in_, ic), (n, *shape.out, oc)
        weights, flops = (oc, ic // group, *kernel), shape.flops
        for bias, relu in itertools.product((x(oc), None), (False, True)):
            note = f"{'bias ' if bias else ''}{'relu' if relu else ''}"
            ceiling = limit(bias, ic // group * math.prod(kernel))
            for residual in (None, x(*result)) if relu else (None,):
                words = f"{note}{' residual' * (residual is not None)}"
                _conv(shape, "forward", (image, x(*weights), bias, out(*result), relu, residual,
                      ceiling), flops, words)  # fmt: skip
        _conv(shape, "forward", (image, x(*weights), None, acc(*result), False, Same(3)), flops,
              "adds")  # fmt: skip
        for bias, relu in itertools.product((x(ic), None), (False, True)):
            note = f"{'bias ' if bias else ''}{'relu' if relu else ''}"
            ceiling = limit(bias, oc // group * math.prod(kernel))
            for residual in (None, x(*image.shape)) if relu else (None,):
                words = f"{note}{' residual' * (residual is not None)}"
                _conv(shape, "backward_data", (x(*result), x(*weights), bias, out(*image.shape),
                      relu, residual, ceiling), flops, words)  # fmt: skip
        _conv(shape, "backward_data", (x(*result), x(*weights), None, acc(*image.shape), False,
              Same(3)), flops, "adds")  # fmt: skip
        for dbias in (acc(oc), None):
            _conv(shape, "backward_weights", (image, x(*result), acc(*weights), dbias), flops,
                  "bias" if dbias else "")  # fmt: skip


SIX_POINTS = ("winograd_4x4", "winograd_2x2_5x5")


def conv_bf16() -> None:
    """x and y bfloat16, or one of them; sums of `integers` are exact, except with six points."""
    for shape in CONVOLUTIONS:
        n, ic, oc, group, in_, kernel = _fields(shape)
        flops = shape.flops
        for fill in (bf16_values, integers):
            image, gradient = x(n, *in_, ic, fill=fill), x(n, *shape.out, oc, fill=fill)
            w = parameter(oc, ic // group, *kernel, fill=fill)
            adds = fill is integers
            dx = acc(*image.shape) if adds else out(*image.shape)
            word = "integers" if fill is integers else ""
            for types in ("xy", "x", "y"):

                def typed(array, name, types=types):
                    return replace(array, fixed=name not in types)

                half = {"half": True, "tolerance": 0 if fill is integers else 1e-5,
                        "leave_out": SIX_POINTS if fill is integers else ()}  # fmt: skip
                note = f"bf16 {types} {word}"
                _conv(shape, "forward", (typed(image, "x"), w, parameter(oc, fill=fill),
                      typed(out(*gradient.shape), "y"), types == "x",
                      None if types == "x" else gradient), flops, note, **half)  # fmt: skip
                _conv(shape, "backward_data", (typed(gradient, "y"), w,
                      None if adds else parameter(ic, fill=fill), typed(dx, "x"), types == "x",
                      Same(3) if adds else None), flops, note, **half)  # fmt: skip
                _conv(shape, "backward_weights", (typed(image, "x"), typed(gradient, "y"),
                      replace(w, written=True), total(oc, fill=fill)), flops, note,
                      **half)  # fmt: skip


def _conv(shape: Any, method: str, args: tuple, flops: float, note: str,
          leave_out: tuple[str, ...] = (), **settings: Any) -> None:  # fmt: skip
    def implementations() -> list[str]:
        return [name for name in kernels.conv_implementations(shape) if name not in leave_out]

    def prepare(implementation: str) -> Callable:
        return getattr(kernels.Conv(shape, implementation), method)

    CASES.append(Case(
        f"conv {shape} {method} {note}".strip(), args, prepare,
        implementations, flops=flops, **{"tolerance": 1e-5} | settings,
    ))  # fmt: skip


def _fields(shape: Any) -> tuple:
    return shape.n, shape.ic, shape.oc, shape.group, tuple(shape.in_), tuple(shape.kernel)


def all_cases() -> Iterator[Case]:
    if not CASES:
        for add in (eltwise, affine, conversion, movement, activation, masked, im2col, cost_volume,
                    pool, interp, lrn, l2_norm, softmax, stochastic, negative_sampling, loss,
                    boxes, arg_max, image, reduce, roi, norm, row_norm, group_norm, rotary,
                    attention, additive_scores, update, gemm, embed, recurrent, conv,
                    conv_bf16):  # fmt: skip
            add()
    twice = [name for name, count in Counter(c.name for c in CASES).items() if count > 1]
    assert not twice, f"cases of one name: {twice[:5]}"
    return iter(CASES)
