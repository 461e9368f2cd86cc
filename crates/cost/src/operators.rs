//! Operators of ONNX (default domain, up to operator set 26) that are no linear layer.

/// Sorted. Not in it: what multiplies matrices or convolves, what has bodies, and what is a transform of its own (`DFT`, `STFT`, `Det`,
/// `AffineGrid`, `LinearAttention`, …), of which no count is claimed.
#[rustfmt::skip]
const NOTHING: &[&str] = &[
    "Abs", "Acos", "Acosh", "Add", "And", "ArgMax", "ArgMin", "Asin", "Asinh", "Atan", "Atanh", "AveragePool",
    "BatchNormalization", "Bernoulli", "BitCast", "BitShift", "BitwiseAnd", "BitwiseNot", "BitwiseOr",
    "BitwiseXor", "BlackmanWindow", "Cast", "CastLike", "Ceil", "Celu", "CenterCropPad", "Clip", "Col2Im",
    "Compress", "Concat", "ConcatFromSequence", "Constant", "ConstantOfShape", "Cos", "Cosh", "CumProd", "CumSum",
    "DepthToSpace", "DequantizeLinear", "Div", "Dropout", "DynamicQuantizeLinear", "Elu", "Equal", "Erf", "Exp",
    "Expand", "EyeLike", "Flatten", "Floor", "Gather", "GatherElements", "GatherND", "Gelu", "GlobalAveragePool",
    "GlobalLpPool", "GlobalMaxPool", "Greater", "GreaterOrEqual", "GridSample", "GroupNormalization",
    "HammingWindow", "HannWindow", "HardSigmoid", "HardSwish", "Hardmax", "Identity", "ImageDecoder",
    "InstanceNormalization", "IsInf", "IsNaN", "LRN", "LayerNormalization", "LeakyRelu", "Less", "LessOrEqual",
    "Log", "LogSoftmax", "LpNormalization", "LpPool", "Max", "MaxPool", "MaxRoiPool", "MaxUnpool", "Mean",
    "MeanVarianceNormalization", "Min", "Mish", "Mod", "Mul", "Multinomial", "Neg", "NegativeLogLikelihoodLoss",
    "NonMaxSuppression", "NonZero", "Not", "OneHot", "Optional", "OptionalGetElement", "OptionalHasElement", "Or",
    "PRelu", "Pad", "Pow", "QuantizeLinear", "RMSNormalization", "RandomNormal", "RandomNormalLike",
    "RandomUniform", "RandomUniformLike", "Range", "Reciprocal", "ReduceL1", "ReduceL2", "ReduceLogSum",
    "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare",
    "RegexFullMatch", "Relu", "Reshape", "Resize", "ReverseSequence", "RoiAlign", "RotaryEmbedding", "Round",
    "Scatter", "ScatterElements", "ScatterND", "Selu", "SequenceAt", "SequenceConstruct", "SequenceEmpty",
    "SequenceErase", "SequenceInsert", "SequenceLength", "Shape", "Shrink", "Sigmoid", "Sign", "Sin", "Sinh",
    "Size", "Slice", "Softmax", "SoftmaxCrossEntropyLoss", "Softplus", "Softsign", "SpaceToDepth", "Split",
    "SplitToSequence", "Sqrt", "Squeeze", "StringConcat", "StringNormalizer", "StringSplit", "Sub", "Sum",
    "Swish", "Tan", "Tanh", "TensorScatter", "TfIdfVectorizer", "ThresholdedRelu", "Tile", "TopK", "Transpose",
    "Trilu", "Unique", "Unsqueeze", "Upsample", "Where", "Xor",
];

/// Whether an operator multiplies no matrices: it is element-wise, moves data, reduces, normalizes or looks up. One that ONNX added
/// later is not known to.
pub(crate) fn multiply_nothing(op: &str) -> bool {
    NOTHING.binary_search(&op).is_ok()
}

/// Whether the output is the input, perhaps under another shape (`Dropout` does nothing outside of training).
pub(crate) fn is_view(op: &str) -> bool {
    matches!(op, "Identity" | "Dropout" | "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze")
}

/// Whether each output element depends on the elements at its place alone, so that the output may be written over an input.
#[rustfmt::skip]
pub(crate) fn is_elementwise(op: &str) -> bool {
    const ELEMENTWISE: &[&str] = &[
        "Abs", "Acos", "Acosh", "Add", "And", "Asin", "Asinh", "Atan", "Atanh", "BitwiseAnd", "BitwiseNot", "BitwiseOr", "BitwiseXor",
        "Cast", "Ceil", "Celu", "Clip", "Cos", "Cosh", "DequantizeLinear", "Div", "Elu", "Erf", "Exp", "Floor", "Gelu",
        "HardSigmoid", "HardSwish", "LeakyRelu", "Log", "Max", "Min", "Mish", "Mod", "Mul", "Neg", "Not", "Or", "PRelu", "Pow",
        "QuantizeLinear", "Reciprocal", "Relu", "Round", "Selu", "Shrink", "Sigmoid", "Sign", "Sin", "Sinh", "Softplus", "Softsign",
        "Sqrt", "Sub", "Sum", "Swish", "Tan", "Tanh", "ThresholdedRelu", "Where", "Xor",
    ];
    ELEMENTWISE.binary_search(&op).is_ok()
}

/// Whether all operands but the first say how: shapes, axes, scales. Executors take them in when they load a model.
#[rustfmt::skip]
pub(crate) fn takes_settings(op: &str) -> bool {
    const SETTINGS: &[&str] = &[
        "Dropout", "Expand", "Pad", "Reshape", "Resize", "Slice", "Split", "Squeeze", "Tile", "TopK", "Unsqueeze", "Upsample",
    ];
    op.starts_with("Reduce") || SETTINGS.contains(&op)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unsorted_list_would_hide_operators() {
        assert!(NOTHING.is_sorted(), "sort the list");
        for op in ["Abs", "Xor", "Where", "Relu", "QuantizeLinear"] {
            assert!(is_elementwise(op) && multiply_nothing(op), "{op}");
        }
        assert!(multiply_nothing("Relu") && !multiply_nothing("Conv") && !multiply_nothing("NewLayer"));
    }
}
