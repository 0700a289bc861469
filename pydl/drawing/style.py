"""Colours by kind of layer."""

from __future__ import annotations

# (fill, stroke)
_PLAIN = ("#eef2f6", "#98a2b3")
_KINDS = {
    ("#d1e9ff", "#2e90fa"): "Convolution Deconvolution Im2col "
    "DepthwiseConvolution ConvolutionDepthwise Convolution3D",
    ("#e0eaff", "#6172f3"): "InnerProduct Embed Bias Scale LSTM RNN GRU Recurrent LSTMUnit "
    "Attention MultiHeadAttention SequenceAttention PositionalEmbedding RotaryEmbedding RBM Gram",
    ("#ffead5", "#fb6514"): "Pooling Pooling3D SPP Interp Upsample",
    ("#dcfae6", "#17b26a"): "ReLU ReLU6 PReLU ELU Sigmoid TanH BNLL Swish HardSwish Mish GELU Clip "
    "AbsVal Power Exp Log Threshold Dropout Softmax SiLU Softplus LeakyReLU SELU GLU Maxout Noise "
    "GaussianSampling",
    ("#fef7c3", "#eaaa08"): "BatchNorm BN LRN MVN Normalize LayerNorm RMSNorm GroupNorm "
    "InstanceNorm",
    ("#ebe9fe", "#7a5af8"): "Concat Eltwise Slice Split Crop Reshape Flatten Tile Reduction "
    "BatchReindex Filter ArgMax Silence Axpy Permute Reorg ShuffleChannel Reverse",
    ("#fee4e2", "#f04438"): "Accuracy",
    ("#e6f4f1", "#15b79e"): "Input Data ImageData HDF5Data MemoryData WindowData DummyData "
    "Parameter",
    ("#fce7f6", "#ee46bc"): "Python",
}
_BY_TYPE = {name: pair for pair, names in _KINDS.items() for name in names.split()}


def colours(layer_type: str) -> tuple[str, str]:
    """(fill, stroke) of a layer's box."""
    if "Loss" in layer_type:
        return _BY_TYPE["Accuracy"]
    return _BY_TYPE.get(layer_type, _PLAIN)
