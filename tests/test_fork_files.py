"""Files of Caffe's forks: prototxt by name, binary models whose numbers clash, what OpenCV took."""

import numpy as np
import pytest
from net_text import conv, input_layers, layer, make_net, normal

import pydl
from pydl import Error, _core, prototxt
from pydl.formats import blobproto, caffemodel, wire

# ---- prototxt ----

INTEL = """
    name: "intel" engine: "MKLDNN" bn_stats_batch_size: 32
    compile_net_state { bn_scale_remove: true kept_bn_layers: "bn1" }
    multinode { model_parallel { layer_from: "c" num_nodes: 0 } }
    layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 dim: 3 dim: 5 dim: 5 } } }
    layer { name: "c" type: "Convolution" bottom: "x" top: "c" engine: "MKLDNN"
      convolution_param { num_output: 2 kernel_size: 3 engine: MKLDNN }
      quantization_param { bw_layer_in: 8 scale_in: 0.5 scale_in: 2 precision: DYNAMIC_FIXED_POINT }
      multinode { num_nodes: 2 } mn_activation_param { need_reduce: false }
      mn_grad_compress_param { param_grad_compress_enable: true } }
    layer { name: "s" type: "Split" bottom: "c" top: "d" top: "e" split_param { engine: MKL2017 } }
    layer { name: "m" type: "Eltwise" bottom: "d" bottom: "e" top: "m"
      eltwise_param { engine: MKLDNN } }
    layer { name: "r" type: "ReLU" bottom: "m" top: "m" relu_param { engine: MKL2017 } }
    layer { name: "cat" type: "Concat" bottom: "m" top: "o" concat_param { engine: MKLDNN } }
"""

NVIDIA = """
    name: "nvidia" default_forward_type: FLOAT16 default_backward_type: FLOAT16
    default_forward_math: FLOAT default_backward_math: FLOAT global_grad_scale: 1000
    default_conv_algos_override: "-1,-1,-1" reduce_buckets: 6 default_cudnn_math_override: -1
    layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 dim: 3 dim: 5 dim: 5 } } }
    layer { name: "c" type: "Convolution" bottom: "x" top: "c"
      forward_type: FLOAT backward_type: FLOAT forward_math: FLOAT backward_math: FLOAT
      debug: true cudnn_math_override: 0
      convolution_param { num_output: 2 kernel_size: 3 engine: CUDNN
        cudnn_convolution_algo_seeker: FINDEX conv_algos_override: "7,5,7" } }
"""

PSPNET = """
    mem_param { optimize_train: true optimize_test: true exclude_blob: "c" }
    layer { name: "x" type: "Input" top: "c" input_param { shape { dim: 1 dim: 3 } } }
"""


class TestPrototxt:
    @pytest.mark.parametrize("text", [INTEL, NVIDIA, PSPNET], ids=["intel", "nvidia", "pspnet"])
    def test_settings_of_other_engines_change_nothing(self, text):
        net = pydl.Net(prototxt.parse(text), phase="TEST")
        net.forward()

    def test_they_are_checked_all_the_same(self):
        with pytest.raises(Error, match="forward_type: .*did you mean"):
            prototxt.parse('layer { name: "c" type: "ReLU" forward_type: FLOAT61 }')
        with pytest.raises(Error, match='unknown field "num_node".*did you mean "num_nodes"'):
            prototxt.parse('layer { name: "c" type: "ReLU" multinode { num_node: 2 } }')

    def test_what_is_missing_is_said_to_be_of_a_fork(self):
        for text, fork in (
            ("transform_param { random_resize_param { min_size: 3 } }", "Intel's Caffe"),
            ("detectnet_groundtruth_param { stride: 4 }", "NVIDIA's Caffe"),
        ):
            with pytest.raises(Error, match=f"it is of {fork}, and pydl does not have it"):
                prototxt.parse(f'layer {{ name: "d" type: "Data" {text} }}')

    def test_they_are_kept_when_a_net_is_written(self):
        message = prototxt.parse(INTEL)
        assert prototxt.parse(prototxt.dumps(message)) == message
        assert message.layer[1].quantization_param.scale_in == [0.5, 2]

    @pytest.mark.parametrize(
        ("name", "kind"),
        [("DENSE_IMAGE_DATA", "DenseImageData"), ("CORRELATION", "Correlation"),
         ("CTC_LOSS", "CtcLoss"), ("WARP_CTC_LOSS", "WarpCTCLoss"), ("PRELU", "PReLU"),
         ("CONVOLUTION3D", "Convolution3D"), ("POOLING3D", "Pooling3D"),
         ("ROI_POOLING", "ROIPooling"), ("SMOOTH_L1_LOSS", "SmoothL1Loss"), ("BN", "BN"),
         ("UPSAMPLE", "Upsample"), ("INTERP", "Interp"), ("NORMALIZE", "Normalize"),
         ("PSROI_POOLING", "PSROIPooling"), ("CONVOLUTION_DEPTHWISE", "ConvolutionDepthwise"),
         ("DATA_AUGMENTATION", "DataAugmentation"), ("ACCUM", "Accum"), ("NMS", "NMS"),
         ("RELU6", "ReLU6"), ("PYTHON", "Python"), ("BATCH_NORM", "BatchNorm")],
    )  # fmt: skip
    def test_types_that_forks_added_to_the_old_form(self, name, kind):
        net = prototxt.parse(f'layers {{ name: "l" type: {name} bottom: "x" top: "y" }}')
        assert net.layer[0].type == kind
        with pytest.raises(Error, match='"DENSE_IMAGE" is not one of'):
            prototxt.parse('layers { name: "l" type: DENSE_IMAGE }')

    def test_a_data_layers(self):
        text = """layer { name: "d" type: "Data" top: "x" data_param { source: "mnist_sample/train"
            batch_size: 2 threads: 4 parser_threads: 2 cache: true shuffle: true }
            transform_param { use_gpu_transform: false random_seed: 7 scale: 0.5 } }"""
        net = pydl.Net(prototxt.parse(text), phase="TRAIN")
        assert net.forward()["x"].max() <= 127.5

    def test_one_message_by_two_layer_types(self):
        """A message that types share has the fields of all of them; each type's own come first."""
        schema = {"name": "p", "fields": []}
        number = {"name": "a", "type": "int32", "repeated": False, "default": 1, "help": ""}
        text = {"name": "a", "type": "string", "repeated": False, "default": "", "help": ""}
        other = {"name": "b", "type": "bool", "repeated": False, "default": False, "help": ""}
        prototxt.schema.use_declarations(
            {
                "One": {"doc": "", "params": {"p": {**schema, "fields": [number]}}},
                "Two": {"doc": "", "params": {"p": {**schema, "fields": [text, other]}}},
            }
        )
        try:
            both = 'layer {{ type: "{}" p {{ a: {} b: true }} }}'
            assert prototxt.parse(both.format("One", 3)).layer[0].p.a == 3
            assert prototxt.parse(both.format("Two", '"x"')).layer[0].p.a == "x"
            with pytest.raises(Error, match="expected an integer"):
                prototxt.parse(both.format("One", '"x"'))
        finally:
            prototxt.schema.use_declarations(None)

    @pytest.mark.parametrize(
        ("phase", "level", "stages", "names"),
        [
            ("TRAIN", None, (), ["x", "train", "rest"]),
            ("TEST", None, (), ["x", "rest"]),
            ("TEST", 2, ("deploy",), ["x", "deploy", "high"]),
        ],
    )
    def test_rules(self, phase, level, stages, names):
        text = (
            input_layers({"x": (1, 2)})
            + layer("ReLU", "include { phase: TRAIN }", tops="a", name="train")
            + layer("ReLU", 'include { stage: "deploy" }', tops="b", name="deploy")
            + layer("ReLU", 'exclude { stage: "deploy" }', tops="c", name="rest")
            + layer("ReLU", "include { min_level: 1 } include { min_level: 2 max_level: 1 }",
                    tops="d", name="high")
        )  # fmt: skip
        net = pydl.Net(prototxt.parse(text), phase=phase, level=level, stages=stages)
        assert [row["name"] for row in net._core.layer_rows()] == names


# ---- unknown layer types ----


class TestUnknownTypes:
    TEXT = 'layer { name: "in" type: "Input" }\nlayer {\n  name: "roi"\n  type: "ROIWarpingg"\n}\n'

    def test_the_error_names_type_layer_and_line_and_ways_out(self):
        with pytest.raises(Error) as caught:
            prototxt.parse(self.TEXT, filename="fork.prototxt")
        message = str(caught.value)
        assert message.startswith('fork.prototxt:4:9: layer "roi": type: "ROIWarpingg" is not a ')
        for way in ("PYDL_REGISTER_LAYER", "pydl.load_layers", "python_param"):
            assert way in message

    def test_before_what_its_fields_are(self):
        text = 'layer { name: "a" warp_param { b: 1 } type: "Zzz" }'
        with pytest.raises(Error, match='layer "a": type: "Zzz" is not a known layer type'):
            prototxt.parse(text)

    def test_in_a_program_that_embeds_the_core(self):
        spec = {"layers": [{"name": "roi", "type": "ROIWarpingg"}]}
        with pytest.raises(Error, match='"ROIWarpingg".*PYDL_REGISTER_LAYER'):
            _core.Net(spec, "all", 0)


# ---- binary models ----

LAYER = 100  # in NetParameter
# Numbers in LayerParameter that mean one thing in Caffe and others in its forks, and contents that
# fit neither.
CLASHES = {
    137: "embed_param; SegNet: upsample_param",
    143: "input_param; DeepLab and PSPNet: interp_param",
    145: "parameter_param; NVIDIA: forward_type",
    146: "recurrent_param; NVIDIA: backward_type; PSPNet: DenseCRF",
    149: "Intel: engine, a string; tvg: psroi_pooling_param",
    150: "NVIDIA: cudnn_math_override, a number; Intel: multinode",
    152: "PSPNet: bn_param; Intel: box_annotator_ohem_param",
    200: "SSD: annotated_data_param; warp-ctc: ctc_loss_param",
    6661: "C3D: convolution3d_param",
    8266711: "roi_pooling_param",
}


def binary_layer(name, kind, blobs, clashes=CLASHES):
    chunks = [wire.text(1, name), wire.text(2, kind), wire.text(3, "x"), wire.text(4, name)]
    for number in clashes:
        chunks += wire.nested(number, [b"\xff\xfe not a message \x00"])
        chunks.append(wire.integer(number, 3))  # the same number with another wire type
    for array in blobs:
        chunks += wire.nested(7, blobproto.chunks(array))
    return b"".join(wire.nested(LAYER, chunks))


def raw_blob(array, code):
    """As NVIDIA's Caffe stores a blob: raw bytes of any type."""
    dims = wire.nested(1, [wire.varint(dim) for dim in array.shape])
    return b"".join(
        [*wire.nested(7, dims), wire.integer(10, code), *wire.nested(12, [array.tobytes()])]
    )


class TestBinary:
    def test_only_what_forks_agree_on_is_read(self, tmp_path):
        weights, bias = normal(2, 3, 3, 3), normal(2, seed=1)
        path = tmp_path / "fork.caffemodel"
        path.write_bytes(wire.text(1, "fork") + binary_layer("y", "Convolution", [weights, bias]))
        (found,) = caffemodel.load(path).layers
        assert (found.name, found.type, found.bottom, found.top) == (
            "y",
            "Convolution",
            ["x"],
            ["y"],
        )
        net = make_net(conv("2 kernel_size: 3"), {"x": (1, 3, 5, 5)}, phase="TEST")
        net.load(path)
        np.testing.assert_array_equal(net.params["y"][0].data, weights)
        np.testing.assert_array_equal(net.params["y"][1].data, bias)

    def test_a_type_of_another_fork_in_the_file_does_not_matter(self, tmp_path):
        weights, bias = normal(2, 3, 3, 3), normal(2, seed=1)
        path = tmp_path / "fork.caffemodel"
        path.write_bytes(
            binary_layer("other", "DenseCRF", [normal(3)])
            + binary_layer("y", "MKLConvolution", [weights, bias])
        )
        net = make_net(conv("2 kernel_size: 3"), {"x": (1, 3, 5, 5)}, phase="TEST")
        net.load(path)
        np.testing.assert_array_equal(net.params["y"][0].data, weights)

    @pytest.mark.parametrize(("code", "dtype"), [(0, "<f8"), (1, "<f4"), (2, "<f2")])
    def test_nvidias_raw_blobs(self, tmp_path, code, dtype):
        weights, bias = normal(2, 3, 3, 3), normal(2, seed=1)
        chunks = [wire.text(1, "y"), wire.text(2, "Convolution")]
        for array in (weights, bias):
            chunks += wire.nested(7, [raw_blob(array.astype(dtype), code)])
        path = tmp_path / "half.caffemodel"
        path.write_bytes(b"".join(wire.nested(LAYER, chunks)))
        net = make_net(conv("2 kernel_size: 3"), {"x": (1, 3, 5, 5)}, phase="TEST")
        net.load(path)
        want = weights.astype(dtype).astype(np.float32)
        np.testing.assert_array_equal(net.params["y"][0].data, want)
        inputs = {"x": normal(1, 3, 5, 5, seed=3)}
        other = make_net(conv("2 kernel_size: 3"), inputs, phase="TEST")
        other.params["y"][0].data[...] = want
        other.params["y"][1].data[...] = bias.astype(dtype)
        np.testing.assert_array_equal(net.forward(**inputs)["y"], other.forward(**inputs)["y"])

    def test_the_anchors_of_a_region_layer(self, tmp_path):
        path = tmp_path / "yolo.caffemodel"
        path.write_bytes(binary_layer("y", "Region", [np.float32([1, 2, 3, 4])]))
        text = layer("Region", "region_param { classes: 1 anchors: 2 softmax: true }")
        net = make_net(text, {"x": (1, 12, 2, 2)}, phase="TEST")
        net.load(path)
        np.testing.assert_array_equal(net.params["y"][0].data, [1, 2, 3, 4])


# ---- OpenCV's list ----

# What OpenCV 4's importer and layer factory knew that a Caffe file can name.
FROM_CAFFE = [
    "AbsVal", "Accum", "Axpy", "BNLL", "BatchNorm", "Concat", "Convolution",
    "ConvolutionDepthwise", "Correlation", "Crop", "DataAugmentation", "Deconvolution",
    "DetectionOutput", "Dropout", "ELU", "Eltwise", "Exp", "Flatten", "FlowWarp",
    "InnerProduct", "Input", "Interp", "LRN", "LSTM", "Log", "MVN", "Mish", "Normalize",
    "PReLU", "PSROIPooling", "Permute", "Pooling", "Power", "PriorBox", "Proposal",
    "ROIPooling", "ReLU", "ReLU6", "Region", "Reorg", "Resample", "Reshape", "Scale",
    "ShuffleChannel", "Sigmoid", "Silence", "Slice", "Softmax", "Split", "Swish", "TanH",
    "Tile", "HardSwish",
]  # fmt: skip

# The others of its factory, and where they come from: no Caffe file names them.
FROM_ELSEWHERE = {
    "ONNX": """Acos Acosh Arg Asin Asinh Atan Atanh Attention Ceil Celu Compare Cos Cosh CumSum
        DepthToSpace Einsum Erf Expand Floor GatherElements Gather Gelu GeluApproximation Gemm
        GroupNormalization HardSigmoid InstanceNormalization LayerNormalization NaryEltwise Not
        Reciprocal Reduce Round Scatter ScatterND Selu Shrink Sign Sin Sinh Softplus Softsign
        SpaceToDepth Sqrt Tan ThresholdedRelu TopK GRU MatMul""",
    "TensorFlow": "Const CropAndResize Padding Resize Shift",
    "Torch 7": "ChannelsPReLU Identity MaxUnpool SoftMax",
    "OpenVINO": "PriorBoxClustered",
    "OpenCV's own names": "NormalizeBBox",
    "quantisation": """BatchNormInt8 ConvolutionInt8 Dequantize EltwiseInt8 InnerProductInt8
        PoolingInt8 Quantize Requantize ScaleInt8 ShiftInt8 SoftmaxInt8""",
}


class TestOpenCv:
    @pytest.mark.parametrize("kind", FROM_CAFFE)
    def test_what_a_caffe_file_can_name_is_here(self, kind):
        assert kind in _core.layer_declarations()

    @pytest.mark.parametrize(
        ("text", "inputs"),
        [
            (layer("Region", "region_param { classes: 3 anchors: 2 softmax: 1 thresh: 0.1 }"),
             {"x": 1.5 * normal(1, 2, 3, 16)}),
            (layer("Correlation", "correlation_param { kernel_size: 3 max_displacement: 2 pad: 3 "
                   "stride_1: 1 stride_2: 2 }", bottoms="x z"),
             {"x": normal(1, 5, 6, 7), "z": normal(1, 5, 6, 7, seed=1)}),
            (layer("FlowWarp", bottoms="x z"),
             {"x": normal(1, 5, 6, 7), "z": 2 * normal(1, 2, 6, 7, seed=1)}),
        ],
        ids=["Region", "Correlation", "FlowWarp"],
    )  # fmt: skip
    def test_the_same_numbers(self, text, inputs, tmp_path):
        cv2 = pytest.importorskip("cv2", reason="OpenCV 4 is not installed")
        net, weights = tmp_path / "net.prototxt", tmp_path / "net.caffemodel"
        net.write_text(input_layers(inputs) + text)
        anchors = [np.float32([1, 1.5, 2.5, 2])] if "Region" in text else []
        weights.write_bytes(binary_layer("y", "", anchors, clashes=()))
        theirs = cv2.dnn.readNetFromCaffe(str(net), str(weights))
        for name, value in inputs.items():
            theirs.setInput(value, name)
        want = theirs.forward()
        ours = pydl.Net(prototxt.load_net(net), phase="TEST")
        if anchors:
            ours.load(weights)
        np.testing.assert_allclose(ours.forward(**inputs)["y"], want, rtol=1e-5, atol=1e-6)

    def test_each_name_stands_once(self):
        elsewhere = " ".join(FROM_ELSEWHERE.values()).split()
        assert len(elsewhere) == len(set(elsewhere))
        assert not set(elsewhere) & set(FROM_CAFFE)

    def test_and_more(self):
        """Caffe's own types that OpenCV refused."""
        known = _core.layer_declarations()
        for kind in ("Bias", "Embed", "ArgMax", "SPP", "Reduction", "Threshold", "BatchReindex",
                     "Filter", "RNN", "Python", "Data", "SoftmaxWithLoss"):  # fmt: skip
            assert kind in known
