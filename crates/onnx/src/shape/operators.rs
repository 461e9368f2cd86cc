//! Types and shapes of element-wise operators; which file knows the others.

use onnx_protobuf::NodeProto;

use super::{Infer, ValueType, bodies};
use crate::{DType, attr, node};

impl Infer<'_> {
    pub(super) fn infer_node(&mut self, n: &NodeProto) -> Option<Vec<ValueType>> {
        let op = n.op_type.as_str();
        let one = |t: ValueType| Some(vec![t]);
        match op {
            "Relu"
            | "LeakyRelu"
            | "Sigmoid"
            | "HardSigmoid"
            | "Tanh"
            | "Elu"
            | "Selu"
            | "Celu"
            | "Softplus"
            | "Softsign"
            | "Erf"
            | "Exp"
            | "Log"
            | "Sqrt"
            | "Reciprocal"
            | "Abs"
            | "Neg"
            | "Floor"
            | "Ceil"
            | "Round"
            | "Sign"
            | "Sin"
            | "Cos"
            | "Tan"
            | "Asin"
            | "Acos"
            | "Atan"
            | "Sinh"
            | "Cosh"
            | "Asinh"
            | "Acosh"
            | "Atanh"
            | "Identity"
            | "Clip"
            | "Softmax"
            | "LogSoftmax"
            | "Hardmax"
            | "HardSwish"
            | "Gelu"
            | "Mish"
            | "Swish"
            | "ThresholdedRelu"
            | "Shrink"
            | "Not"
            | "BitwiseNot"
            | "LRN"
            | "LpNormalization"
            | "InstanceNormalization"
            | "GroupNormalization"
            | "MeanVarianceNormalization"
            | "CumSum"
            | "Trilu"
            | "ScatterElements"
            | "ScatterND"
            | "Scatter"
            | "ReverseSequence"
            | "RMSNormalization" => one(self.like(n, 0)),
            "BatchNormalization" | "LayerNormalization" => one(self.like(n, 0)),
            "Dropout" => {
                let mask = ValueType { dtype: Some(DType::Bool), dims: self.dims(n, 0) };
                Some(vec![self.like(n, 0), mask])
            }
            "IsNaN" | "IsInf" => one(ValueType { dtype: Some(DType::Bool), dims: self.dims(n, 0) }),
            "Add" | "Sub" | "Mul" | "Div" | "Pow" | "Mod" | "PRelu" | "BitwiseAnd" | "BitwiseOr" | "BitwiseXor"
            | "BitShift" | "Max" | "Min" | "Sum" | "Mean" => {
                // Before operator set 7 broadcasting was an attribute with other rules.
                let dims = (0..n.input.len()).map(|i| self.dims(n, i)).collect();
                let dims = if self.opset < 7 { self.dims(n, 0) } else { self.broadcast(dims) };
                one(ValueType { dtype: self.dtype(n, 0), dims })
            }
            "Equal" | "Less" | "LessOrEqual" | "Greater" | "GreaterOrEqual" | "And" | "Or" | "Xor" => {
                let dims = vec![self.dims(n, 0), self.dims(n, 1)];
                let dims = if self.opset < 7 { self.dims(n, 0) } else { self.broadcast(dims) };
                one(ValueType { dtype: Some(DType::Bool), dims })
            }
            "Where" => {
                let dims = (0..3).map(|i| self.dims(n, i)).collect();
                one(ValueType { dtype: self.dtype(n, 1), dims: self.broadcast(dims) })
            }
            "Cast" => {
                let dtype = attr::int(n, "to").and_then(|to| DType::from_onnx(to as i32));
                one(ValueType { dtype, dims: self.dims(n, 0) })
            }
            "CastLike" => one(ValueType { dtype: self.dtype(n, 1), dims: self.dims(n, 0) }),
            "QuantizeLinear" => {
                let named = attr::int(n, "output_dtype").and_then(|t| DType::from_onnx(t as i32));
                let dtype = self.dtype(n, 2).or(named).or(node::input(n, 2).is_none().then_some(DType::U8));
                one(ValueType { dtype, dims: self.dims(n, 0) })
            }
            "DequantizeLinear" => one(ValueType { dtype: self.dtype(n, 1), dims: self.dims(n, 0) }),
            "DynamicQuantizeLinear" => {
                let scalar = |dtype| ValueType { dtype: Some(dtype), dims: Some(vec![]) };
                let quantized = ValueType { dtype: Some(DType::U8), dims: self.dims(n, 0) };
                Some(vec![quantized, scalar(DType::F32), scalar(DType::U8)])
            }
            "Einsum" => one(ValueType { dtype: self.dtype(n, 0), dims: self.einsum(n) }),
            "If" | "Loop" | "Scan" => Some(bodies::declared_types(n)),
            _ => self.infer_layer(n).or_else(|| self.infer_movement(n)).or_else(|| self.infer_reduction(n)),
        }
    }
}
