"""What OpenCV 4's importer reads runs here from the same files, with the same numbers."""

import numpy as np
import pytest
from net_text import conv, input_layers, layer, normal

import pydl
from pydl import prototxt, zoo

cv2 = pytest.importorskip("cv2", reason="OpenCV 4 is not installed")

IMAGE = {"x": normal(1, 4, 6, 5)}
PAIR = IMAGE | {"z": normal(1, 4, 6, 5, seed=1)}
ROIS = np.float32([[0, 1, 2, 9, 11], [0, 0, 0, 13, 11], [0, 4, 4, 4, 4], [0, 7, 3, 12, 6]])
PRIORS = np.float32([
    *([0.0, 0.0, 0.4, 0.5], [0.1, 0.0, 0.5, 0.5], [0.5, 0.0, 1.0, 0.5], [0.0, 0.5, 0.5, 1.0]),
    *([0.5, 0.5, 1.0, 1.0], [0.2, 0.2, 0.8, 0.8], *[[0.1, 0.1, 0.2, 0.2]] * 6),
]).reshape(1, 2, 24)  # fmt: skip
BOXES = {
    "loc": normal(1, 24),
    "conf": np.random.default_rng(0).dirichlet(np.ones(3), 6).reshape(1, 18).astype(np.float32),
    "prior": PRIORS,
}
FOUND = (
    "num_classes: 3 keep_top_k: 7 confidence_threshold: 0.1 share_location: true "
    "background_label_id: 0 nms_param { nms_threshold: 0.4 top_k: 5 }"
)

# name: (prototxt, inputs)
LAYERS = {
    "AbsVal": (layer("AbsVal"), IMAGE),
    "BNLL": (layer("BNLL"), IMAGE),
    "BatchNorm": (layer("BatchNorm", "batch_norm_param { eps: 0.01 }"), IMAGE),
    "Concat": (layer("Concat", bottoms="x z"), PAIR),
    "Convolution": (conv("3 kernel_size: 3 pad: 1 stride: 2"), IMAGE),
    "Convolution dilated": (conv("4 kernel_size: 3 pad: 2 dilation: 2 group: 2"), IMAGE),
    "Crop": (layer("Crop", "crop_param { axis: 2 offset: 1 }", "x z"),
             IMAGE | {"z": normal(1, 2, 3, 2)}),
    "Deconvolution": (
        conv("4 kernel_size: 4 pad: 1 stride: 2").replace("Convolution", "Deconvolution"), IMAGE),
    "DetectionOutput": (
        layer("DetectionOutput", f"detection_output_param {{ {FOUND} code_type: CORNER }}",
              "loc conf prior"), BOXES),
    "DetectionOutput by centre": (
        layer("DetectionOutput", f"detection_output_param {{ {FOUND} code_type: CENTER_SIZE }}",
              "loc conf prior"), BOXES),
    "Dropout": (layer("Dropout"), IMAGE),
    "ELU": (layer("ELU"), IMAGE),
    "Eltwise": (layer("Eltwise", "eltwise_param { operation: SUM coeff: 2 coeff: -1 }", "x z"),
                PAIR),
    "Eltwise MAX": (layer("Eltwise", "eltwise_param { operation: MAX }", "x z"), PAIR),
    "Exp": (layer("Exp", "exp_param { base: 2 scale: 0.5 shift: 1 }"), IMAGE),
    "Flatten": (layer("Flatten"), IMAGE),
    "InnerProduct": (
        layer("InnerProduct", "inner_product_param { num_output: 7 "
              'weight_filler { type: "xavier" } }'), IMAGE),
    "Interp": (layer("Interp", "interp_param { height: 11 width: 9 }"), IMAGE),
    "Interp zoom": (layer("Interp", "interp_param { zoom_factor: 3 }"), IMAGE),
    "LRN": (layer("LRN", "lrn_param { local_size: 3 alpha: 0.5 }"), IMAGE),
    "Log": (layer("Log"), {"x": np.abs(normal(1, 4, 6, 5)) + 0.1}),
    "MVN": (layer("MVN"), IMAGE),
    "Mish": (layer("Mish"), IMAGE),
    "HardSwish": (layer("HardSwish"), {"x": 3 * normal(1, 4, 6, 5)}),
    "Normalize": (layer("Normalize", "norm_param { across_spatial: false "
                        "channel_shared: false scale_filler { type: \"constant\" value: 20 } }"),
                  IMAGE),
    "PReLU": (layer("PReLU"), IMAGE),
    "PSROIPooling": (
        layer("PSROIPooling", "psroi_pooling_param { spatial_scale: 0.5 output_dim: 2 "
              "group_size: 3 }", "x r"), {"x": normal(1, 18, 8, 9), "r": ROIS}),
    "Permute": (layer("Permute", "permute_param { order: 0 order: 2 order: 3 order: 1 }"), IMAGE),
    "Pooling": (layer("Pooling", "pooling_param { kernel_size: 3 stride: 2 }"), IMAGE),
    "Pooling AVE": (
        layer("Pooling", "pooling_param { pool: AVE kernel_size: 3 stride: 2 pad: 1 }"), IMAGE),
    "Power": (layer("Power", "power_param { power: 2 scale: 0.5 shift: 1 }"), IMAGE),
    "PriorBox": (
        layer("PriorBox", "prior_box_param { min_size: 4 max_size: 9 aspect_ratio: 2 "
              "aspect_ratio: 3 flip: true clip: false variance: 0.1 variance: 0.1 variance: 0.2 "
              "variance: 0.2 }", "x z"), IMAGE | {"z": normal(1, 3, 48, 40)}),
    "PriorBox steps": (
        layer("PriorBox", "prior_box_param { min_size: 4 min_size: 7 clip: true step: 8 "
              "offset: 0.25 variance: 0.1 }", "x z"), IMAGE | {"z": normal(1, 3, 48, 40)}),
    "ROIPooling": (
        layer("ROIPooling", "roi_pooling_param { pooled_h: 3 pooled_w: 2 spatial_scale: 0.5 }",
              "x r"), {"x": normal(1, 3, 7, 8), "r": ROIS}),
    "ReLU": (layer("ReLU", "relu_param { negative_slope: 0.1 }"), IMAGE),
    "ReLU6": (layer("ReLU6"), {"x": 5 * normal(1, 4, 6, 5)}),
    "Reorg": (layer("Reorg", "reorg_param { stride: 2 }"), {"x": normal(1, 4, 6, 8)}),
    "Reshape": (layer("Reshape", "reshape_param { shape { dim: 0 dim: -1 dim: 10 } }"), IMAGE),
    "Scale": (layer("Scale", "scale_param { bias_term: true }"), IMAGE),
    "ShuffleChannel": (layer("ShuffleChannel", "shuffle_channel_param { group: 2 }"), IMAGE),
    "Sigmoid": (layer("Sigmoid"), IMAGE),
    "Slice": (layer("Slice", "slice_param { axis: 1 slice_point: 1 }", tops="y u", name="s"),
              IMAGE),
    "Softmax": (layer("Softmax", "softmax_param { axis: 1 }"), IMAGE),
    "Split": (layer("Split", tops="y u", name="s"), IMAGE),
    "Swish": (layer("Swish"), IMAGE),
    "TanH": (layer("TanH"), IMAGE),
    "ConvolutionDepthwise": (
        conv("4 kernel_size: 3 pad: 1 stride: 1").replace("Convolution", "ConvolutionDepthwise"),
        IMAGE),
}  # fmt: skip


def fill(net):
    """Values that leave the activations of a deep net near 1."""
    rng = np.random.default_rng(1)
    for i in range(net._core.layer_count):
        row = net._core.layer(i)
        blobs = [blob.data for blob in net.params.get(row.name, ())]
        if row.type == "BatchNorm":
            blobs[0][...] = 0.1 * rng.standard_normal(blobs[0].shape)
            blobs[1][...], blobs[2][...] = rng.uniform(0.5, 1.5, blobs[1].shape), 1
        elif blobs:
            fan = np.prod(blobs[0].shape[1:]) if blobs[0].ndim > 1 else 0
            blobs[0][...] = (
                rng.standard_normal(blobs[0].shape) / np.sqrt(fan)
                if fan
                else rng.uniform(0.5, 1.5, blobs[0].shape)
            )
            for bias in blobs[1:]:
                bias[...] = 0.1 * rng.standard_normal(bias.shape)


def both(message, inputs, folder):
    """The outputs of a net in pydl, and those of OpenCV for the same files, as {name: array}."""
    net = pydl.Net(message, phase="TEST")
    fill(net)
    files = folder / "net.prototxt", folder / "net.caffemodel"
    files[0].write_text(str(message))
    net.save(files[1])
    theirs = cv2.dnn.readNetFromCaffe(*map(str, files))
    for name, value in inputs.items():
        theirs.setInput(np.float32(value), name)
    names = theirs.getUnconnectedOutLayersNames()
    return net.forward(**inputs), dict(zip(names, theirs.forward(names), strict=True))


def in_order(rows):
    """Detections by class, then score, as SSD gives them; OpenCV's classes have no order."""
    rows = rows.reshape(-1, 7)
    return rows[np.lexsort((-rows[:, 2], rows[:, 1]))]


@pytest.mark.parametrize("name", LAYERS)
def test_layers(name, tmp_path):
    text, inputs = LAYERS[name]
    ours, theirs = both(prototxt.parse(input_layers(inputs) + text), inputs, tmp_path)
    (want, *_) = theirs.values()
    if "DetectionOutput" in name:
        ours["y"], want = in_order(ours["y"]), in_order(want)
    np.testing.assert_allclose(np.ravel(ours["y"]), np.ravel(want), rtol=2e-5, atol=2e-5)


def test_axpy_multiplies_the_second_bottom(tmp_path):
    """As SENet's own layer; OpenCV 4 reads the second and the third the other way round."""
    text, inputs = layer("Axpy", bottoms="a x z"), {"a": normal(1, 4, 1, 1, seed=2)} | PAIR
    message = prototxt.parse(input_layers(inputs) + text)
    ours, theirs = both(message, inputs, tmp_path)
    a, x, z = inputs.values()
    np.testing.assert_allclose(ours["y"], a * x + z, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(theirs["y"], a * z + x, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    "name",
    ["nin", "googlenet", "resnet18", "squeezenet1_1", "mobilenet_v1", "mobilenet_v2",
     "shufflenet_v1", "shufflenet_v2", "efficientnet_b0"],
)  # fmt: skip
def test_nets_of_the_zoo(name, tmp_path):
    message = zoo.load(name)
    data = normal(1, *zoo.entry(name).input)
    ours, theirs = both(message, {"data": data}, tmp_path)
    scale = np.abs(theirs["prob"]).max()
    np.testing.assert_allclose(ours["prob"], theirs["prob"], rtol=0, atol=2e-5 * scale)


def test_a_detector_of_the_zoo(tmp_path):
    """The boxes that MobileNet-SSD finds, when its scores are far from one another."""
    message = zoo.load("mobilenet_ssd")
    for row in message.layer:
        if row.type == "DetectionOutput":
            row.detection_output_param.confidence_threshold = 0.06
    ours, theirs = both(message, {"data": normal(1, 3, 300, 300)}, tmp_path)
    found, want = ours["detection_out"].reshape(-1, 7), in_order(theirs["detection_out"])
    assert 10 < len(found) == len(want)
    np.testing.assert_array_equal(found[:, :2], want[:, :2])
    np.testing.assert_allclose(found[:, 2:], want[:, 2:], rtol=1e-4, atol=1e-4)
