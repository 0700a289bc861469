"""Backward passes against differences of forward passes, and that the check itself can fail."""

import numpy as np
import pytest
from net_text import conv, input_layers, layer, make_net, normal

from pydl import Error, _core, prototxt
from pydl.gradient_check import check_gradients

ISAS = _core.kernels.available_isas()


def deconv(fields, **names):
    return conv(fields, **names).replace("Convolution", "Deconvolution")


def pooling(fields):
    return layer("Pooling", f"pooling_param {{ {fields} }}")


IMAGE = {"x": (2, 4, 6, 5)}
LABELS = np.array([2.0, 0, 1, 2, 1])
POSITIVE = np.random.default_rng(2).uniform(0.5, 2, (2, 5, 4, 3))
ROIS = np.array([[0, 1, 2, 9, 11], [1, 0, 0, 13, 11], [0, 4, 4, 4, 4], [1, 7.3, 2.9, 12.1, 6.4],
                 [0, -9, -5, 4, 3], [1, 10, 8, 40, 30]])  # fmt: skip
APART = np.array([[0.0, 0, 3, 4], [5, 5, 9, 8], [20, 1, 25, 9]])  # boxes that do not meet
WIDE = 4 * np.random.default_rng(3).standard_normal((2, 4, 6, 5))
GOES_ON = np.array([[0.0, 1, 1], [1, 1, 0], [1, 0, 1], [1, 1, 1]])  # of 4 steps of 3 sequences
# Six boxes and their variances; two known ones.
PRIORS = np.array([
    *([0.0, 0.0, 0.4, 0.5], [0.1, 0.0, 0.5, 0.5], [0.5, 0.0, 1.0, 0.5], [0.0, 0.5, 0.5, 1.0]),
    *([0.5, 0.5, 1.0, 1.0], [0.2, 0.2, 0.8, 0.8], *[[0.1, 0.1, 0.2, 0.2]] * 6),
]).reshape(1, 2, 24)  # fmt: skip
TRUTH = np.array([[0, 1, 0, 0.05, 0, 0.45, 0.5, 0], [0, 2, 0, 0.5, 0.45, 0.95, 1, 0]])
TRUTH = TRUTH.reshape(1, 1, 2, 8)

# name: (prototxt, inputs, options)
LAYERS = {
    "InnerProduct": (
        layer("InnerProduct", "inner_product_param { num_output: 7 }"), {"x": (5, 6)}, {}),
    "InnerProduct transposed": (
        layer("InnerProduct", "inner_product_param { num_output: 7 transpose: true }"),
        {"x": (3, 4, 2)}, {}),
    "InnerProduct axis": (
        layer("InnerProduct", "inner_product_param { num_output: 3 axis: 2 bias_term: false }"),
        {"x": (2, 3, 4, 2)}, {}),
    "LayerNorm": (layer("LayerNorm"), {"x": (3, 4, 7)}, {}),
    "LayerNorm axis": (
        layer("LayerNorm", "layer_norm_param { axis: 1 eps: 0.1 bias_term: false }"),
        {"x": (3, 4, 5)}, {}),
    "GroupNorm": (
        layer("GroupNorm", "group_norm_param { num_groups: 2 eps: 0.01 }"),
        {"x": (2, 6, 3, 4)}, {}),
    "GroupNorm behind a convolution": (
        conv("6 kernel_size: 1", tops="c")
        + layer("GroupNorm", "group_norm_param { num_groups: 3 }", "c"), {"x": (2, 4, 6, 5)}, {}),
    "InstanceNorm": (
        layer("InstanceNorm", "instance_norm_param { affine: true }"), {"x": (2, 3, 4, 5)}, {}),
    "SiLU": (layer("SiLU"), {"x": WIDE}, {}),
    "Softplus": (layer("Softplus", "softplus_param { beta: 2 }"), {"x": WIDE}, {}),
    "LeakyReLU": (layer("LeakyReLU"), {"x": POSITIVE * [1, -1, 1]}, {}),
    "SELU": (layer("SELU"), {"x": POSITIVE * [1, -1, 1]}, {}),
    "GLU": (layer("GLU", "glu_param { axis: 1 }"), {"x": WIDE}, {}),
    "Maxout": (layer("Maxout"), {"x": WIDE}, {}),
    "L1Loss": (layer("L1Loss", "", "x t"), {"x": POSITIVE, "t": -POSITIVE}, {}),
    "HuberLoss": (layer("HuberLoss", "huber_loss_param { delta: 2 }", "x t"),
                  {"x": POSITIVE, "t": np.zeros((2, 5, 4, 3))}, {}),
    "KLDivLoss": (layer("KLDivLoss", "", "x t"), {"x": (2, 5, 4, 3), "t": POSITIVE}, {}),
    "FocalLoss": (layer("FocalLoss", "propagate_down: true propagate_down: false", "x t"),
                  {"x": (5, 3), "t": np.eye(5, 3)}, {}),
    "FocalLoss softmax": (
        layer("FocalLoss", "focal_loss_param { type: SOFTMAX }", "x l"),
        {"x": (5, 3), "l": LABELS}, {}),
    "CosineEmbeddingLoss": (
        layer("CosineEmbeddingLoss", "cosine_embedding_loss_param { margin: -1 }", "a b l"),
        {"a": (4, 5), "b": (4, 5), "l": np.array([1.0, -1, 1, -1])}, {}),
    "TripletLoss": (
        layer("TripletLoss", "triplet_loss_param { margin: 9 }", "a p n"),
        {"a": (4, 5), "p": (4, 5), "n": (4, 5)}, {}),
    "NegativeSamplingLoss": (
        layer("NegativeSamplingLoss", "negative_sampling_loss_param { num_output: 4 "
              "bias_term: true weight_filler { type: 'gaussian' } }", "x l"),
        {"x": (5, 3), "l": LABELS}, {}),
    "NegativeSamplingLoss nce": (
        layer("NegativeSamplingLoss", "negative_sampling_loss_param { num_output: 3 nce: true "
              "count: 1 count: 5 count: 2 weight_filler { type: 'gaussian' } }", "x l"),
        {"x": (5, 3), "l": LABELS}, {"phase": "TEST"}),
    "SoftmaxWithLoss sample weights": (
        layer("SoftmaxWithLoss", "loss_param { label_smoothing: 0.2 }", "x l w"),
        {"x": (5, 3), "l": LABELS, "w": np.array([1.0, 0, 2, 0.5, 3])}, {}),
    "Gram": (layer("Gram"), {"x": (2, 3, 4, 5)}, {}),
    "TotalVariationLoss": (
        layer("TotalVariationLoss", "total_variation_loss_param { power: 2 }"),
        {"x": (2, 3, 4, 5)}, {}),
    "RMSNorm": (layer("RMSNorm", "rms_norm_param { eps: 0.01 }"), {"x": (3, 4, 7)}, {}),
    "Attention packed": (
        layer("Attention", "attention_param { num_heads: 2 }"), {"x": (2, 5, 18)}, {}),
    "Attention causal": (
        layer("Attention", "attention_param { num_heads: 2 causal: true scale: 0.6 }", "x k v"),
        {"x": (2, 3, 6), "k": (2, 5, 6), "v": (2, 5, 6)}, {}),
    "Attention mask": (
        layer("Attention", "propagate_down: true propagate_down: false attention_param { }", "x m"),
        {"x": (2, 4, 9), "m": np.array([3.0, 0.0])}, {}),
    "MultiHeadAttention": (
        layer("MultiHeadAttention", "multi_head_attention_param { num_heads: 3 causal: true }"),
        {"x": (2, 5, 6)}, {}),
    "MultiHeadAttention rotary": (
        layer("MultiHeadAttention", "multi_head_attention_param { num_heads: 2 rotary_base: 9 }"),
        {"x": (2, 4, 8)}, {}),
    "MultiHeadAttention memory": (
        layer("MultiHeadAttention", "multi_head_attention_param { num_heads: 2 }", "x m m"),
        {"x": (2, 3, 6), "m": (2, 4, 6)}, {}),
    "MultiHeadAttention three": (
        layer("MultiHeadAttention", "multi_head_attention_param { bias_term: false }", "x k v"),
        {"x": (2, 3, 4), "k": (2, 4, 4), "v": (2, 4, 4)}, {}),
    "MultiHeadAttention one blob": (
        layer("MultiHeadAttention", "multi_head_attention_param { num_heads: 2 }", "x x x"),
        {"x": (2, 3, 4)}, {}),
    "PositionalEmbedding": (
        layer("PositionalEmbedding", "positional_embedding_param { max_length: 6 }"),
        {"x": (3, 4, 5)}, {}),
    "PositionalEmbedding sinusoidal": (
        layer("PositionalEmbedding", "positional_embedding_param { type: SINUSOIDAL }"),
        {"x": (3, 4, 5)}, {}),
    "RotaryEmbedding": (
        layer("RotaryEmbedding", "rotary_embedding_param { num_heads: 2 }"), {"x": (2, 5, 8)}, {}),
    "RotaryEmbedding halves": (
        layer("RotaryEmbedding", "rotary_embedding_param { interleaved: false }"),
        {"x": (2, 3, 6)}, {}),
    "GELU": (layer("GELU"), IMAGE, {}),
    "GELU tanh": (layer("GELU", "gelu_param { approximate: TANH }"), IMAGE, {}),
    "Convolution 3x3": (conv("6 kernel_size: 3"), IMAGE, {}),
    "Convolution pad stride": (conv("5 kernel_size: 3 pad: 1 stride: 2"), IMAGE, {}),
    "Convolution 1x1": (conv("7 kernel_size: 1"), IMAGE, {"uses": "gemm_1x1"}),
    "Convolution no bias": (conv("3 kernel_size: 2 bias_term: false"), IMAGE, {}),
    "Convolution dilated": (conv("3 kernel_size: 3 pad: 2 dilation: 2"), IMAGE, {}),
    "Convolution grouped": (conv("6 kernel_size: 3 group: 2"), IMAGE, {}),
    "Convolution depthwise": (conv("4 kernel_size: 3 group: 4 pad: 1"), IMAGE, {}),
    "Convolution rectangular": (
        conv("3 kernel_h: 2 kernel_w: 3 stride_h: 2 stride_w: 1 pad_h: 1 pad_w: 0"), IMAGE, {}),
    "Convolution 1-D": (conv("3 kernel_size: 3 pad: 1"), {"x": (2, 3, 9)}, {}),
    "Convolution 3-D": (conv("3 kernel_size: 2"), {"x": (1, 2, 3, 4, 3)}, {}),
    "Convolution axis 2": (conv("3 kernel_size: 2 axis: 2"), {"x": (2, 3, 2, 4, 3)}, {}),
    "Convolution two bottoms": (
        conv("3 kernel_size: 3", bottoms="x z", tops="y u", name="c"),
        {"x": (1, 2, 5, 4), "z": (1, 2, 5, 4)}, {}),
    "Convolution hole": (conv("3 kernel_size: 3 pad: 2 hole: 2"), IMAGE, {}),
    "DepthwiseConvolution": (
        conv("8 kernel_size: 3 group: 4 pad: 1").replace("Convolution", "DepthwiseConvolution"),
        IMAGE, {}),
    "ConvolutionDepthwise": (
        conv("4 kernel_size: 3 pad: 1 stride: 2").replace("Convolution", "ConvolutionDepthwise"),
        IMAGE, {}),
    "Convolution3D": (
        conv("3 kernel_size: 3 kernel_depth: 2 pad: 1 temporal_stride: 2")
        .replace("Convolution", "Convolution3D"),
        {"x": (1, 2, 4, 4, 5)}, {}),
    "Deconvolution": (deconv("5 kernel_size: 3"), IMAGE, {}),
    "Deconvolution pad stride": (deconv("3 kernel_size: 4 pad: 1 stride: 2"), IMAGE, {}),
    "Deconvolution 1x1": (deconv("7 kernel_size: 1"), IMAGE, {"uses": "gemm_1x1"}),
    "Deconvolution 1x1 stride": (
        deconv("3 kernel_size: 1 stride: 2"), IMAGE, {"uses": "gemm_1x1"}),
    "Deconvolution no bias": (deconv("3 kernel_size: 2 stride: 2 bias_term: false"), IMAGE, {}),
    "Deconvolution dilated": (deconv("3 kernel_size: 3 pad: 1 dilation: 2"), IMAGE, {}),
    "Deconvolution grouped": (deconv("6 kernel_size: 3 group: 2 stride: 2"), IMAGE, {}),
    "Deconvolution depthwise": (
        deconv("4 kernel_size: 4 group: 4 pad: 1 stride: 2"), IMAGE, {"uses": "depthwise"}),
    "Deconvolution rectangular": (
        deconv("3 kernel_h: 2 kernel_w: 3 stride_h: 2 stride_w: 1 pad_h: 1 pad_w: 0"), IMAGE,
        {"uses": "implicit_gemm"}),
    "Deconvolution Winograd": (
        deconv("32 kernel_size: 3 pad: 1"), {"x": (2, 32, 16, 16)},
        {"uses": "winograd_4x4", "samples": 40}),
    "Deconvolution columns": (
        deconv("2 kernel_size: 3"), {"x": (8, 8, 4, 4)},
        {"uses": "col2im", "samples": 40}),
    "Deconvolution 1-D": (deconv("3 kernel_size: 3 pad: 1 stride: 2"), {"x": (2, 3, 9)}, {}),
    "Deconvolution 3-D": (deconv("3 kernel_size: 2 stride: 2"), {"x": (1, 2, 3, 4, 3)}, {}),
    "Deconvolution 4-D": (
        deconv("2 kernel_size: 2"), {"x": (1, 2, 2, 3, 2, 2)}, {"uses": "ref"}),
    "Deconvolution axis 2": (deconv("3 kernel_size: 2 axis: 2"), {"x": (2, 3, 2, 4, 3)}, {}),
    "Deconvolution two bottoms": (
        deconv("3 kernel_size: 3", bottoms="x z", tops="y u", name="c"),
        {"x": (1, 2, 5, 4), "z": (1, 2, 5, 4)}, {}),
    "Im2col": (
        layer("Im2col", "convolution_param { kernel_size: 3 pad: 1 stride: 2 }"), IMAGE, {}),
    "Im2col dilated": (
        layer("Im2col", "convolution_param { kernel_h: 2 kernel_w: 3 dilation: 2 }"), IMAGE, {}),
    "Im2col 3-D axis 2": (
        layer("Im2col", "convolution_param { kernel_size: 2 pad: 1 axis: 2 }"),
        {"x": (2, 1, 2, 3, 2, 3)}, {}),
    "Pooling MAX": (pooling("pool: MAX kernel_size: 3 stride: 2"), IMAGE, {}),
    "Pooling MAX pad": (pooling("pool: MAX kernel_size: 3 stride: 2 pad: 1"), IMAGE, {}),
    "Pooling MAX mask": (
        layer("Pooling", "pooling_param { pool: MAX kernel_size: 2 }", tops="y m", name="p"),
        IMAGE, {}),
    "Pooling AVE": (pooling("pool: AVE kernel_size: 3 stride: 2"), IMAGE, {}),
    "Pooling AVE pad": (pooling("pool: AVE kernel_size: 3 stride: 2 pad: 1"), IMAGE, {}),
    "Pooling AVE inside": (
        pooling("pool: AVE kernel_size: 3 stride: 2 pad: 1 avg_include_pad: false"), IMAGE, {}),
    "Pooling3D": (
        layer("Pooling3D", "pooling_param { kernel_size: 2 kernel_depth: 2 stride: 2"
              " temporal_stride: 1 }"), {"x": (2, 3, 4, 5, 6)}, {}),
    "Pooling global": (pooling("pool: AVE global_pooling: true"), IMAGE, {}),
    "Pooling MAX 1-D": (pooling("pool: MAX kernel_size: 3 stride: 2 pad: 1"), {"x": (2, 3, 9)}, {}),
    "Pooling MAX 3-D": (
        pooling("pool: MAX kernel_size: 2 kernel_size: 3 kernel_size: 2 stride: 2"),
        {"x": (2, 3, 4, 5, 6)}, {}),
    "Pooling AVE 1-D": (pooling("pool: AVE kernel_size: 3 stride: 2 pad: 1"), {"x": (2, 3, 9)}, {}),
    "Pooling AVE 3-D": (
        pooling("pool: AVE kernel_size: 3 stride: 2 pad: 1"), {"x": (2, 3, 4, 5, 6)}, {}),
    "Pooling MAX global 3-D": (
        pooling("pool: MAX global_pooling: true"), {"x": (2, 3, 4, 5, 6)}, {}),
    "Pooling MAX of many": (
        pooling("pool: MAX kernel_size: 17 stride: 5"), {"x": (1, 2, 20, 23)}, {"samples": 60}),
    "Pooling STOCHASTIC 3-D": (
        pooling("pool: STOCHASTIC kernel_size: 2 stride: 2"),
        {"x": np.random.default_rng(0).uniform(1, 2, (2, 3, 4, 4, 5))}, {}),
    "ROIPooling": (
        layer("ROIPooling", "roi_pooling_param { pooled_h: 3 pooled_w: 2 spatial_scale: 0.5 }",
              bottoms="x rois"),
        {"x": (2, 5, 6, 7), "rois": ROIS}, {"max_skipped": 0.2}),
    "PSROIPooling": (
        layer("PSROIPooling",
              "psroi_pooling_param { output_dim: 3 group_size: 2 spatial_scale: 0.5 }",
              bottoms="x rois"),
        {"x": (2, 12, 6, 7), "rois": ROIS}, {"samples": 200}),
    "ROIAlign": (
        layer("ROIAlign", "roi_align_param { pooled_h: 3 pooled_w: 2 spatial_scale: 0.5 }",
              bottoms="x rois"),
        {"x": (2, 5, 6, 7), "rois": ROIS}, {"samples": 200}),
    "ROIAlign ratio": (
        layer("ROIAlign", "roi_align_param { pooled_h: 2 pooled_w: 2 sampling_ratio: 3 }",
              bottoms="x rois"),
        {"x": (2, 5, 6, 7), "rois": ROIS}, {}),
    "Correlation": (
        layer("Correlation", "correlation_param { kernel_size: 3 max_displacement: 2 pad: 2 }",
              bottoms="x z"), {"x": (1, 3, 5, 6), "z": (1, 3, 5, 6)}, {}),
    "FlowWarp": (
        layer("FlowWarp", bottoms="x z"),
        {"x": (1, 3, 4, 5), "z": np.random.default_rng(0).uniform(0.2, 0.8, (1, 2, 4, 5))}, {}),
    "Resample": (
        layer("Resample", "resample_param { height: 7 width: 3 type: CUBIC }"), IMAGE, {}),
    "RegionLoss": (
        layer("RegionLoss", "region_loss_param { num: 1 num_class: 2 rescore: false thresh: 2 "
              "biases: 1 biases: 1.5 }", bottoms="x z"),
        {"x": (1, 7, 2, 3), "z": np.array([[1, 0.3, 0.4, 0.5, 0.6, 0, 0.9, 0.9, 0.2, 0.1]])}, {}),
    "SPP MAX": (layer("SPP", "spp_param { pyramid_height: 3 }"), {"x": (2, 3, 9, 11)}, {}),
    "SPP AVE": (layer("SPP", "spp_param { pyramid_height: 2 pool: AVE }"), IMAGE, {}),
    "SPP one level": (layer("SPP", "spp_param { pyramid_height: 1 }"), IMAGE, {}),
    "SPP STOCHASTIC": (
        layer("SPP", "spp_param { pyramid_height: 2 pool: STOCHASTIC }"),
        {"x": np.random.default_rng(0).uniform(1, 2, (2, 3, 4, 6))}, {}),
    "SPP STOCHASTIC TEST": (
        layer("SPP", "spp_param { pyramid_height: 2 pool: STOCHASTIC }"),
        {"x": np.random.default_rng(0).uniform(1, 2, (2, 3, 4, 6))}, {"phase": "TEST"}),
    "Pooling STOCHASTIC": (
        pooling("pool: STOCHASTIC kernel_size: 2 stride: 2"),
        {"x": np.random.default_rng(0).uniform(1, 2, (2, 3, 4, 4))}, {}),
    "ReLU": (layer("ReLU"), IMAGE, {}),
    "ReLU leaky": (layer("ReLU", "relu_param { negative_slope: 0.2 }"), IMAGE, {}),
    "ReLU turned": (layer("ReLU", "relu_param { negative_slope: -0.7 }"), IMAGE, {}),
    "PReLU": (layer("PReLU"), IMAGE, {}),
    "PReLU shared": (layer("PReLU", "prelu_param { channel_shared: true }"), IMAGE, {}),
    "Sigmoid": (layer("Sigmoid"), IMAGE, {}),
    "TanH": (layer("TanH"), IMAGE, {}),
    "ELU": (layer("ELU"), IMAGE, {}),
    "ELU alpha": (layer("ELU", "elu_param { alpha: 0.4 }"), IMAGE, {"max_skipped": 0.1}),
    "AbsVal": (layer("AbsVal"), IMAGE, {}),
    "BNLL": (layer("BNLL"), IMAGE, {}),
    "Clip": (layer("Clip", "clip_param { min: -0.5 max: 0.7 }"), IMAGE, {"max_skipped": 0.1}),
    "Exp": (layer("Exp"), IMAGE, {}),
    "Exp base": (layer("Exp", "exp_param { base: 2 scale: -0.7 shift: 0.3 }"), IMAGE, {}),
    "Log": (layer("Log"), {"x": POSITIVE}, {}),
    "Log base": (layer("Log", "log_param { base: 10 scale: 3 shift: 0.5 }"), {"x": POSITIVE}, {}),
    "Power": (layer("Power", "power_param { scale: -2.5 shift: 0.7 }"), IMAGE, {}),
    "Power 2": (layer("Power", "power_param { power: 2 scale: 0.5 shift: 3 }"), IMAGE, {}),
    "Power 3": (layer("Power", "power_param { power: 3 }"), IMAGE, {}),
    "Power root": (
        layer("Power", "power_param { power: 0.37 scale: 2 shift: 0.5 }"), {"x": POSITIVE}, {}),
    "Power -1": (layer("Power", "power_param { power: -1 }"), {"x": POSITIVE}, {}),
    "ReLU6": (layer("ReLU6"), {"x": WIDE}, {}),
    "ReLU6 leaky": (layer("ReLU6", "relu6_param { negative_slope: 0.2 }"), {"x": WIDE}, {}),
    "ReLU6 turned": (layer("ReLU6", "relu6_param { negative_slope: -0.7 }"), {"x": WIDE}, {}),
    "HardSwish": (layer("HardSwish"), {"x": WIDE}, {}),
    "Mish": (layer("Mish"), {"x": WIDE}, {}),
    "Swish": (layer("Swish"), IMAGE, {}),
    "Swish beta": (layer("Swish", "swish_param { beta: 1.7 }"), IMAGE, {}),
    "Dropout": (layer("Dropout"), IMAGE, {}),
    "Dropout ratio": (layer("Dropout", "dropout_param { dropout_ratio: 0.8 }"), IMAGE, {}),
    "Dropout TEST": (layer("Dropout"), IMAGE, {"phase": "TEST"}),
    "Dropout of channels": (
        layer("Dropout", "dropout_param { shared_axis: 2 shared_axis: 3 }"), IMAGE, {}),
    "Convolution and Dropout in place": (
        conv("5 kernel_size: 3", tops="c") + layer("Dropout", "", "c", "c", "d"), IMAGE, {}),
    "Convolution and Dropout of its channels": (
        conv("5 kernel_size: 3", tops="c")
        + layer("Dropout", "dropout_param { shared_axis: -1 shared_axis: -2 }", "c"),
        IMAGE, {}),
    "Dropout of steps": (
        layer("Dropout", "dropout_param { dropout_ratio: 0.3 shared_axis: 0 }"),
        {"x": (6, 4, 5)}, {}),
    "Dropout without scale": (
        layer("Dropout", "dropout_param { scale_train: false }"), IMAGE, {}),
    "Dropout without scale TEST": (
        layer("Dropout", "dropout_param { scale_train: false }"), IMAGE, {"phase": "TEST"}),
    "Noise": (layer("Noise"), IMAGE, {}),
    "Noise masking": (layer("Noise", "noise_param { type: MASKING ratio: 0.4 }"), IMAGE, {}),
    "Noise salt and pepper": (
        layer("Noise", "noise_param { type: SALT_AND_PEPPER low: -1 }"), IMAGE, {}),
    "Noise TEST": (
        layer("Noise", "noise_param { type: MASKING }"), IMAGE, {"phase": "TEST"}),
    "GaussianSampling": (
        layer("GaussianSampling", bottoms="x z"), {"x": (4, 5), "z": (4, 5)}, {}),
    "GaussianSampling TEST": (
        layer("GaussianSampling", bottoms="x z"), {"x": (4, 5), "z": (4, 5)}, {"phase": "TEST"}),
    "GaussianSampling in TEST": (
        layer("GaussianSampling", "gaussian_sampling_param { sample_in_test: true }", "x z"),
        {"x": (3, 2, 2), "z": (3, 2, 2)}, {"phase": "TEST"}),
    "GaussianKLLoss": (layer("GaussianKLLoss", bottoms="x z"), {"x": (4, 5), "z": (4, 5)}, {}),
    "SparsityPenalty": (
        layer("Sigmoid", tops="h") +
        layer("SparsityPenalty", "sparsity_penalty_param { target: 0.1 weight: 3 }", "h"),
        {"x": (6, 5)}, {}),
    "LRN across": (layer("LRN", "lrn_param { local_size: 3 alpha: 0.9 k: 2 }"), IMAGE, {}),
    "LRN across 3-D": (
        layer("LRN", "lrn_param { local_size: 3 alpha: 0.9 k: 2 }"), {"x": (2, 4, 2, 3, 3)}, {}),
    "LRN beta": (layer("LRN", "lrn_param { local_size: 5 alpha: 2 beta: 0.6 }"), IMAGE, {}),
    "LRN within": (
        layer("LRN", "lrn_param { norm_region: WITHIN_CHANNEL local_size: 3 alpha: 0.9 }"),
        IMAGE, {}),
    "Softmax": (layer("Softmax"), {"x": (5, 7)}, {}),
    "Softmax axis": (layer("Softmax", "softmax_param { axis: 2 }"), IMAGE, {}),
    "SoftmaxWithLoss": (
        layer("SoftmaxWithLoss", bottoms="x t"), {"x": (5, 3), "t": LABELS}, {}),
    "SoftmaxWithLoss ignore": (
        layer("SoftmaxWithLoss", "loss_param { ignore_label: 1 } loss_weight: 3", bottoms="x t"),
        {"x": (5, 3), "t": LABELS}, {}),
    "SoftmaxWithLoss spatial": (
        layer("SoftmaxWithLoss", "loss_param { normalization: FULL }", bottoms="x t"),
        {"x": (2, 3, 2, 2), "t": np.arange(8.0).reshape(2, 2, 2) % 3}, {}),
    "SoftmaxWithLoss sum": (
        layer("SoftmaxWithLoss", "loss_param { normalization: NONE } softmax_param { axis: 0 }",
              bottoms="x t"),
        {"x": (3, 5), "t": LABELS}, {}),
    "SoftmaxWithLoss smoothed": (
        layer("SoftmaxWithLoss", "loss_param { label_smoothing: 0.2 ignore_label: 1 }",
              bottoms="x t"), {"x": (5, 3), "t": LABELS}, {}),
    "SoftmaxWithLoss weighted": (
        layer("SoftmaxWithLoss", "loss_param { weight_by_label_freqs: true class_weighting: 0.5"
              " class_weighting: 2 class_weighting: 1.5 label_smoothing: 0.1 }", bottoms="x t"),
        {"x": (2, 3, 2, 2), "t": np.arange(8.0).reshape(2, 2, 2) % 3}, {}),
    "SoftmaxWithLoss probabilities": (
        layer("SoftmaxWithLoss", "loss_param { label_smoothing: 0.2 }", bottoms="x t"),
        {"x": (2, 3, 2, 2), "t": np.linspace(0, 1, 24).reshape(2, 3, 2, 2)}, {}),
    "Mixup": (
        layer("Mixup", "mixup_param { alpha: 2 num_classes: 3 }", "x t", "y p"),
        {"x": (5, 3, 2), "t": LABELS}, {}),
    "ContrastiveLoss": (
        layer("ContrastiveLoss", "contrastive_loss_param { margin: 2.5 }", bottoms="x z t"),
        {"x": (5, 3), "z": (5, 3), "t": LABELS}, {}),
    "ContrastiveLoss legacy": (
        layer("ContrastiveLoss", "contrastive_loss_param { legacy_version: true margin: 5 }",
              bottoms="x z t"),
        {"x": (5, 3, 1, 1), "z": (5, 3), "t": LABELS}, {}),
    "SmoothL1LossOHEM": (
        layer("SmoothL1LossOHEM", bottoms="a b w", tops="loss each", name="l"),
        {"a": (3, 4, 1, 2), "b": (3, 4, 1, 2), "w": (3, 4, 1, 2)}, {}),
    "SoftmaxWithLossOHEM": (
        layer("SoftmaxWithLossOHEM", "loss_param { ignore_label: 1 }", bottoms="x t"),
        {"x": (5, 3), "t": LABELS}, {}),
    "EuclideanLoss": (
        layer("EuclideanLoss", "loss_weight: 0.5", bottoms="x z"),
        {"x": (4, 3, 2), "z": (4, 6)}, {}),
    "CtcLoss": (
        layer("CtcLoss", bottoms="x t"),
        {"x": (6, 3, 4), "t": np.array([[1.0, 1, 3], [2, 0, 0], [3, 2, 1]])}, {}),
    "WarpCTCLoss": (
        layer("WarpCTCLoss", "ctc_loss_param { blank_label: 3 }", bottoms="x s l t"),
        {"x": (5, 2, 4), "s": np.array([3.0, 5]), "l": np.array([1.0, 2]),
         "t": np.array([[2.0, 1], [0, 1]])}, {}),
    "HingeLoss": (layer("HingeLoss", bottoms="x t"), {"x": (5, 3), "t": LABELS}, {}),
    "HingeLoss L2": (
        layer("HingeLoss", "hinge_loss_param { norm: L2 }", bottoms="x t"),
        {"x": (5, 3, 2), "t": LABELS}, {}),
    "InfogainLoss": (
        layer("InfogainLoss", bottoms="x t h"),
        {"x": (5, 3), "t": LABELS, "h": (3, 3)}, {}),
    "InfogainLoss spatial": (
        layer("InfogainLoss", "loss_param { ignore_label: 1 normalization: FULL }",
              bottoms="x t h"),
        {"x": (2, 3, 2, 2), "t": np.arange(8.0).reshape(2, 2, 2) % 3, "h": (1, 1, 3, 3)}, {}),
    "InfogainLoss axis": (
        layer("InfogainLoss", "infogain_loss_param { axis: 0 }", bottoms="x t h"),
        {"x": (3, 5), "t": LABELS, "h": (3, 3)}, {}),
    "MultinomialLogisticLoss": (
        layer("MultinomialLogisticLoss", bottoms="x t"), {"x": POSITIVE[0], "t": LABELS}, {}),
    "SigmoidCrossEntropyLoss": (
        layer("SigmoidCrossEntropyLoss", bottoms="x u"),
        {"x": (4, 3, 2), "u": np.random.default_rng(0).uniform(0, 1, (4, 6))}, {}),
    "SigmoidCrossEntropyLoss ignore": (
        layer("SigmoidCrossEntropyLoss", "loss_param { ignore_label: -1 normalization: VALID }",
              bottoms="x u"),
        {"x": (4, 6), "u": np.random.default_rng(0).integers(-1, 2, (4, 6)).astype(float)}, {}),
    "Eltwise SUM": (
        layer("Eltwise", "eltwise_param { coeff: 0.5 coeff: -2 coeff: 1 }", bottoms="x z u"),
        {"x": (2, 3, 4), "z": (2, 3, 4), "u": (2, 3, 4)}, {}),
    "Eltwise PROD": (
        layer("Eltwise", "eltwise_param { operation: PROD }", bottoms="x z u"),
        {"x": (2, 3, 4), "z": (2, 3, 4), "u": (2, 3, 4)}, {}),
    "Eltwise PROD divided": (
        layer("Eltwise", "eltwise_param { operation: PROD stable_prod_grad: false }",
              bottoms="x z"),
        {"x": np.random.default_rng(1).uniform(1, 2, (3, 4)), "z": (3, 4)}, {}),
    "Eltwise MAX": (
        layer("Eltwise", "eltwise_param { operation: MAX }", bottoms="x z u"),
        {"x": (2, 3, 4), "z": (2, 3, 4), "u": (2, 3, 4)}, {}),
    "Concat": (
        layer("Concat", bottoms="x z"), {"x": (2, 3, 4), "z": (2, 1, 4)}, {}),
    "Concat axis": (
        layer("Concat", "concat_param { axis: -1 }", bottoms="x z"),
        {"x": (2, 3, 4), "z": (2, 3, 2)}, {}),
    "Flatten": (layer("Flatten"), IMAGE, {}),
    "Slice": (layer("Slice", tops="y u"), IMAGE, {}),
    "Slice points": (
        layer("Slice", "slice_param { axis: -1 slice_point: 1 slice_point: 3 }", tops="y u v",
              name="s"), IMAGE, {}),
    "Slice one": (layer("Slice"), IMAGE, {}),
    "Crop": (
        layer("Crop", "crop_param { offset: 1 offset: 2 }", bottoms="x z"),
        IMAGE | {"z": (1, 1, 4, 3)}, {}),
    "Crop axis": (
        layer("Crop", "crop_param { axis: 1 offset: 1 }", bottoms="x z"),
        IMAGE | {"z": (2, 3, 4, 2)}, {}),
    "Reverse": (layer("Reverse", "reverse_param { axis: 1 axis: 2 }"), {"x": (2, 3, 4)}, {}),
    "Permute": (layer("Permute", "permute_param { order: 0 order: 2 order: 3 order: 1 }"),
                IMAGE, {}),
    "Permute convolved": (
        conv("4 kernel_size: 3", tops="c")
        + layer("Permute", "permute_param { order: 0 order: 2 order: 3 order: 1 }", bottoms="c"),
        IMAGE, {}),
    "Permute identity": (layer("Permute", "permute_param { order: 0 }"), IMAGE, {}),
    "ShuffleChannel": (
        layer("ShuffleChannel", "shuffle_channel_param { group: 2 }"), IMAGE, {}),
    "ShuffleChannel convolved": (
        conv("6 kernel_size: 3", tops="c")
        + layer("ShuffleChannel", "shuffle_channel_param { group: 3 }", bottoms="c"), IMAGE, {}),
    "Reorg": (layer("Reorg"), {"x": (2, 4, 4, 6)}, {}),
    "Reorg reverse": (
        layer("Reorg", "reorg_param { stride: 2 reverse: true }"), IMAGE, {}),
    "Axpy": (
        layer("Axpy", bottoms="a x z"), {"a": (2, 4, 1, 1)} | IMAGE | {"z": (2, 4, 6, 5)}, {}),
    "Axpy convolved": (
        conv("4 kernel_size: 3 pad: 1", tops="c")
        + layer("Axpy", bottoms="a c z"), {"a": (2, 4)} | IMAGE | {"z": (2, 4, 6, 5)}, {}),
    "Accum": (
        layer("Accum", "accum_param { size_divisible_by: 4 }", "x z"),
        IMAGE | {"z": (2, 3, 3, 8)}, {}),
    "DataAugmentation": (
        layer("DataAugmentation", "augmentation_param { mean_per_pixel: false mean: 1 mean: 2 "
              "mean: 3 mean: 4 }"), IMAGE, {}),
    "NMS": (layer("NMS", bottoms="x z", tops="y s", name="n"),
            {"x": APART, "z": np.array([0.5, 2, 1])}, {}),
    "Interp": (layer("Interp", "interp_param { zoom_factor: 3 }"), IMAGE, {}),
    "Interp smaller": (layer("Interp", "interp_param { height: 3 width: 4 }"), IMAGE, {}),
    "Interp part": (
        layer("Interp", "interp_param { height: 9 width: 2 pad_beg: -1 pad_end: -2 }"), IMAGE, {}),
    "Interp like": (
        layer("Interp", bottoms="x z"), IMAGE | {"z": (1, 2, 7, 9)}, {}),
    "Upsample": (
        layer("Upsample", bottoms="x i"),
        {"x": (2, 3, 2, 3), "i": np.random.default_rng(5).permuted(
            np.tile(np.arange(24.0), (6, 1)), axis=1)[:, :6].reshape(2, 3, 2, 3)}, {}),
    "Tile": (layer("Tile", "tile_param { tiles: 3 }"), {"x": (2, 3, 4)}, {}),
    "Tile last": (layer("Tile", "tile_param { axis: -1 tiles: 5 }"), IMAGE, {}),
    "BatchReindex": (
        layer("BatchReindex", bottoms="x t"),
        {"x": (3, 2, 4), "t": np.array([2.0, 0, 2, 2, 0])}, {}),
    "Filter": (
        layer("Filter", bottoms="x z t", tops="y u", name="f"),
        {"x": (5, 2, 2), "z": (5, 3), "t": np.array([0.0, 1, 0, 2, 1])}, {}),
    "Reduction SUM": (layer("Reduction", "reduction_param { coeff: -0.5 }"), {"x": (3, 5)}, {}),
    "Reduction ASUM": (
        layer("Reduction", "reduction_param { operation: ASUM axis: 1 }"), IMAGE, {}),
    "Reduction SUMSQ": (
        layer("Reduction", "reduction_param { operation: SUMSQ axis: -2 coeff: 2 }"), IMAGE, {}),
    "Reduction MEAN": (
        layer("Reduction", "reduction_param { operation: MEAN axis: 2 }"), IMAGE, {}),
    "Reshape": (layer("Reshape", "reshape_param { shape { dim: 0 dim: -1 dim: 2 } }"), IMAGE, {}),
    "BatchNorm": (layer("BatchNorm"), IMAGE, {}),
    "BatchNorm 2-D": (layer("BatchNorm", "batch_norm_param { eps: 0.1 }"), {"x": (7, 3)}, {}),
    "BatchNorm groups": (
        layer("BatchNorm", "batch_norm_param { stats_batch_size: 2 eps: 0.1 }"),
        {"x": (4, 3, 2, 3)}, {}),
    "BatchNorm global": (
        layer("BatchNorm", "batch_norm_param { use_global_stats: true }"), IMAGE, {}),
    "BatchNorm NVIDIA": (
        layer("BatchNorm", "batch_norm_param { scale_bias: true eps: 0.1 }"), IMAGE, {}),
    "BatchNorm Intel": (
        layer("BatchNorm", "batch_norm_param { use_weight_bias: true bias_term: false }"),
        IMAGE, {}),
    "BatchNorm Intel global": (
        layer("BatchNorm", "batch_norm_param { use_weight_bias: true use_global_stats: true }"),
        IMAGE, {}),
    "BN SegNet": (layer("BN"), IMAGE, {}),
    "BN SegNet TEST": (layer("BN"), IMAGE, {"phase": "TEST"}),
    "BN SegNet inference": (layer("BN", "bn_param { bn_mode: INFERENCE }"), IMAGE, {}),
    "BN PSPNet": (layer("BN", "bn_param { eps: 0.1 }"), IMAGE, {}),
    "BN PSPNet TEST": (layer("BN", "bn_param { momentum: 0.9 }"), IMAGE, {"phase": "TEST"}),
    "BN PSPNet frozen": (layer("BN", "bn_param { frozen: true }"), IMAGE, {}),
    "Convolution BN ReLU": (
        conv("4 kernel_size: 3", tops="c") + layer("BN", "bn_param { eps: 0.1 }", "c", "b")
        + layer("ReLU", bottoms="b"), IMAGE, {"max_skipped": 0.1}),
    "Normalize": (layer("Normalize"), IMAGE, {}),
    "Normalize positions": (
        layer("Normalize", "norm_param { across_spatial: false channel_shared: false }"),
        IMAGE, {}),
    "Normalize channels": (layer("Normalize", "norm_param { channel_shared: false }"), IMAGE, {}),
    "Normalize eps": (
        layer("Normalize", "norm_param { across_spatial: false eps: 0.5 }"), IMAGE, {}),
    "MVN": (layer("MVN"), IMAGE, {}),
    "MVN across": (layer("MVN", "mvn_param { across_channels: true }"), IMAGE, {}),
    "MVN mean": (layer("MVN", "mvn_param { normalize_variance: false }"), IMAGE, {}),
    "Scale": (layer("Scale", "scale_param { bias_term: true }"), IMAGE, {}),
    "Scale axes": (layer("Scale", "scale_param { axis: 1 num_axes: 2 }"), IMAGE, {}),
    "Scale one": (layer("Scale", "scale_param { num_axes: 0 }"), IMAGE, {}),
    "Scale bottom": (
        layer("Scale", "scale_param { axis: 0 bias_term: true }", bottoms="x z"),
        IMAGE | {"z": (2, 4)}, {}),
    "Bias": (layer("Bias"), IMAGE, {}),
    "Bias all": (layer("Bias", "bias_param { axis: 0 num_axes: -1 }"), {"x": (2, 3, 4)}, {}),
    "Bias bottom": (
        layer("Bias", "bias_param { axis: 0 }", bottoms="x z"), IMAGE | {"z": (2, 4)}, {}),
    "SmoothL1Loss": (
        layer("SmoothL1Loss", "smooth_l1_loss_param { sigma: 2 }", bottoms="x z"),
        {"x": (3, 5, 2), "z": (3, 5, 2)}, {}),
    "MultiBoxLoss": (  # further ones are in test_detection_layers.py
        layer("MultiBoxLoss", "multibox_loss_param { num_classes: 3 code_type: CENTER_SIZE }",
              bottoms="x z p t"),
        {"x": (1, 24), "z": (1, 18), "p": PRIORS, "t": TRUTH}, {}),
    "Embed": (
        layer("Embed", "embed_param { num_output: 5 input_dim: 4 }", bottoms="t"),
        {"t": LABELS}, {}),
    "LSTM": (
        layer("LSTM", "recurrent_param { num_output: 5 weight_filler { type: 'xavier' } }",
              bottoms="x t"),
        {"x": (4, 3, 2, 3), "t": GOES_ON}, {}),
    "Lstm": (
        layer("Lstm", "lstm_param { num_output: 5 batch_size: 3 weight_filler { type: 'xavier' } }",
              bottoms="x t"),
        {"x": (12, 2, 3), "t": GOES_ON.reshape(-1)}, {}),
    "LSTM static": (
        layer("LSTM", "recurrent_param { num_output: 3 weight_filler { type: 'xavier' } }",
              bottoms="x t z"),
        {"x": (4, 3, 2), "t": GOES_ON, "z": (3, 4)}, {}),
    "LSTM exposed": (  # of the two states, the gradients of both of which Caffe leaves out
        layer("LSTM", "recurrent_param { num_output: 4 expose_hidden: true"
              " weight_filler { type: 'xavier' } }", bottoms="x t z h c", tops="y h1 c1", name="l")
        + layer("Silence", bottoms="h1 c1", tops="", name="s"),
        {"x": (4, 3, 2), "t": GOES_ON, "z": (3, 4), "h": (1, 3, 4), "c": (1, 3, 4)}, {}),
    "RNN": (
        layer("RNN", "recurrent_param { num_output: 5 weight_filler { type: 'xavier' } }",
              bottoms="x t"),
        {"x": (4, 3, 2, 3), "t": GOES_ON}, {}),
    "RNN static": (
        layer("RNN", "recurrent_param { num_output: 3 weight_filler { type: 'xavier' } }",
              bottoms="x t z"),
        {"x": (4, 3, 2), "t": GOES_ON, "z": (3, 4)}, {}),
    "RNN exposed": (
        layer("RNN", "recurrent_param { num_output: 4 expose_hidden: true"
              " weight_filler { type: 'xavier' } }", bottoms="x t h", tops="y h1", name="l")
        + layer("Silence", bottoms="h1", tops="", name="s"),
        {"x": (4, 3, 2), "t": GOES_ON, "h": (1, 3, 4)}, {}),
    "GRU": (
        layer("GRU", "recurrent_param { num_output: 5 weight_filler { type: 'xavier' }"
              " bias_filler { type: 'gaussian' } }", bottoms="x t"),
        {"x": (4, 3, 2, 3), "t": GOES_ON}, {}),
    "GRU static": (
        layer("GRU", "recurrent_param { num_output: 3 weight_filler { type: 'xavier' } }",
              bottoms="x t z"),
        {"x": (4, 3, 2), "t": GOES_ON, "z": (3, 4)}, {}),
    "GRU exposed": (
        layer("GRU", "recurrent_param { num_output: 4 expose_hidden: true"
              " weight_filler { type: 'xavier' } }", bottoms="x t h", tops="y h1", name="l")
        + layer("Silence", bottoms="h1", tops="", name="s"),
        {"x": (4, 3, 2), "t": GOES_ON, "h": (1, 3, 4)}, {}),
    **{f"{kind} backward": (
        layer(kind, "recurrent_param { num_output: 5 direction: BACKWARD"
              " weight_filler { type: 'xavier' } }", bottoms="x t"),
        {"x": (4, 3, 2), "t": GOES_ON}, {}) for kind in ("LSTM", "RNN", "GRU")},
    **{f"SequenceAttention {score}": (
        layer("SequenceAttention", f"sequence_attention_param {{ score: {score} }}",
              bottoms="x u", tops="y"),
        {"x": (2, 3, 4), "u": (5, 3, 4)}, {}) for score in ("ADDITIVE", "DOT", "GENERAL")},
    "LSTMUnit": (
        layer("LSTMUnit", bottoms="c g t", tops="c1 h1", name="l"),
        {"c": (1, 3, 5), "g": (1, 3, 20), "t": np.array([[0.0, 1, 1]])}, {}),
    "LSTMUnit twice": (
        layer("LSTMUnit", bottoms="c g t", tops="c1 h1", name="a")
        + layer("LSTMUnit", bottoms="c1 u t", tops="c2 h2", name="b"),
        {"c": (1, 3, 2), "g": (1, 3, 8), "u": (1, 3, 8), "t": np.array([[1.0, 0, 1]])}, {}),
    "Parameter": (
        layer("Parameter", "parameter_param { shape { dim: 3 dim: 5 } }", bottoms="", tops="p")
        + layer("TanH", bottoms="p"), {}, {}),
    "Split": (layer("Split", tops="y u v"), IMAGE, {}),
    "Silence": (layer("Silence", bottoms="x", tops="", name="s") + layer("TanH"), IMAGE, {}),
}  # fmt: skip
NO_GRADIENT = {
    *("Accuracy", "ArgMax", "Data", "DummyData", "HDF5Data", "HDF5Output", "ImageData", "Input"),
    *("MemoryData", "Threshold", "WindowData"),
    *("AnchorTarget", "BoxAnnotatorOHEM", "Proposal", "ProposalTarget"),
    *("AnnotatedData", "DetectionEvaluate", "DetectionOutput", "PriorBox"),
    *("ContinuationIndicator", "DenseImageData", "LabelsequenceAccuracy", "Region"),
    "Python",  # up to its class; see test_pycaffe_python_layer.py
    "RBM",  # its gradient is contrastive divergence's: tests/test_rbm_layer.py
}
IN_PLACE = {
    *("BN", "BNLL", "BatchNorm", "Bias", "Clip", "Dropout", "ELU", "Exp", "HardSwish", "MVN"),
    *("Mish", "PReLU", "Power", "ReLU", "ReLU6", "Scale", "Sigmoid", "Softmax", "Swish", "TanH"),
}


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", LAYERS)
def test_layer(name, isa):
    _core.kernels.set_isa(isa)
    text, inputs, options = LAYERS[name]
    options = dict(options)
    uses = options.pop("uses", None)
    report = check_gradients(text, inputs, **options)
    assert sum(report.checked.values()) >= 12
    if uses:
        net = make_net(text, inputs)
        expected = "ref" if isa == "ref" else uses
        assert net._core.layer_rows()[-1]["implementation"] == expected


def test_every_differentiable_layer_is_checked():
    declared = set(_core.layer_declarations())
    assert {name.split()[0] for name in LAYERS} == declared - NO_GRADIENT - {"Skeleton"}


@pytest.mark.parametrize("name", [n for n in LAYERS if n.split()[0] in IN_PLACE])
def test_layer_in_place(name):
    """Directly on an input, and between two layers whose backward passes need their tops."""
    text, inputs, options = LAYERS[name]
    in_place = text.replace('top: "y"', 'top: "x"')
    check_gradients(in_place, inputs, **options)
    inputs = dict(inputs)
    shape = np.shape(inputs["x"]) if isinstance(inputs["x"], np.ndarray) else inputs["x"]
    chain = layer("Sigmoid", bottoms="a", tops="x") + in_place + layer("TanH", tops="end")
    check_gradients(chain, {k: v for k, v in inputs.items() if k != "x"} | {"a": shape}, **options)


# One blob, several readers: gradients add up

READERS = {
    "layers that add": layer("InnerProduct", "inner_product_param { num_output: 4 }", "h", "a")
    + conv("3 kernel_size: 2", bottoms="h", tops="b"),
    "layers that only write": layer("TanH", bottoms="h", tops="a")
    + layer("Sigmoid", bottoms="h", tops="b")
    + layer("LRN", bottoms="h", tops="c"),
    "both kinds": layer("Sigmoid", bottoms="h", tops="a")
    + conv("3 kernel_size: 2", bottoms="h", tops="b")
    + layer("Pooling", "pooling_param { pool: AVE kernel_size: 2 }", "h", "c")
    + layer("Eltwise", bottoms="h a", tops="d"),
    "one layer twice": layer("Eltwise", "eltwise_param { operation: PROD }", "h h", "a"),
    "one layer twice, added": layer(
        "Eltwise", "eltwise_param { coeff: 2 coeff: -0.5 coeff: 3 }", "h h h", "a"),
    "one layer twice, joined": layer("Concat", bottoms="h h", tops="a"),
    "two bottoms of one convolution": conv("3 kernel_size: 2", bottoms="h h", tops="a b"),
    "views": layer("Flatten", bottoms="h", tops="a")
    + layer("Reshape", "reshape_param { shape { dim: 2 dim: -1 } }", "h", "b")
    + layer("TanH", bottoms="a", tops="c")
    + layer("Sigmoid", bottoms="b", tops="d"),
    "Split": layer("Split", bottoms="h", tops="a b")
    + layer("TanH", bottoms="a", tops="c")
    + layer("Sigmoid", bottoms="b", tops="d")
    + layer("Sigmoid", bottoms="h", tops="e"),
    "a copy and one in place": layer("Sigmoid", bottoms="h", tops="a")
    + layer("ReLU", bottoms="h", tops="h", name="r")
    + layer("TanH", bottoms="h", tops="b"),
    "in place twice": layer("Scale", bottoms="h", tops="h", name="s")
    + layer("TanH", bottoms="h", tops="h", name="t")
    + layer("Sigmoid", bottoms="h", tops="a")
    + layer("LRN", bottoms="h", tops="b"),
    "a weighted top that is read on": layer("Softmax", "loss_weight: 2", "h", "a")
    + layer("TanH", bottoms="a", tops="b"),
}  # fmt: skip


@pytest.mark.parametrize("isa", [ISAS[0], ISAS[-1]])
@pytest.mark.parametrize("start", ["convolution", "sigmoid", "input"])
@pytest.mark.parametrize("readers", READERS)
def test_several_readers(readers, start, isa):
    _core.kernels.set_isa(isa)
    first = {
        "convolution": conv("4 kernel_size: 3 pad: 1", tops="h"),
        "sigmoid": layer("Sigmoid", tops="h"),
        "input": "",
    }[start]
    name = "x" if first else "h"
    report = check_gradients(first + READERS[readers], {name: (2, 3, 5, 4)}, max_skipped=0.1)
    assert name in report.checked


# Parameters

SHARED = """
layer { name: "a" type: "InnerProduct" bottom: "x" top: "a" param { name: "w" } param { name: "b" }
  inner_product_param { num_output: 5 } }
layer { name: "t" type: "TanH" bottom: "a" top: "t" }
layer { name: "c" type: "InnerProduct" bottom: "t" top: "c" param { name: "w" } param { name: "b" }
  inner_product_param { num_output: 5 } }
layer { name: "d" type: "InnerProduct" bottom: "x" top: "d" param { name: "w" }
  inner_product_param { num_output: 5 } }
"""


def test_shared_parameters():
    report = check_gradients(SHARED, {"x": (3, 5)})
    params = [name for name in report.checked if "learnable" in name]
    assert len(params) == 3, "w and b, owned by layer a, and d's own bias"


def test_gradients_of_parameters_add_up_over_passes():
    net = make_net(SHARED + "force_backward: true", {"x": (3, 5)})
    for blobs in net.params.values():
        for blob in blobs:
            blob.data[...] = np.random.default_rng(3).standard_normal(blob.shape)
    net.forward(x=np.random.default_rng(4).standard_normal((3, 5)))
    weight = net.params["a"][0]
    for name in ("c", "d"):
        net.blobs[name].diff[...] = 1
    net.backward()
    once = weight.diff.copy()
    net.backward()
    np.testing.assert_allclose(weight.diff, 2 * once, rtol=1e-5)
    net._core.clear_param_diffs()
    assert not weight.diff.any()


def test_frozen_parameters_are_left_out():
    text = layer("InnerProduct", "param { lr_mult: 0 } inner_product_param { num_output: 3 }")
    report = check_gradients(text, {"x": (2, 4)})
    assert sorted(report.checked) == ['layer "y" (InnerProduct), learnable blob 1', "x"]


@pytest.mark.parametrize("kind", ["Convolution", "InnerProduct", "Scale"])
@pytest.mark.parametrize("frozen", [0, 1])
def test_one_of_two_parameters_frozen(kind, frozen):
    """Without force_backward, a frozen blob's gradient is not computed; the other one's is."""
    fields = {
        "Convolution": "convolution_param { num_output: 3 kernel_size: 2 "
        'weight_filler { type: "xavier" } }',
        "InnerProduct": 'inner_product_param { num_output: 3 weight_filler { type: "xavier" } }',
        "Scale": "scale_param { bias_term: true }",
    }[kind]
    mults = "".join(f"param {{ lr_mult: {int(i != frozen)} }} " for i in range(2))
    text = layer(kind, mults + fields, tops="h")
    text += layer("InnerProduct", "inner_product_param { num_output: 3 }", "h", "f")
    text += layer("SoftmaxWithLoss", bottoms="f t", tops="loss")
    net = make_net(text, {"x": (4, 3, 4, 4), "t": (4,)})
    report = check_gradients(net, {"t": np.array([0.0, 1, 2, 0])})
    assert f'layer "h" ({kind}), learnable blob {1 - frozen}' in report.checked
    assert f'layer "h" ({kind}), learnable blob {frozen}' not in report.checked
    assert not net.params["h"][frozen].diff.any()


def test_scale_learns_where_the_batch_norm_before_it_gets_no_gradient():
    text = layer("BatchNorm", tops="h", name="bn")
    text += layer("Scale", "scale_param { bias_term: true }", "h", "h", name="scale")
    text += layer("InnerProduct", "inner_product_param { num_output: 3 }", "h", "f")
    text += layer("SoftmaxWithLoss", bottoms="f t", tops="loss")
    net = make_net(text, {"x": (4, 3, 4, 4), "t": (4,)})
    net.params["f"][0].data[...] = normal(3, 48)
    report = check_gradients(net, {"t": np.array([0.0, 1, 2, 0])})
    for blob in range(2):
        assert f'layer "scale" (Scale), learnable blob {blob}' in report.checked
        assert net.params["scale"][blob].diff.any()


# What propagates


def test_propagate_down_cuts_a_branch_off():
    tail = layer("Eltwise", bottoms="a b", tops="y")
    branches = layer("TanH", bottoms="x", tops="a") + "layer { %s } " + tail
    cut = 'name: "b" type: "Sigmoid" bottom: "x" top: "b" propagate_down: false'
    inputs = {"x": (2, 3)}
    whole = check_gradients(branches % cut.replace("propagate_down: false", ""), inputs)
    assert "x" in whole.checked
    with pytest.raises(Error, match="no input and no learnable blob"):
        check_gradients(make_net(branches % cut, inputs), inputs)


LENET_LIKE = (
    conv("4 kernel_size: 3", tops="c1")
    + layer("Pooling", "pooling_param { kernel_size: 2 stride: 2 }", "c1", "p1")
    + conv("6 kernel_size: 2", bottoms="p1", tops="c2")
    + layer("ReLU", bottoms="c2", tops="c2", name="r")
    + layer("InnerProduct", "inner_product_param { num_output: 8 }", "c2", "i1")
    + layer("Dropout", bottoms="i1", tops="i1", name="d")
    + layer("InnerProduct", "inner_product_param { num_output: 3 }", "i1", "i2")
    + layer("SoftmaxWithLoss", bottoms="i2 t", tops="loss")
    + layer("Accuracy", bottoms="i2 t", tops="accuracy")
)
RESIDUAL = (
    conv("4 kernel_size: 3 pad: 1", tops="c1")
    + layer("BatchNorm", bottoms="c1", tops="c1", name="n1")
    + layer("Scale", "scale_param { bias_term: true }", "c1", "c1", "s1")
    + layer("ELU", bottoms="c1", tops="c1", name="r1")
    + conv("4 kernel_size: 3 pad: 1", bottoms="c1", tops="c2")
    + layer("BatchNorm", bottoms="c2", tops="c2", name="n2")
    + layer("Scale", "scale_param { bias_term: true }", "c2", "c2", "s2")
    + layer("Eltwise", bottoms="c1 c2", tops="e")
    + layer("TanH", bottoms="e", tops="e", name="r2")
    + layer("Pooling", "pooling_param { pool: AVE global_pooling: true }", "e", "g")
    + layer("InnerProduct", "inner_product_param { num_output: 3 }", "g", "f")
    + layer("SoftmaxWithLoss", bottoms="f t", tops="loss")
)
INCEPTION = (
    conv("3 kernel_size: 1", tops="a")
    + layer("PReLU", bottoms="a", tops="a", name="ra")
    + conv("4 kernel_size: 3 pad: 1", tops="b")
    + layer("ELU", bottoms="b", tops="b", name="rb")
    + layer("Pooling", "pooling_param { pool: AVE kernel_size: 3 stride: 1 pad: 1 }", tops="p")
    + conv("2 kernel_size: 1", bottoms="p", tops="c")
    + layer("Concat", bottoms="a b c", tops="j")
    + layer("LRN", "lrn_param { local_size: 3 alpha: 0.5 }", bottoms="j", tops="n")
    + layer("InnerProduct", "inner_product_param { num_output: 3 }", "n", "f")
    + layer("SoftmaxWithLoss", "loss_weight: 0.7", bottoms="f t", tops="loss")
    + layer("InnerProduct", "inner_product_param { num_output: 3 }", "b", "aux")
    + layer("SoftmaxWithLoss", "loss_weight: 0.3", bottoms="aux t", tops="loss2")
)
NETS = {"LeNet": LENET_LIKE, "residual": RESIDUAL, "inception": INCEPTION}


# In float32, kinks of inner layers and rounding are all around: samples are enough.
WHOLE_NET = {"samples": 25, "step": 5e-3, "tolerance": 1e-2, "max_skipped": 0.15}


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", NETS)
def test_net(name, isa):
    _core.kernels.set_isa(isa)
    inputs = {"x": (2, 3, 8, 8), "t": np.array([2.0, 0])}
    report = check_gradients(NETS[name], inputs, **WHOLE_NET)
    assert sum(report.checked.values()) > 80
    assert "t" not in report.checked


@pytest.mark.parametrize("name", NETS)
def test_net_as_it_is_trained(name):
    inputs = {"x": (2, 3, 8, 8), "t": np.array([2.0, 0])}
    net = make_net(NETS[name], {"x": inputs["x"], "t": (2,)})
    report = check_gradients(net, inputs, **WHOLE_NET)
    assert "x" not in report.checked, "nothing learnable lies before it"
    assert len(report.checked) == sum(row["lr_mult"] != 0 for row in net._core.param_rows())


# The checker


def small_net():
    inputs = {"x": (3, 4), "t": (3,)}
    text = layer("InnerProduct", "inner_product_param { num_output: 5 }", tops="h", name="first")
    text += layer("TanH", bottoms="h", tops="g")
    text += layer("InnerProduct", "inner_product_param { num_output: 3 }", "g", "f", "second")
    text += layer("SoftmaxWithLoss", bottoms="f t", tops="loss")
    return make_net(text, inputs), {"x": (3, 4), "t": np.array([0.0, 2, 1])}


def test_report():
    net, inputs = small_net()
    report = check_gradients(net, inputs, samples=10)
    assert report.checked == {
        'layer "first" (InnerProduct), learnable blob 0': 10,
        'layer "first" (InnerProduct), learnable blob 1': 5,
        'layer "second" (InnerProduct), learnable blob 0': 10,
        'layer "second" (InnerProduct), learnable blob 1': 3,
    }
    assert report.skipped == []
    assert 0 < report.worst < 2e-3
    assert str(report).startswith("28 gradients in 4 blobs agree to ")


@pytest.mark.parametrize(
    "alter",
    [lambda d: d * 1.02, lambda d: -d, lambda d: d * 0, lambda d: d + 0.01, lambda d: d[::-1]],
    ids=["2 % off", "sign", "missing", "added", "order"],
)
@pytest.mark.parametrize("blob", ["f", "g", "h"])
def test_a_wrong_gradient_is_found(alter, blob):
    """The diff of one blob is altered while the backward pass is on its way through the net."""
    net, inputs = small_net()
    writer = {"f": "loss", "g": "second", "h": "g"}[blob]
    index = net._core.layer_index(writer)

    def hook(layer):
        if layer == index:
            diff = net.blobs[blob].diff
            diff[...] = alter(diff.copy())

    net._core.after_backward(hook)
    with pytest.raises(Error) as caught:
        check_gradients(net, inputs, samples=1000)
    for word in ('layer "', "(InnerProduct), learnable blob", "element (", "backward gives"):
        assert word in str(caught.value)


def test_one_wrong_element_of_a_parameter_is_found():
    net, inputs = small_net()
    index = net._core.layer_index("second")

    def hook(layer):
        if layer == index:
            net.params["second"][0].diff[1, 3] *= 1.05

    net._core.after_backward(hook)
    with pytest.raises(Error, match=r'layer "second".*blob 0, element \(1, 3\): backward gives'):
        check_gradients(net, inputs, samples=1000)


def test_gradients_that_are_not_added_up_are_found():
    """What a net without accumulation would compute: the diff of the last reader alone."""
    inputs = {"h": (2, 3), "t": (2,)}
    text = layer("InnerProduct", "inner_product_param { num_output: 3 }", "h", "x", "ip")
    text += layer("TanH", tops="a") + layer("Sigmoid", tops="b")
    text += layer("Eltwise", bottoms="a b", tops="f")
    text += layer("SoftmaxWithLoss", bottoms="f t", tops="loss")
    net = make_net(text, inputs)
    kept = {}
    reader = net._core.layer_index("a")

    def before(layer):
        if layer == reader:
            kept["b"] = net.blobs["x"].diff.copy()

    def after(layer):
        if layer == reader:
            net.blobs["x"].diff[...] -= kept["b"]

    labels = {"t": np.array([0.0, 1])}
    check_gradients(net, labels)
    net._core.before_backward(before)
    net._core.after_backward(after)
    with pytest.raises(Error, match="backward gives"):
        check_gradients(net, labels)


def test_kinks_are_skipped_and_reported():
    values = np.array([[0.0, 1.0, 0.004, -2.0, 3.0, 1.5, 0.7, 0.9, -1.1, -0.6]])
    report = check_gradients(layer("ReLU"), {"x": values})
    assert [text.rsplit(", element ")[1] for text in report.skipped] == ["(0, 0)", "(0, 2)"]
    assert 'input "x", read by layer "y" (ReLU)' in report.skipped[0]
    assert report.checked == {"x": 8}


def test_too_many_kinks_are_an_error():
    with pytest.raises(Error, match=r"12 of 12 elements lie at kinks.*max_skipped = 0.05"):
        check_gradients(layer("ReLU"), {"x": np.zeros((3, 4))})
    report = check_gradients(layer("ReLU"), {"x": np.zeros((3, 4))}, max_skipped=1)
    assert len(report.skipped) == 12


def test_a_wrong_gradient_is_not_taken_for_a_kink():
    """A strongly bent function with a gradient of the wrong size."""
    inputs = {"x": (2, 5), "t": (2,)}
    text = layer("InnerProduct", "inner_product_param { num_output: 3 }", "x", "h", "ip")
    text += layer("Scale", "scale_param { num_axes: 0 filler { value: 3 } }", "h", "g")
    text += layer("TanH", bottoms="g", tops="f")
    text += layer("SoftmaxWithLoss", bottoms="f t", tops="loss")
    net = make_net(text, inputs)
    labels = {"t": np.array([0.0, 2])}
    check_gradients(net, labels)
    index = net._core.layer_index("loss")

    def hook(layer):
        if layer == index:
            net.blobs["f"].diff[...] *= 1.05

    net._core.after_backward(hook)
    with pytest.raises(Error, match="backward gives"):
        check_gradients(net, labels)


def test_random_layers_draw_the_same_numbers_again():
    report = check_gradients(
        layer("Dropout", tops="d")
        + layer("InnerProduct", "inner_product_param { num_output: 4 }", "d", "y"),
        {"x": (4, 30)},
    )
    assert report.skipped == []


def test_state_of_batch_norm_does_not_drift():
    net = make_net(layer("BatchNorm") + "force_backward: true", {"x": (4, 3)})
    check_gradients(net, {"x": (4, 3)})
    once = net._core.layer(1).blobs[2].data.item()
    assert once == 1, "every pass started from the same running sums"


def test_models_of_all_kinds(tmp_path):
    path = tmp_path / "net.prototxt"
    path.write_text(input_layers({"x": (2, 3)}) + layer("TanH"))
    message = prototxt.load_net(path)
    want = {"x": 6}
    assert check_gradients(path).checked == want
    assert check_gradients(str(path)).checked == want
    assert check_gradients(message).checked == want
    assert check_gradients(prototxt.net_spec(message)).checked == want
    assert check_gradients(message, {"x": (5, 2)}).checked == {"x": 10}


def test_errors_say_what_to_do():
    with pytest.raises(Error, match='unknown bottom blob "x"'):
        check_gradients(layer("TanH"), {})
    with pytest.raises(Error, match='no input "z"'):
        check_gradients(layer("TanH"), {"x": (2, 3), "z": (2,)})
    net = make_net(layer("TanH"), {"x": (2, 3)})
    with pytest.raises(Error, match="force_backward"):
        check_gradients(net)
    outputs = make_net(layer("TanH"), {"x": (2, 3)}, keep="outputs")
    with pytest.raises(Error, match='keep="all"'):
        check_gradients(outputs)
    with pytest.raises(Error, match="NaN or infinity"):
        check_gradients(layer("TanH"), {"x": np.full((2, 2), np.nan)})
