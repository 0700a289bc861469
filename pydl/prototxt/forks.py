"""Fields that Caffe's forks added to messages, other than those that layers declare.

Most pydl has no use for: settings of their own engines, of GPUs and of clusters. They are read and
checked, and change nothing; `pydl.Solver.notes` names those of solvers. Those by which Intel's
Caffe lets a layer do the work of another are written out, see `pydl.prototxt.intel`. What is left
stands in `pydl.prototxt.definitions`.
"""

from __future__ import annotations

from typing import Any

NVIDIA, INTEL, SSD, PSPNET = "NVIDIA's Caffe", "Intel's Caffe", "SSD", "PSPNet's Caffe"
FLOWNET = "FlowNet's Caffe"

_STORAGE = {"DOUBLE": 0, "FLOAT": 1, "FLOAT16": 2, "INT": 3, "UINT": 4, "BOOL": 5}


def _field(fork: str, name: str, type: str, repeated: bool = False, **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "type": type,
        "repeated": repeated,
        "default": None,
        "help": f"of {fork}, without effect",
        "ignored": True,
        **more,
    }


def _enum(fork: str, name: str, values: dict[str, int]) -> dict[str, Any]:
    return _field(fork, name, "enum", enum=values)


def _message(fork: str, name: str, *fields: dict[str, Any]) -> dict[str, Any]:
    return _field(fork, name, "message", message={"name": name, "fields": list(fields)})


def _fields(fork: str, type: str, *names: str, repeated: bool = False) -> list[dict[str, Any]]:
    return [_field(fork, name, type, repeated) for name in names]


_NET = [
    _field(INTEL, "engine", "string"),
    _message(
        INTEL,
        "compile_net_state",
        *_fields(INTEL, "bool", "is_init", "bn_scale_remove", "bn_scale_merge"),
        _field(INTEL, "kept_bn_layers", "string", repeated=True),
    ),
    _message(
        INTEL,
        "multinode",
        {
            **_message(
                INTEL,
                "model_parallel",
                *_fields(INTEL, "string", "layer_from", "layer_to"),
                *_fields(INTEL, "uint32", "num_nodes", "model_parts"),
            ),
            "repeated": True,
        },
        _message(
            INTEL,
            "compress_layer_type_list",
            _field(INTEL, "layer_type", "string", repeated=True),
        ),
    ),
    _enum(NVIDIA, "default_forward_type", _STORAGE),
    _enum(NVIDIA, "default_backward_type", _STORAGE),
    _enum(NVIDIA, "default_forward_math", _STORAGE),
    _enum(NVIDIA, "default_backward_math", _STORAGE),
    _field(NVIDIA, "global_grad_scale", "float"),
    _field(NVIDIA, "global_grad_scale_adaptive", "bool"),
    _field(NVIDIA, "default_conv_algos_override", "string"),
    *_fields(NVIDIA, "int32", "reduce_buckets", "default_cudnn_math_override"),
    *_fields(NVIDIA, "bool", "eltwise_mult_grad", "quantize"),
    _message(
        PSPNET,
        "mem_param",
        *_fields(PSPNET, "bool", "optimize_train", "optimize_test"),
        _field(PSPNET, "exclude_blob", "string", repeated=True),
    ),
]

_LAYER = [
    _enum(NVIDIA, "forward_type", _STORAGE),
    _enum(NVIDIA, "backward_type", _STORAGE),
    _enum(NVIDIA, "forward_math", _STORAGE),
    _enum(NVIDIA, "backward_math", _STORAGE),
    _field(NVIDIA, "debug", "bool"),
    _field(NVIDIA, "cudnn_math_override", "int32"),
    _field(INTEL, "engine", "string"),
    _message(INTEL, "multinode", *_fields(INTEL, "uint32", "num_nodes", "model_parts")),
    _message(
        INTEL,
        "mn_activation_param",
        *_fields(
            INTEL, "uint32", "num_nodes_in", "num_nodes_out", "model_parts_in", "model_parts_out"
        ),
        _field(INTEL, "need_reduce", "bool"),
    ),
    _message(
        INTEL,
        "mn_grad_compress_param",
        _field(INTEL, "param_grad_compress_enable", "bool", repeated=True),
    ),
    _message(
        INTEL,
        "quantization_param",
        _enum(INTEL, "precision", {"DYNAMIC_FIXED_POINT": 0}),
        _enum(INTEL, "rounding_scheme", {"NEAREST": 0}),
        *_fields(INTEL, "uint32", "bw_layer_in", "bw_layer_out", "bw_params"),
        *_fields(INTEL, "int32", "fl_layer_in", "fl_layer_out", "fl_params", repeated=True),
        *_fields(INTEL, "float", "scale_in", "scale_out", "scale_params", repeated=True),
    ),
    _message(
        INTEL, "split_param", _enum(INTEL, "engine", {"DEFAULT": 0, "CAFFE": 1, "MKL2017": 3,
                                                      "MKLDNN": 4}),
    ),
]  # fmt: skip

_SOLVER = [
    _enum(NVIDIA, "solver_data_type", _STORAGE),
    *_fields(NVIDIA, "bool", "store_blobs_in_old_format", "per_parameter_reduce"),
    _field(INTEL, "engine", "string"),
    _field(INTEL, "disabled_update", "bool"),
]

_ENGINE = _enum(INTEL, "engine", {"DEFAULT": 0, "CAFFE": 1, "CUDNN": 2, "MKL2017": 3, "MKLDNN": 4})


def _written_out(name: str, type: str, help: str) -> dict[str, Any]:
    return {**_field(INTEL, name, type), "help": f"of {INTEL}: {help}", "ignored": False}


_RELU = _written_out("relu", "bool", "a ReLU layer follows")

WRITTEN_OUT: dict[str, list[dict[str, Any]]] = {
    "NetParameter": [
        _written_out("bn_stats_batch_size", "uint32", "stats_batch_size of BatchNorm layers")
    ],
    "convolution_param": [_RELU, _written_out("negative_slope", "float", "that of relu")],
    "batch_norm_param": [_RELU],
}

# Message -> its fields.
IGNORED: dict[str, list[dict[str, Any]]] = {
    "NetParameter": _NET,
    "LayerParameter": _LAYER,
    "SolverParameter": _SOLVER,
    "convolution_param": [
        _enum(NVIDIA, "cudnn_convolution_algo_seeker", {"GET": 0, "FINDEX": 1}),
        _field(NVIDIA, "conv_algos_override", "string"),
    ],
    "batch_norm_param": [_ENGINE],
    "bn_param": [_ENGINE],
    "concat_param": [_ENGINE],
    "eltwise_param": [_ENGINE],
    "inner_product_param": [_ENGINE],
    "data_param": [*_fields(NVIDIA, "uint32", "threads", "parser_threads"),
                   _field(NVIDIA, "cache", "bool")],
    "image_data_param": [*_fields(NVIDIA, "uint32", "threads"), _field(NVIDIA, "cache", "bool")],
    "transform_param": [
        *_fields(NVIDIA, "bool", "use_gpu_transform", "display"),
        _field(NVIDIA, "random_seed", "int64"),
        _field(NVIDIA, "num_labels", "int32"),
    ],
}  # fmt: skip

# Fields that change what is computed, and that pydl does not have.
FOREIGN = {
    "detectnet_groundtruth_param": NVIDIA,
    "detectnet_augmentation_param": NVIDIA,
    "img_rand_resize_lower": NVIDIA,
    "img_rand_resize_upper": NVIDIA,
    "var_sz_img_enabled": NVIDIA,
    "rand_resize_policy_param": NVIDIA,
    "random_resize_param": INTEL,
    "random_aspect_ratio_param": INTEL,
    "flow": INTEL,
    "spatial_dropout_param": INTEL,
    "simpler_nms_param": INTEL,
    "eval_detection_param": INTEL,
    "video_data_param": SSD,
    "multi_stage_meanfield_param": "CRF-RNN's Caffe",
    "dense_crf_param": PSPNET,
    "video_param": "C3D's Caffe",
    "coeff_schedule_param": FLOWNET,
    "chromatic_eigvec": FLOWNET,
    "rotate": FLOWNET,
    "squeeze": FLOWNET,
    "translate": FLOWNET,
}


def with_fork_fields(message: str, fields: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The fields of a message, and behind them those that forks added and no layer declares.

    >>> [field["name"] for field in with_fork_fields("bn_param", [])]
    ['engine']
    """
    known = {field["name"] for field in fields}
    added = [*WRITTEN_OUT.get(message, ()), *IGNORED.get(message, ())]
    return [*fields, *(field for field in added if field["name"] not in known)]
