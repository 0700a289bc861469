"""What Winograd convolution promises beyond test_kernels.py: docs/winograd.md."""

import numpy as np
import pytest
from bf16 import from_bf16, to_bf16
from kernel_cases import conv_shape
from winograd_errors import Problem, correlate, shape_of

import pydl
from pydl import Error, _core

kernels = _core.kernels
ISAS = [isa for isa in kernels.available_isas() if isa != "ref"]
KERNELS = {"winograd_4x4": 3, "winograd_2x2": 3, "winograd_2x2_5x5": 5}  # their size
WINOGRAD = ("winograd_4x4", "winograd_2x2")  # of 3x3
ALL = tuple(KERNELS)
LAYERS = [(2, 28, 64, 64), (4, 14, 256, 128)]  # n, size, ic, oc


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize(
    ("name", "k", "rms", "largest"),
    [
        ("winograd_4x4", 3, 2.5e-6, 2e-5),
        ("winograd_2x2", 3, 1e-6, 8e-6),
        ("winograd_2x2_5x5", 5, 2.5e-6, 2e-5),
        ("implicit_gemm", 3, 2e-6, 1.2e-5),
        ("implicit_gemm", 5, 2e-6, 1.2e-5),
    ],
)
@pytest.mark.parametrize("layer", LAYERS)
def test_errors_are_as_documented(isa, name, k, rms, largest, layer):
    kernels.set_isa(isa)
    conv = kernels.Conv(shape_of(*layer, k), name)
    for which, (got_rms, got_largest) in Problem(*layer, k).errors(conv).items():
        assert got_rms < rms and got_largest < largest, (which, got_rms, got_largest)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize(
    ("name", "k", "rms", "largest"),
    [*((*item, 2e-3, 2e-2) for item in KERNELS.items()), ("implicit_gemm", 3, 2.8e-3, 3e-2)],
)
@pytest.mark.parametrize("layer", LAYERS)
def test_errors_with_bfloat16_are_as_documented(isa, name, k, rms, largest, layer):
    kernels.set_isa(isa)
    conv = kernels.Conv(shape_of(*layer, k), name)
    errors = Problem(*layer, k, bf16=True).errors(conv)
    of_weights = errors.pop("backward_weights")  # float32
    assert of_weights[0] < 2.5e-6 and of_weights[1] < 2e-5
    for which, (got_rms, got_largest) in errors.items():
        assert got_rms < rms and got_largest < largest, (which, got_rms, got_largest)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", ALL)
def test_bfloat16_is_widened_before_and_rounded_behind(isa, name):
    kernels.set_isa(isa)
    half = Problem(3, 13, 24, 40, KERNELS[name], bf16=True)
    whole = Problem(3, 13, 24, 40, KERNELS[name])
    whole.x, whole.dy = from_bf16(half.x), from_bf16(half.dy)
    conv = kernels.Conv(shape_of(3, 13, 24, 40, KERNELS[name]), name)
    got, want = half.run(conv), whole.run(conv)
    for which in ("forward", "backward_data"):
        np.testing.assert_array_equal(to_bf16(got[which]), to_bf16(want[which]), which)
    np.testing.assert_array_equal(got["backward_weights"], want["backward_weights"])


def run_passes(name, shape, x, w, dy):
    conv = kernels.Conv(shape, name)
    y = np.empty(dy.shape, np.float32)
    dx, dw, db = (np.ones(s, np.float32) for s in (x.shape, w.shape, w.shape[:1]))
    conv.forward(x, w, db.copy(), y, True)
    conv.backward_data(dy, w, None, dx, False, dx)
    conv.backward_weights(x, dy, dw, db)
    return {"y": y, "dx": dx, "dw": dw, "db": db}


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("where", ["x", "w", "dy", "x, w and dy", "all of x"])
@pytest.mark.parametrize("bf16", [False, True], ids=["float32", "bfloat16"])
def test_what_is_not_finite_stays_where_it_belongs(isa, name, where, bf16):
    rng = np.random.default_rng(3)
    k = KERNELS[name]
    pad = 0 if "w" in where else k // 2  # zeros times infinity
    shape = conv_shape(3, 10, 24, (13, 11), k, pad=pad, group=2)
    x = rng.standard_normal((3, 13, 11, 10)).astype(np.float32)
    dy = rng.standard_normal((3, *shape.out, 24)).astype(np.float32)
    w = rng.standard_normal((24, 5, k, k)).astype(np.float32)
    for array, letter in ((x, "x"), (w, "w"), (dy, "dy")):
        if letter in where.replace(",", "").split():
            # ref leaves the padding's zeros out: none of them meets an infinite gradient.
            allowed = np.arange(array.size).reshape(array.shape)
            if letter == "dy" and pad:
                allowed = allowed[:, pad:-pad, pad:-pad]
            places = rng.choice(allowed.ravel(), 4, replace=False)
            array.flat[places] = np.nan, np.inf, -np.inf, np.inf
    if where == "all of x":
        x[...] = np.nan
    if bf16:
        x, dy, w = to_bf16(x), to_bf16(dy), from_bf16(to_bf16(w))
    # Zeros of the padding times infinite weights: NaN, except in ref, which leaves them out.
    kernels.set_isa(isa if "w" in where else "ref")
    want = run_passes("implicit_gemm" if "w" in where else "ref", shape, x, w, dy)
    kernels.set_isa(isa)
    for threads in (1, 2):
        pydl.set_num_threads(threads)
        got = run_passes(name, shape, x, w, dy)
        for key, value in want.items():
            if key != "dx" or pad:
                np.testing.assert_allclose(got[key], value, rtol=1e-4, atol=1e-4, err_msg=key)


@pytest.mark.parametrize(("name", "first", "last"), [
    ("winograd_4x4", 8, 11), ("winograd_2x2_5x5", 6, 13),
])  # fmt: skip
def test_a_value_that_is_not_finite_changes_only_its_tile(name, first, last):
    rng = np.random.default_rng(4)
    k = KERNELS[name]
    shape = conv_shape(1, 32, 32, (24, 24), k, pad=k // 2)
    x, w = rng.standard_normal((1, 24, 24, 32)), rng.standard_normal((32, 32, k, k))
    x, w, y = x.astype(np.float32), w.astype(np.float32), np.empty((1, 24, 24, 32), np.float32)
    conv, odd = kernels.Conv(shape, name), np.empty_like(y)
    conv.forward(x, w, None, y)
    x[0, 9, 10, 5] = np.inf
    conv.forward(x, w, None, odd)
    different = np.argwhere((y != odd).any(axis=(0, 3)))
    assert different.min() >= first and different.max() <= last
    rows, columns = (slice(i - k // 2, i + k // 2 + 1) for i in (9, 10))
    assert not np.isfinite(odd[0, rows, columns]).any()
    assert np.isfinite(np.delete(odd, rows, axis=1)).all()


@pytest.mark.parametrize("isa", ISAS)
def test_weights_that_are_kept_follow_changes(isa):
    """The first use of new weights transforms them in passing, the second keeps them."""
    kernels.set_isa(isa)
    rng = np.random.default_rng(5)
    x = rng.standard_normal((1, 9, 9, 8)).astype(np.float32)
    y = np.empty((1, 9, 9, 20), np.float32)
    for name, k in KERNELS.items():
        w = rng.standard_normal((20, 8, k, k)).astype(np.float32)
        conv = kernels.Conv(conv_shape(1, 8, 20, (9, 9), k, pad=k // 2), name)
        for _ in range(3):
            w += 1
            conv.weights_changed()
            want = correlate(x, w).reshape(y.shape)
            for _ in range(3):
                conv.forward(x, w, None, y)
                np.testing.assert_allclose(y, want, rtol=1e-4, atol=1e-4)


def test_arithmetic_says_which_are_allowed():
    def names(arithmetic, k=3):
        shape = conv_shape(8, 64, 64, (28, 28), k, pad=k // 2, arithmetic=arithmetic)
        return kernels.Conv(shape).name, kernels.conv_implementations(shape)

    kernels.set_isa(ISAS[-1])
    best, all_names = names("fast")
    assert best == "winograd_4x4" and set(WINOGRAD) < set(all_names)
    best, all_names = names("strict")
    assert best == "winograd_2x2" and "winograd_4x4" not in all_names
    best, all_names = names("direct")
    assert best == "implicit_gemm" and not set(WINOGRAD) & set(all_names)
    best, all_names = names("fast", 5)
    assert best == "winograd_2x2_5x5" and not set(WINOGRAD) & set(all_names)
    for arithmetic in ("strict", "direct"):
        best, all_names = names(arithmetic, 5)
        assert best == "implicit_gemm" and "winograd_2x2_5x5" not in all_names
    with pytest.raises(Error, match='did you mean "strict"'):
        names("strikt")


def test_winograd_is_chosen_where_it_pays():
    kernels.set_isa(ISAS[-1])
    for name, shape in (
        ("winograd_4x4", conv_shape(4, 512, 512, (14, 14), 3, pad=1)),
        ("implicit_gemm", conv_shape(4, 3, 64, (224, 224), 3, pad=1)),  # few channels
        ("winograd_2x2", conv_shape(1, 512, 512, (7, 7), 3, pad=1)),  # few tiles
        ("implicit_gemm", conv_shape(1, 512, 512, (7, 7), 3, pad=1, learns=True)),
        ("implicit_gemm", conv_shape(4, 64, 64, (56, 56), 3, pad=1, stride=2)),
        ("depthwise", conv_shape(4, 64, 64, (56, 56), 3, pad=1, group=64)),
        ("winograd_2x2_5x5", conv_shape(32, 96, 256, (27, 27), 5, pad=2, group=2)),
        ("winograd_2x2_5x5", conv_shape(16, 16, 32, (28, 28), 5, pad=2, learns=True)),
        ("implicit_gemm", conv_shape(16, 3, 32, (28, 28), 5, pad=2)),  # few channels
        ("implicit_gemm", conv_shape(16, 32, 64, (28, 28), 5, pad=2, stride=2)),
        ("implicit_gemm", conv_shape(1, 256, 256, (3, 3), 5, pad=2, learns=True)),
    ):
        assert kernels.Conv(shape).name == name, str(shape)


@pytest.mark.parametrize("isa", ISAS)
def test_with_bfloat16_products_take_less_time_where_the_cpu_has_them(isa):
    kernels.set_isa(isa)
    large = conv_shape(4, 256, 256, (28, 28), 3, pad=1, bf16=True)
    cut = conv_shape(32, 384, 384, (13, 13), 3, pad=1, group=2, bf16=True, learns=True)
    has = isa in ("avx512_bf16", "amx")
    assert kernels.Conv(large).name == ("implicit_gemm" if isa == "amx" else "winograd_4x4")
    assert kernels.Conv(cut).name == ("implicit_gemm" if has else "winograd_4x4")
    of_5x5 = conv_shape(32, 96, 256, (27, 27), 5, pad=2, group=2, bf16=True)
    assert kernels.Conv(of_5x5).name == ("implicit_gemm" if has else "winograd_2x2_5x5")
