"""What each TensorRT's ONNX parser takes: operators, their data types and opsets, as facts.

From the parser's published support matrix (``docs/operators.md`` of onnx-tensorrt) and changelog:

- 8.5: the matrix of that release. UINT8 is an input's type alone, and goes into a Cast.
- 8.6: 8.5's, and what the changelog adds: LayerNormalization, GroupNormalization, IsInf, and INT32
  for ArgMax, ArgMin and TopK.
- 10: what the matrices of 9.2 and of 10.15 both have, so that it holds for every 10; from 10.6 on
  with ONNX 1.17's opset.
- 11: the matrix of 10.15; the release notes of 11 add operators and remove none.

Before 9.0 INT64 becomes INT32 and DOUBLE becomes FLOAT while the parser reads a graph.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

_LETTERS = {
    "F": "FLOAT", "H": "FLOAT16", "b": "BFLOAT16", "I": "INT32", "L": "INT64", "Q": "INT8",
    "U": "UINT8", "B": "BOOL",
}  # fmt: skip

# operators by the types that they may have, a letter each
_OF_8_5 = {
    "F": "ConstantOfShape",
    "FH": "Acos Acosh ArgMax ArgMin Asin Asinh Atan Atanh BatchNormalization Ceil Celu Cos Cosh "
    "CumSum Dropout Einsum Erf Exp Floor GRU GridSample ImageScaler InstanceNormalization LRN LSTM "
    "Log LogSoftmax LpNormalization MatMul MeanVarianceNormalization NonMaxSuppression NonZero Pow "
    "QuantizeLinear RNN RandomNormal RandomNormalLike RandomUniform RandomUniformLike Reciprocal "
    "ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd "
    "ReduceSum ReduceSumSquare Resize ReverseSequence RoiAlign Scan Sin Sinh Softmax Sqrt Tan TopK "
    "Upsample",
    "FHI": "Abs Add DepthToSpace Div Equal Greater GreaterOrEqual IsNaN Less LessOrEqual Max Mean "
    "Min Mod Mul Neg Range Shrink SpaceToDepth Sub Sum",
    "FHQ": "Clip Conv ConvTranspose Elu Gemm GlobalAveragePool GlobalLpPool GlobalMaxPool "
    "HardSigmoid HardSwish LeakyRelu LpPool MaxPool PRelu ParametricSoftplus Relu Round ScaledTanh "
    "Selu Sigmoid Softplus Softsign Tanh ThresholdedRelu",
    "FHIQ": "AveragePool Pad Scatter ScatterElements ScatterND Sign",
    "FHIB": "Expand EyeLike Flatten If Loop OneHot Split Tile Where",
    "FHIQB": "Cast Concat Constant Gather GatherElements GatherND Identity Reshape Shape Size "
    "Slice Squeeze Transpose Trilu Unsqueeze",
    "Q": "DequantizeLinear",
    "B": "And Not Or Xor",
}
_NEW_IN_8_6 = {
    "FH": "GroupNormalization IsInf LayerNormalization",
    "FHI": "ArgMax ArgMin TopK",
}
_OF_10 = {
    "F": "ConstantOfShape",
    "FH": "GridSample NonMaxSuppression NonZero RoiAlign",
    "FHb": "Acos Acosh Asin Asinh Atan Atanh AveragePool BatchNormalization Ceil Celu Clip Conv "
    "ConvTranspose Cos Cosh CumSum Dropout Einsum Elu Erf Exp Floor GRU Gemm GlobalAveragePool "
    "GlobalLpPool GlobalMaxPool GroupNormalization HardSigmoid HardSwish Hardmax ImageScaler "
    "InstanceNormalization IsInf LRN LSTM LayerNormalization LeakyRelu Log LogSoftmax "
    "LpNormalization LpPool MatMul MaxPool MeanVarianceNormalization PRelu ParametricSoftplus Pow "
    "QuantizeLinear RNN RandomNormal RandomNormalLike RandomUniform RandomUniformLike Reciprocal "
    "Resize Round ScaledTanh Scan Selu Sigmoid Sin Sinh Softmax Softplus Softsign Sqrt Tan Tanh "
    "ThresholdedRelu Upsample",
    "FHbIL": "Abs Add ArgMax ArgMin DepthToSpace Div Equal Greater GreaterOrEqual IsNaN Less "
    "LessOrEqual Max Mean Min Mod Mul Neg Pad Range ReduceL1 ReduceL2 ReduceLogSum "
    "ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu "
    "Scatter ScatterElements ScatterND Shrink Sign SpaceToDepth Sub Sum TopK",
    "FHbILB": "Concat Constant Expand EyeLike Flatten Gather GatherElements GatherND Identity If "
    "Loop OneHot Reshape ReverseSequence Shape Size Slice Split Squeeze Tile Transpose Trilu "
    "Unsqueeze Where",
    "FHbILUB": "Cast CastLike",
    "Q": "DequantizeLinear",
    "B": "And Not Or Xor",
}
_NEW_IN_11 = {
    "F": "STFT",
    "FH": "BlackmanWindow DeformConv HammingWindow HannWindow Mish",
    "FHb": "Attention RMSNormalization RotaryEmbedding",
    "FHbIL": "Gelu Pow",
    "FHbILB": "ConstantOfShape",
}


@dataclass(frozen=True)
class Support:
    """What one generation of the parser takes.

    ``operators`` gives the ONNX element types of every operator's data; ``opset`` is the newest.
    ``narrows`` are the types that become others while a graph is read.
    """

    name: str
    opset: int
    operators: Mapping[str, frozenset[str]]
    narrows: Mapping[str, str]


def _merged(*groups: Mapping[str, str]) -> dict[str, frozenset[str]]:
    found: dict[str, frozenset[str]] = {}
    for group in groups:
        for letters, names in group.items():
            kinds = frozenset(_LETTERS[letter] for letter in letters)
            found |= {name: found.get(name, frozenset()) | kinds for name in names.split()}
    return found


_NARROW = {"INT64": "INT32", "DOUBLE": "FLOAT"}

SUPPORT: Mapping[str, Support] = {
    support.name: support
    for support in (
        Support("8.5", 17, _merged(_OF_8_5), _NARROW),
        Support("8.6", 17, _merged(_OF_8_5, _NEW_IN_8_6), _NARROW),
        Support("10", 20, _merged(_OF_10), {"DOUBLE": "FLOAT"}),
        Support("10.6", 22, _merged(_OF_10), {"DOUBLE": "FLOAT"}),
        Support("11", 24, _merged(_OF_10, _NEW_IN_11), {"DOUBLE": "FLOAT"}),
    )
}
"""By generation, the oldest first."""


def support_of(age: tuple[int, int]) -> Support:
    """What TensorRT ``age``, its major and minor version, takes: the generation at or below it."""
    known = [s for s in SUPPORT.values() if tuple(map(int, s.name.split("."))) <= age]
    return known[-1]
