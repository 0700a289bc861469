"""Every kernel against its reference, at every instruction set and number of threads.

    pytest tests/test_kernels.py --bench [-k "conv and avx2"]

times the same cases instead and prints GFLOP/s or GB/s.
"""

import functools
import itertools
import os
import subprocess
import sys
import time

import numpy as np
import pytest
from bf16 import from_bf16, to_bf16
from kernel_cases import SENTINEL, Case, aligned, all_cases, guards_hold

import pydl
from pydl import Error, _core

kernels = _core.kernels
CASES = list(all_cases())
ISAS = kernels.available_isas()
THREADS = (1, 2, 3)
BENCH_SECONDS = 0.02


def case_id(case):
    return case.name.replace(" ", "_")


def run(case: Case, implementation: str = "") -> list[np.ndarray]:
    args = case.make()
    call = case.prepare(implementation)
    returned = call(*args)
    for arg in args:
        assert not isinstance(arg, np.ndarray) or guards_hold(arg), "written outside of an array"
    return case.results(args, returned)


@functools.lru_cache(maxsize=1)
def reference(index: int) -> list[np.ndarray]:
    isa = kernels.isa()
    kernels.set_isa("ref")
    results = run(CASES[index])
    kernels.set_isa(isa)
    return results


def assert_close(case, got, want, where):
    half = want.dtype == np.uint16
    if half:
        got, want = from_bf16(got), from_bf16(want)
    finite = np.abs(want[np.isfinite(want)]).max(initial=0)
    atol = case.tolerance * min(finite, 1e4) + case.atol
    rtol = case.tolerance if finite > 1e4 else 0
    if half and case.tolerance:
        rtol = 2**-7  # the last bit, where rounding to float32 first made a difference
    np.testing.assert_allclose(got, want, rtol=rtol, atol=atol, err_msg=where)


@pytest.mark.parametrize("isa", [isa for isa in ISAS if isa != "ref"])
@pytest.mark.parametrize("index", range(len(CASES)), ids=map(case_id, CASES))
def test_kernel(index, isa):
    case, want = CASES[index], reference(index)
    kernels.set_isa(isa)
    for name in case.implementations():
        one_thread = None
        for threads in THREADS:
            pydl.set_num_threads(threads)
            got = run(case, name)
            assert len(got) == len(want) > 0
            if one_thread is None:
                one_thread = got
                for a, b in zip(got, want, strict=True):
                    assert_close(case, a, b, f"{case.name} {name} {isa}")
            for a, b in zip(got, one_thread, strict=True):
                np.testing.assert_array_equal(a, b, f"{name} depends on the number of threads")


# Runs all small cases on arrays that end where a page begins that may not be touched.
ELSEWHERE = "/"  # python -c finds modules in its folder first, and ours has pydl's sources

AT_THE_EDGE = """
import ctypes, mmap, sys
import numpy as np
from kernel_cases import all_cases
from pydl._core import kernels

libc, held = ctypes.CDLL(None, use_errno=True), []
libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]

def at_the_edge(values):
    size = -(-values.nbytes // mmap.PAGESIZE) * mmap.PAGESIZE
    pages = mmap.mmap(-1, size + mmap.PAGESIZE)
    held.append(pages)
    start = ctypes.addressof(ctypes.c_char.from_buffer(pages))
    assert libc.mprotect(start + size, mmap.PAGESIZE, mmap.PROT_READ * 0) == 0
    array = np.frombuffer(pages, values.dtype, values.size, size - values.nbytes)
    array.reshape(values.shape)[...] = values
    return array.reshape(values.shape)

kernels.set_isa(sys.argv[1])
count = 0
for case in all_cases():
    if case.bytes > 200_000:
        continue
    for name in case.implementations():
        print(case.name, name, flush=True)
        args = case.make(at_the_edge)
        case.prepare(name)(*args)
        held.clear() if count % 50 == 0 else None
        count += 1
print("done", count)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="protects pages with Linux's mprotect")
@pytest.mark.parametrize("isa", ISAS)
def test_nothing_beyond_an_array_is_read(isa):
    result = subprocess.run(
        [sys.executable, "-c", AT_THE_EDGE, isa], env=environment(), capture_output=True,
        text=True, cwd=ELSEWHERE,
    )  # fmt: skip
    last = result.stdout.splitlines()[-1]
    assert result.returncode == 0, f"touched memory after an array: {last}\n{result.stderr}"
    assert int(last.removeprefix("done ")) > 1000


@pytest.mark.bench
@pytest.mark.parametrize("isa", [isa for isa in ISAS if isa != "ref"])
@pytest.mark.parametrize("index", range(len(CASES)), ids=map(case_id, CASES))
def test_bench(index, isa, bench_lines):
    case = CASES[index]
    kernels.set_isa(isa)
    for name, threads in itertools.product(case.implementations(), (1, os.cpu_count() or 1)):
        pydl.set_num_threads(threads)
        args, call = case.make(aligned), case.prepare(name)
        seconds = best_time(call, args)
        rate = (
            f"{case.flops / seconds / 1e9:9.2f} GFLOP/s"
            if case.flops
            else f"{case.bytes / seconds / 1e9:9.2f} GB/s   "
        )
        bench_lines.append(
            f"{rate} {seconds * 1e6:11.2f} us  {isa:8} {threads} threads  {case.name} {name}"
        )


def best_time(call, args):
    call(*args)
    best, end = float("inf"), time.perf_counter() + BENCH_SECONDS
    while (start := time.perf_counter()) < end:
        call(*args)
        best = min(best, time.perf_counter() - start)
    return best


# What the cases rely on: that a wrong kernel or a wrong write would show.


def test_a_wrong_result_is_seen():
    index = next(i for i, c in enumerate(CASES) if c.name == "eltwise.add 17")
    want = reference(index)
    wrong = [a + np.float32(1e-3) * (np.arange(a.size) == 5) for a in want]
    with pytest.raises(AssertionError):
        assert_close(CASES[index], wrong[0], want[0], "")


def test_a_write_outside_is_seen():
    case = next(c for c in CASES if c.name == "eltwise.add 17")
    array = case.make()[-1]
    assert guards_hold(array)
    np.lib.stride_tricks.as_strided(array, (18,), (4,))[17] = SENTINEL + 1
    assert not guards_hold(array)


def test_cases_cover_every_kernel():
    families = [getattr(kernels, name) for name in dir(kernels)]
    bound = {
        f"{family.__name__.split('.')[-1]}.{name}"
        for family in families
        if type(family).__name__ == "module"
        for name in dir(family)
        if name[0].islower()
    }
    used = {case.name.split()[0] for case in CASES}
    assert bound - {"movement.copy_box"} <= used  # one build for all; see test_fork_layers.py
    assert {"gemm", "gemv", "conv"} <= used


def test_cases_cover_every_convolution():
    covered = set()
    for case in CASES:
        covered |= set(case.implementations())
    assert {"ref", "gemm_1x1"} <= covered
    assert len(covered - {""}) >= 3


# Instruction sets


def test_instruction_sets():
    assert ISAS[:2] == ["ref", "baseline"]
    for isa in ISAS:
        kernels.set_isa(isa)
        assert kernels.isa() == isa
    with pytest.raises(Error, match="avx2"):
        kernels.set_isa("avx22")


@pytest.mark.parametrize("isa", ISAS)
def test_environment_variable_sets_the_instruction_set(isa):
    program = "from pydl import _core; print(_core.kernels.isa())"
    result = subprocess.run(
        [sys.executable, "-c", program], env=environment(PYDL_ISA=isa), capture_output=True,
        text=True, check=True, cwd=ELSEWHERE,
    )  # fmt: skip
    assert result.stdout.strip() == isa


def test_environment_variable_with_a_typo():
    program = "from pydl import _core; _core.kernels.isa()"
    result = subprocess.run(
        [sys.executable, "-c", program], env=environment(PYDL_ISA="avx1024"),
        capture_output=True, text=True, cwd=ELSEWHERE,
    )  # fmt: skip
    assert result.returncode == 1, "an exception, not an abort"
    assert "avx1024" in result.stderr and "baseline" in result.stderr


def environment(**variables):
    return os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)} | variables


# Products: what the cases cannot say


@pytest.mark.parametrize("isa", ISAS)
def test_gemm_does_not_read_c_without_beta(isa):
    kernels.set_isa(isa)
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal(s).astype(np.float32) for s in ((9, 20), (20, 35)))
    c = np.full((9, 35), np.nan, np.float32)
    kernels.gemm(a, b, c)
    np.testing.assert_allclose(c, a @ b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("isa", ISAS)
def test_packed_matrix_is_used_many_times_and_packed_again(isa):
    kernels.set_isa(isa)
    rng = np.random.default_rng(1)
    packed = None
    for n, k in ((33, 17), (20, 9), (64, 50), (0, 4)):
        b = rng.standard_normal((n, k)).astype(np.float32)
        if packed is None:
            packed = kernels.Packed(b, trans_b=True)
        else:
            packed.pack(b, trans_b=True)
        for m in (1, 5, 40):
            a, c = rng.standard_normal((m, k)).astype(np.float32), np.empty((m, n), np.float32)
            packed.gemm(a, c)
            np.testing.assert_allclose(c, a @ b.T, rtol=1e-4, atol=1e-5)


def test_matrix_packed_under_another_instruction_set_is_refused():
    if len(ISAS) < 3:
        pytest.skip("this CPU has the baseline instruction set only")
    kernels.set_isa("ref")
    packed = kernels.Packed(np.ones((4, 6), np.float32))
    kernels.set_isa(ISAS[-1])
    with pytest.raises(Error):
        packed.gemm(np.ones((2, 4), np.float32), np.empty((2, 6), np.float32))


def test_bindings_refuse_what_does_not_fit():
    one, two = np.ones((2, 3), np.float32), np.ones((2, 3), np.float32)
    for call in (
        lambda: kernels.gemm(one, two, np.empty((2, 3), np.float32)),
        lambda: kernels.gemm(one[:, ::2], two, np.empty((2, 3), np.float32)),
        lambda: kernels.eltwise.add(7, one, two, np.empty(7, np.float32)),
        lambda: kernels.eltwise.add(6, one, two.astype(np.float64), np.empty(6, np.float32)),
        lambda: kernels.eltwise.add(6, one, two, None),
        lambda: kernels.softmax.SoftmaxShape(outer=1),
    ):
        with pytest.raises(Error):
            call()


def test_arrays_of_two_types_are_refused():
    a, half = np.ones(6, np.float32), np.ones(6, np.uint16)
    for arrays in ((a, a, half), (a, half, a), (half, a, a)):
        with pytest.raises(Error, match="one type, got .*float.* and .*float"):
            kernels.eltwise.add(6, *arrays)


@pytest.mark.parametrize("isa", ISAS)
def test_conversion_rounds_to_nearest_even(isa):
    kernels.set_isa(isa)
    values = np.float32([1, 1 + 2**-8, 1 + 2**-8 + 2**-20, 1 + 3 * 2**-8, -1 - 2**-9, 3.4e38])
    bits, back = np.empty(6, np.uint16), np.empty(6, np.float32)
    kernels.eltwise.convert(6, values, bits)
    kernels.eltwise.convert(6, bits, back)
    assert back.tolist() == [1, 1, 1 + 2**-7, 1 + 2**-6, -1, np.inf]
    np.testing.assert_array_equal(bits, to_bf16(values))


@pytest.mark.parametrize("isa", ISAS)
def test_convolution_takes_changed_weights_once_told(isa):
    kernels.set_isa(isa)
    shape = kernels.ConvShape(1, 4, 5, 1, (6, 6), (3, 3), (1, 1), (1, 1), (1, 1))
    rng = np.random.default_rng(2)
    image = rng.standard_normal((1, 6, 6, 4)).astype(np.float32)
    for name in kernels.conv_implementations(shape):
        conv = kernels.Conv(shape, name)
        assert conv.name == name
        w = rng.standard_normal((5, 4, 3, 3)).astype(np.float32)
        before, after = np.empty((1, 6, 6, 5), np.float32), np.empty((1, 6, 6, 5), np.float32)
        conv.forward(image, w, None, before)
        w *= 2
        conv.weights_changed()
        conv.forward(image, w, None, after)
        np.testing.assert_allclose(after, 2 * before, rtol=1e-5, atol=1e-6)


def test_convolution_by_a_wrong_name():
    shape = kernels.ConvShape(1, 4, 5, 1, (6, 6), (3, 3), (1, 1), (1, 1), (1, 1))
    with pytest.raises(Error, match="gemm_1x1"):
        kernels.Conv(shape, "gemm_1x2")
    with pytest.raises(Error, match="does not take mb1"):
        kernels.Conv(shape, "gemm_1x1")
    with pytest.raises(Error, match="larger than its padded input"):
        kernels.Conv(kernels.ConvShape(1, 4, 5, 1, (2, 6), (3, 3), (1, 1), (0, 0), (1, 1)))


@pytest.mark.parametrize("isa", [isa for isa in ISAS if isa != "ref"])
@pytest.mark.parametrize("bf16", [False, True], ids=["float32", "bfloat16"])
def test_columns_give_the_same_with_any_number_of_threads(isa, bf16):
    kernels.set_isa(isa)
    shape = kernels.ConvShape(9, 20, 50, 1, (12, 12), (5, 5), (1, 1), (2, 0), (1, 1))
    rng = np.random.default_rng(3)
    w = rng.standard_normal((50, 20, 5, 5)).astype(np.float32)
    dy = rng.standard_normal((9, *shape.out, 50)).astype(np.float32)
    results = []
    for threads in (1, 2, 5):
        pydl.set_num_threads(threads)
        dx = np.empty((9, 12, 12, 20), np.float32)
        conv = kernels.Conv(shape, "col2im")
        conv.backward_data(to_bf16(dy) if bf16 else dy, w, None, dx)
        results.append(dx)
    for dx in results[1:]:
        np.testing.assert_array_equal(dx, results[0])


def test_convolution_shapes_as_text():
    shape = kernels.ConvShape(8, 64, 64, 1, (56, 56), (3, 3), (1, 1), (1, 1), (1, 1))
    assert str(shape) == "mb8g1ic64ih56iw56oc64kh3kw3sh1sw1ph1pw1dh1dw1"


# Random numbers


def test_dropout_keeps_the_share_it_should():
    n, kept = 200_000, {}
    ones = np.ones(n, np.float32)
    for ratio in (0.25, 0.5):
        y = np.empty(n, np.float32)
        kernels.activation.dropout(n, ones, ratio, 1 / (1 - ratio), 1, 0, y)
        kept[ratio] = (y != 0).mean()
        assert kept[ratio] == pytest.approx(1 - ratio, abs=0.005)
        np.testing.assert_allclose(y[y != 0], 1 / (1 - ratio), rtol=1e-6)


def test_dropout_differs_by_seed_and_stream():
    n = 1000
    masks = []
    for seed, stream in ((1, 0), (2, 0), (1, 1)):
        y = np.empty(n, np.float32)
        kernels.activation.dropout(n, np.ones(n, np.float32), 0.5, 2, seed, stream, y)
        masks.append(y)
    for a, b in itertools.combinations(masks, 2):
        assert 0.4 < (a == b).mean() < 0.6
