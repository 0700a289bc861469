"""FlowNet's Accum and DataAugmentation against numpy."""

import numpy as np
import pytest
from data_files import message
from net_text import input_layers, layer, make_net, normal

import pydl
from pydl import prototxt
from pydl.gradient_check import check_gradients


def resized(x, height, width):
    """Between aligned corners, plainly."""
    out = x.astype(np.float64)
    for axis, size in ((2, height), (3, width)):
        old = out.shape[axis]
        place = np.arange(size) * ((old - 1) / (size - 1) if size > 1 else 0)
        lower = np.minimum(np.floor(place).astype(int), old - 1)
        upper = np.minimum(lower + 1, old - 1)
        weight = (place - lower).reshape([-1 if a == axis else 1 for a in range(4)])
        out = (1 - weight) * out.take(lower, axis) + weight * out.take(upper, axis)
    return out


IMAGES = {"a": normal(2, 3, 4, 6), "b": normal(2, 1, 5, 3, seed=1), "c": normal(2, 2, 5, 6, seed=2)}
SIZES = {
    "largest": ("", (5, 6)),
    "given": ("top_height: 9 top_width: 7", (9, 7)),
    "given, but too small along one axis": ("top_height: 9 top_width: 6", (5, 6)),
    "divisible": ("size_divisible_by: 4", (8, 8)),
    "divisible before given": ("size_divisible_by: 8 top_height: 20 top_width: 20", (8, 8)),
    "divisible, as it is along one axis": ("size_divisible_by: 3", (5, 6)),
}


def accum(fields, inputs=IMAGES):
    return layer("Accum", f"accum_param {{ {fields} }}", " ".join(inputs))


class TestAccum:
    @pytest.mark.parametrize("name", SIZES)
    def test_forward(self, name):
        fields, size = SIZES[name]
        y = make_net(accum(fields), IMAGES).forward(**IMAGES)["y"]
        want = np.concatenate([resized(x, *size) for x in IMAGES.values()], 1)
        np.testing.assert_allclose(y, want, rtol=1e-5, atol=1e-6)

    def test_the_size_of_a_reference(self):
        inputs = {**IMAGES, "like": normal(1, 7, 3, 8)}
        y = make_net(accum("have_reference: true", inputs), inputs).forward(**inputs)["y"]
        want = np.concatenate([resized(x, 3, 8) for x in IMAGES.values()], 1)
        np.testing.assert_allclose(y, want, rtol=1e-5, atol=1e-6)

    @pytest.mark.parametrize("fields", ["", "size_divisible_by: 4", "have_reference: true"])
    def test_gradient(self, fields):
        check_gradients(accum(fields), IMAGES)

    def test_one_image_stays_what_it_is(self):
        x = normal(1, 3, 4, 5)
        np.testing.assert_array_equal(make_net(accum("", "x"), {"x": x}).forward(x=x)["y"], x)

    @pytest.mark.parametrize(
        ("fields", "inputs", "problem"),
        [
            ("", {"x": (2, 3)}, "needs bottoms of 4 axes (N, C, H, W), got shape 2x3"),
            ("", {"x": (1, 3, 4, 4), "z": (2, 3, 4, 4)}, "must have as many images"),
            ("have_reference: true", {"x": (1, 3, 4, 4)}, "give another bottom in front of it"),
            ("", {"x": (1, 3, 0, 4)}, "got shape 1x3x0x4"),
        ],
    )
    def test_says_what_is_wrong(self, fields, inputs, problem):
        assert problem in message(make_net, accum(fields, inputs), inputs)


def augmentation(fields):
    return layer("DataAugmentation", f"augmentation_param {{ {fields} }}")


PICTURES = 100 + 20 * normal(2, 3, 4, 5)


class TestDataAugmentation:
    @pytest.mark.parametrize("per_pixel", [False, True])
    def test_a_mean_that_was_learned(self, per_pixel):
        text = augmentation(f"recompute_mean: 1000 mean_per_pixel: {str(per_pixel).lower()} "
                            "crop_height: 4 crop_width: 5 max_multiplier: 1")  # fmt: skip
        net = make_net(text, {"x": PICTURES}, phase="TEST")
        passes, picture, means = net.params["y"]
        passes.data[...] = 1000
        picture.data[...] = normal(1, 3, 4, 5, seed=1)
        means.data[...] = normal(1, 3, 1, 1, seed=2)
        want = PICTURES - (picture if per_pixel else means).data
        np.testing.assert_allclose(net.forward(x=PICTURES)["y"], want, rtol=1e-6)
        np.testing.assert_array_equal(means.data, normal(1, 3, 1, 1, seed=2))
        assert passes.data[0] == 1001

    @pytest.mark.parametrize("per_pixel", [False, True])
    def test_a_mean_that_is_being_learned(self, per_pixel):
        net = make_net(
            augmentation(f"recompute_mean: 2 mean_per_pixel: {str(per_pixel).lower()}"),
            {"x": PICTURES},
        )
        batches = [PICTURES, 3 * normal(2, 3, 4, 5, seed=1), normal(2, 3, 4, 5, seed=2)]
        axes = (0,) if per_pixel else (0, 2, 3)
        for count, batch in zip((1, 2, 2), batches, strict=True):
            mean = np.mean([b.mean(axes, keepdims=True) for b in batches[:count]], 0)
            y = net.forward(x=batch)["y"]
            np.testing.assert_allclose(y, batch - mean, rtol=1e-4, atol=1e-4)

    def test_a_given_mean(self):
        y = make_net(augmentation("mean: 1 mean: 2 mean: 3 mean_per_pixel: false"),
                     {"x": PICTURES}).forward(x=PICTURES)["y"]  # fmt: skip
        np.testing.assert_array_equal(y, PICTURES - np.float32([1, 2, 3]).reshape(3, 1, 1))

    def test_no_mean(self):
        y = make_net(augmentation(""), {"x": PICTURES}).forward(x=PICTURES)["y"]
        np.testing.assert_array_equal(y, PICTURES)

    def test_gradient(self):
        check_gradients(augmentation("mean: 1 mean: 2 mean: 3 mean_per_pixel: false"),
                        {"x": (2, 3, 4, 5)})  # fmt: skip

    @pytest.mark.parametrize("per_pixel", [False, True])
    def test_gradient_while_the_mean_is_learned(self, per_pixel):
        text = augmentation(f"recompute_mean: 2 mean_per_pixel: {str(per_pixel).lower()}")
        message = prototxt.parse(input_layers({"x": PICTURES}) + text)
        message.force_backward = True
        net = pydl.Net(message, phase="TRAIN")
        x, direction, dy = (normal(2, 3, 4, 5, seed=seed) for seed in (1, 2, 3))

        def second_pass(x):
            for blob in net.params["y"]:
                blob.data[...] = 0
            net.forward(x=PICTURES)
            return net.forward(x=x)["y"].astype(np.float64)

        change = (second_pass(x + direction) - second_pass(x - direction)) / 2  # it is linear
        net.blobs["y"].diff[...] = dy
        net.backward()
        slope = np.vdot(net.blobs["x"].diff.astype(np.float64), direction)
        np.testing.assert_allclose(slope, np.vdot(dy, change), rtol=1e-4)

    @pytest.mark.parametrize("suffix", ["caffemodel", "safetensors"])
    def test_weights_for_pictures_of_another_size(self, tmp_path, suffix):
        text = augmentation("recompute_mean: 1")
        net = make_net(text, {"x": PICTURES})
        net.forward(x=PICTURES)
        net.save(tmp_path / f"w.{suffix}")
        other = make_net(text, {"x": (1, 3, 6, 7)})
        other.load(tmp_path / f"w.{suffix}")
        x = normal(1, 3, 6, 7)
        want = x - PICTURES.mean((0, 2, 3)).reshape(3, 1, 1)
        np.testing.assert_allclose(other.forward(x=x)["y"], want, rtol=1e-4, atol=1e-4)
        same = make_net(text, {"x": PICTURES})
        same.load(tmp_path / f"w.{suffix}")
        np.testing.assert_array_equal(same.params["y"][1].data, net.params["y"][1].data)

    def test_pictures_of_another_size_in_one_net(self):
        net = make_net(augmentation("recompute_mean: 1 mean_per_pixel: false"), {"x": PICTURES})
        net.forward(x=PICTURES)
        x = normal(1, 3, 2, 2)
        want = x - PICTURES.mean((0, 2, 3)).reshape(3, 1, 1)
        np.testing.assert_allclose(net.forward(x=x)["y"], want, rtol=1e-4)

    @pytest.mark.parametrize(
        ("fields", "problem"),
        [
            ("crop_height: 3 crop_width: 5", "which is not done here; give a picture of that size"),
            ("mean: 1 mean_per_pixel: false", "mean is given 1 times for 3 channels"),
            ("rotate { rand_type: \"uniform\" }", "it is of FlowNet's Caffe, and pydl does not"),
        ],
    )  # fmt: skip
    def test_says_what_is_wrong(self, fields, problem):
        assert problem in message(make_net, augmentation(fields), {"x": PICTURES})

    def test_a_mean_picture_of_another_size(self):
        net = make_net(augmentation("recompute_mean: 1"), {"x": PICTURES})
        assert "one size is needed" in message(net.forward, x=normal(1, 3, 2, 2))


@pytest.mark.parametrize(
    ("text", "inputs"),
    [
        (accum("size_divisible_by: 4"), IMAGES),
        (augmentation("mean: 1 mean: 2 mean: 3 mean_per_pixel: false"), {"x": PICTURES}),
        (augmentation("recompute_mean: 2"), {"x": PICTURES}),
        (augmentation("recompute_mean: 2 mean_per_pixel: false"), {"x": PICTURES}),
    ],
)
def test_onnx(text, inputs):
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    from pydl.onnx import to_model

    net = make_net(text, inputs, phase="TEST")
    if "recompute" in text:
        assert "its mean is still measured" in message(to_model, net)
    for _ in range(2):
        net.forward(**inputs)
    session = runtime.InferenceSession(to_model(net).SerializeToString())
    (got,) = session.run(None, {name: np.float32(value) for name, value in inputs.items()})
    np.testing.assert_allclose(got, net.forward(**inputs)["y"], rtol=1e-5, atol=1e-5)


def test_opencv_gives_the_same(tmp_path):
    cv2 = pytest.importorskip("cv2", reason="OpenCV 4 is not installed")
    inputs = {name: x[:1] for name, x in IMAGES.items()}
    net = tmp_path / "net.prototxt"
    net.write_text(input_layers(inputs) + accum("top_height: 9 top_width: 7"))
    theirs = cv2.dnn.readNetFromCaffe(str(net))
    for name, value in inputs.items():
        theirs.setInput(value, name)
    want = theirs.forward()
    ours = pydl.Net(prototxt.load_net(net), phase="TEST").forward(**inputs)["y"]
    np.testing.assert_allclose(ours, want, rtol=1e-5, atol=1e-6)
