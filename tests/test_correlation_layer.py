"""Correlation (FlowNet) against numpy."""

import numpy as np
import pytest
from net_text import layer, make_net, normal

from pydl import Error
from pydl.gradient_check import check_gradients


def correlation(fields):
    return layer("Correlation", f"correlation_param {{ {fields} }}", bottoms="a b")


def expected(a, b, kernel, most, pad=0, stride1=1, stride2=1, subtract=False):
    """(N, C, H, W) twice -> (N, D * D, H', W'), in FlowNet's own coordinates."""
    a, b = (np.pad(v.astype(np.float64), ((0, 0), (0, 0), (pad, pad), (pad, pad))) for v in (a, b))
    n, c, h, w = a.shape
    border, radius = most + kernel // 2, most // stride2
    rows, columns = (range(most, size - 2 * border + most, stride1) for size in (h, w))
    far = most + kernel
    around = np.pad(b, ((0, 0), (0, 0), (far, far), (far, far)))
    steps = [d * stride2 for d in range(-radius, radius + 1)]
    out = np.zeros((n, len(steps) ** 2, len(rows), len(columns)))
    for i, y in enumerate(rows):
        for j, x in enumerate(columns):
            patch = a[:, :, y : y + kernel, x : x + kernel]
            for d, (dy, dx) in enumerate((dy, dx) for dy in steps for dx in steps):
                top, left = y + dy + far, x + dx + far
                other = around[:, :, top : top + kernel, left : left + kernel]
                found = np.abs(patch - other) if subtract else patch * other
                out[:, d, i, j] = found.sum((1, 2, 3)) / (kernel * kernel * c)
    return out


CASES = [
    {"kernel": 1, "most": 2, "pad": 2},
    {"kernel": 3, "most": 2, "pad": 3},
    {"kernel": 1, "most": 4, "pad": 4, "stride2": 2},
    {"kernel": 1, "most": 2, "stride1": 2},
    {"kernel": 3, "most": 3, "pad": 4, "stride1": 2, "stride2": 3},
    {"kernel": 3, "most": 5, "pad": 4, "stride2": 2},
    {"kernel": 5, "most": 0, "pad": 1},
]


def fields(kernel, most, pad=0, stride1=1, stride2=1, subtract=False):
    kind = " correlation_type: SUBTRACT" if subtract else ""
    return (
        f"kernel_size: {kernel} max_displacement: {most} pad: {pad} stride_1: {stride1} "
        f"stride_2: {stride2}{kind}"
    )


@pytest.mark.parametrize("subtract", [False, True], ids=["multiply", "subtract"])
@pytest.mark.parametrize("case", CASES, ids=lambda c: "-".join(map(str, c.values())))
class TestCorrelation:
    def test_forward(self, case, subtract):
        inputs = {"a": normal(2, 5, 9, 8), "b": normal(2, 5, 9, 8, seed=1)}
        net = make_net(correlation(fields(**case, subtract=subtract)), inputs)
        y = net.forward(**inputs)["y"]
        want = expected(inputs["a"], inputs["b"], **case, subtract=subtract)
        assert y.shape == want.shape
        np.testing.assert_allclose(y, want, rtol=1e-5, atol=1e-6)

    def test_gradient(self, case, subtract):
        shape = (1, 3, 9, 8)
        check_gradients(
            correlation(fields(**case, subtract=subtract)),
            {"a": shape, "b": shape},
            max_skipped=0.7 if subtract else 0,  # many pairs lie closer than a step
            step=1e-3 if subtract else 1e-2,
        )


def test_one_gradient_is_enough():
    text = correlation("kernel_size: 1 max_displacement: 1 pad: 1").replace(
        "layer {", "layer { propagate_down: false propagate_down: true"
    )
    check_gradients(text, {"a": (1, 2, 4, 5), "b": (1, 2, 4, 5)})


@pytest.mark.parametrize(
    ("fields", "shapes", "words"),
    [
        ("max_displacement: 1", ((1, 2, 4, 4),) * 2, "kernel_size must be given and odd, got 0"),
        ("kernel_size: 2", ((1, 2, 4, 4),) * 2, "odd, got 2"),
        ("kernel_size: 1 stride_2: 0", ((1, 2, 4, 4),) * 2, "stride_2 0 must be positive"),
        ("kernel_size: 1", ((1, 2, 4, 4), (1, 2, 4, 5)), "1x2x4x4 and 1x2x4x5"),
        ("kernel_size: 1", ((2, 4, 4),) * 2, "N x C x H x W"),
        ("kernel_size: 1 max_displacement: 2", ((1, 2, 4, 4),) * 2, "make pad larger"),
    ],
)
def test_what_does_not_fit(fields, shapes, words):
    with pytest.raises(Error, match=words):
        make_net(correlation(fields), dict(zip("ab", shapes, strict=True)))
