"""FlowNet's FlowWarp and Resample against numpy."""

import numpy as np
import pytest
from net_text import layer, make_net, normal

from pydl import Error
from pydl.gradient_check import check_gradients


def warp(image, flow, fill=0.0):
    """Plainly, after FlowNet 2's kernel."""
    n, _, h, w = image.shape
    out = np.full(image.shape, fill, np.float64)
    for b in range(n):
        for i in range(h):
            for j in range(w):
                x, y = j + flow[b, 0, i, j], i + flow[b, 1, i, j]
                if not (0 <= x < w and 0 <= y < h):
                    continue
                left, top = int(x), int(y)
                right, bottom = min(left + 1, w - 1), min(top + 1, h - 1)
                u, v = x - left, y - top
                out[b, :, i, j] = (
                    (1 - u) * (1 - v) * image[b, :, top, left]
                    + u * (1 - v) * image[b, :, top, right]
                    + (1 - u) * v * image[b, :, bottom, left]
                    + u * v * image[b, :, bottom, right]
                )
    return out


class TestFlowWarp:
    @pytest.mark.parametrize("fill", ["ZERO", "NOT_A_NUMBER"])
    def test_forward(self, fill):
        inputs = {"x": normal(2, 3, 6, 7), "flow": 3 * normal(2, 2, 6, 7, seed=1)}
        text = layer("FlowWarp", f"flow_warp_param {{ fill_value: {fill} }}", bottoms="x flow")
        y = make_net(text, inputs).forward(**inputs)["y"]
        want = warp(inputs["x"], inputs["flow"], 0 if fill == "ZERO" else np.nan)
        assert np.isnan(want).any() == (fill != "ZERO")
        np.testing.assert_allclose(y, want, rtol=1e-5, atol=1e-5)

    def test_gradient(self):
        flow = normal(1, 2, 5, 6, seed=1)
        near = np.abs(flow - np.round(flow)) < 0.1  # where a step would leave the four pixels
        flow[near] += 0.3
        inputs = {"x": normal(1, 2, 5, 6), "flow": flow}
        check_gradients(layer("FlowWarp", bottoms="x flow"), inputs)

    def test_flow_that_is_none(self):
        flow = np.full((1, 2, 3, 3), np.nan, np.float32)
        flow[0, :, 0] = 1e30
        inputs = {"x": normal(1, 2, 3, 3), "flow": flow}
        y = make_net(layer("FlowWarp", bottoms="x flow"), inputs).forward(**inputs)["y"]
        np.testing.assert_array_equal(y, np.zeros((1, 2, 3, 3)))

    def test_what_does_not_fit(self):
        with pytest.raises(Error, match="its flow N x 2 x H x W, got 1x2x3x3 and 1x3x3x3"):
            make_net(layer("FlowWarp", bottoms="x f"), {"x": (1, 2, 3, 3), "f": (1, 3, 3, 3)})


def cubic(x):
    x = np.abs(x)
    return np.where(x <= 1, x * x * (1.5 * x - 2.5) + 1,
                    np.where(x < 2, x * (x * (-0.5 * x + 2.5) - 4) + 2, 0))  # fmt: skip


def resample(image, h, w, kind="LINEAR", antialias=True):
    """Plainly, after FlowNet's kernel."""
    size = image.shape[2:]
    fy, fx = size[0] / h, size[1] / w
    out = np.zeros((*image.shape[:2], h, w))
    for i in range(h):
        for j in range(w):
            x, y = j * fx + fy / 2 - 0.5, i * fy + fx / 2 - 0.5
            middle = [int(np.floor(abs(v) + 0.5) * np.sign(v)) for v in (y, x)]
            if kind == "NEAREST":
                row, column = np.clip(middle, 0, np.subtract(size, 1))
                out[..., i, j] = image[..., row, column]
                continue
            wide = antialias and (fx > 1 or fy > 1)
            ay, ax = (1 / f if wide else 1.0 for f in (fy, fx))
            width = 4 if kind == "CUBIC" else 2
            ry, rx = (2 if f < 1 else int(np.ceil(width / a)) for f, a in ((fy, ay), (fx, ax)))
            total, weights = 0, 0
            for r in range(max(middle[0] - ry, 0), min(middle[0] + ry, size[0] - 1) + 1):
                for c in range(max(middle[1] - rx, 0), min(middle[1] + rx, size[1] - 1) + 1):
                    dy, dx = ay * (y - r), ax * (x - c)
                    if kind == "CUBIC":
                        weight = cubic(dy) * cubic(dx)
                    else:
                        weight = max(1 - abs(dy), 0) * max(1 - abs(dx), 0)
                    total = total + weight * image[..., r, c]
                    weights += weight
            out[..., i, j] = total / weights if weights else 0
    return out


class TestResample:
    @pytest.mark.parametrize("antialias", ["true", "false"])
    @pytest.mark.parametrize("kind", ["NEAREST", "LINEAR", "CUBIC"])
    @pytest.mark.parametrize("size", [(4, 5), (12, 14), (3, 13), (6, 7), (1, 1)])
    def test_forward(self, size, kind, antialias):
        inputs = {"x": normal(2, 3, 6, 7)}
        fields = f"height: {size[0]} width: {size[1]} type: {kind} antialias: {antialias}"
        net = make_net(layer("Resample", f"resample_param {{ {fields} }}"), inputs)
        want = resample(inputs["x"].astype(np.float64), *size, kind, antialias == "true")
        np.testing.assert_allclose(net.forward(**inputs)["y"], want, rtol=1e-4, atol=2e-5)

    @pytest.mark.parametrize("kind", ["NEAREST", "LINEAR", "CUBIC"])
    def test_gradient(self, kind):
        for size in ((3, 9), (8, 2)):
            fields = f"height: {size[0]} width: {size[1]} type: {kind}"
            check_gradients(
                layer("Resample", f"resample_param {{ {fields} }}"), {"x": (1, 2, 5, 6)}
            )

    def test_sizes(self):
        text = layer("Resample", bottoms="x like")
        net = make_net(text, {"x": (1, 2, 5, 6), "like": (3, 1, 9, 4)})
        assert net.blobs["y"].shape == (1, 2, 9, 4)
        net = make_net(layer("Resample", "resample_param { factor: 0.5 }"), {"x": (1, 2, 6, 8)})
        assert net.blobs["y"].shape == (1, 2, 3, 4)

    @pytest.mark.parametrize(
        ("fields", "words"),
        [
            ("", "needs height and width, or a second bottom"),
            ("type: AREA height: 2 width: 2", "AREA is not computed"),
        ],
    )
    def test_what_does_not_fit(self, fields, words):
        with pytest.raises(Error, match=words):
            make_net(layer("Resample", f"resample_param {{ {fields} }}"), {"x": (1, 2, 5, 6)})
