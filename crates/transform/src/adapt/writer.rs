//! Writing the nodes of adapters: fresh names, constants, and the forms that operators have in the model's operator set.

use plimsoll_onnx::{
    DType, Model, Names, Tensor, attr, node,
    proto::{AttributeProto, NodeProto, TensorProto},
};

/// Nodes and constants in the making.
pub(super) struct Writer {
    names: Names,
    opset: i64,
    pub(super) nodes: Vec<NodeProto>,
    pub(super) constants: Vec<TensorProto>,
}

impl Writer {
    pub(super) fn new(model: &Model) -> Self {
        let opset = model.opset("").unwrap_or(1);
        Self { names: Names::of(model), opset, nodes: Vec::new(), constants: Vec::new() }
    }

    pub(super) fn fresh(&mut self, base: &str) -> String {
        self.names.fresh(base)
    }

    pub(super) fn constant(&mut self, base: &str, tensor: &Tensor) -> String {
        let name = self.names.fresh(&format!("adapt_{base}"));
        self.constants.push(tensor.to_proto(&name));
        name
    }

    /// One number of an element type, as a scalar.
    pub(super) fn scalar(&mut self, base: &str, value: f64, dtype: DType) -> String {
        let array = super::array::Array { shape: vec![], data: vec![value] };
        // Only the dtypes that are computed in come here, all of which an array becomes.
        let tensor = array.tensor(dtype).unwrap_or_else(|_| Tensor::scalar(value as f32));
        self.constant(base, &tensor)
    }

    pub(super) fn list(&mut self, base: &str, values: &[i64]) -> String {
        self.constant(base, &Tensor::vector(values))
    }

    /// Numbers that stand along one axis of a value of this rank.
    pub(super) fn along(&mut self, base: &str, values: &[f64], axis: Option<usize>, rank: usize) -> String {
        let mut shape = vec![1; rank];
        if let (Some(axis), true) = (axis, values.len() > 1) {
            shape[axis] = values.len();
        }
        let values: Vec<f32> = values.iter().map(|v| *v as f32).collect();
        let tensor =
            if values.len() == 1 { Ok(Tensor::scalar(values[0])) } else { Tensor::from_elements(&shape, &values) };
        let tensor = tensor.unwrap_or_else(|_| Tensor::vector(&values));
        self.constant(base, &tensor)
    }

    /// A node with one output; its name.
    pub(super) fn node(&mut self, op: &str, inputs: &[&str], attributes: Vec<AttributeProto>) -> String {
        let output = self.names.fresh(&format!("adapt_{}", op.to_lowercase()));
        let mut n = node::with(op, inputs, &[&output], attributes);
        n.name = output.clone();
        self.nodes.push(n);
        output
    }

    pub(super) fn cast(&mut self, value: &str, to: DType) -> String {
        self.node("Cast", &[value], vec![attr::from_int("to", to.to_onnx().into())])
    }

    /// `ReduceSum` takes its axes as an input since version 13, the other reductions since 18.
    pub(super) fn reduce(&mut self, op: &str, value: &str, axes: &[usize]) -> String {
        let axes: Vec<i64> = axes.iter().map(|&a| a as i64).collect();
        let keep = attr::from_int("keepdims", 1);
        if self.opset >= if op == "ReduceSum" { 13 } else { 18 } {
            let list = self.list("axes", &axes);
            return self.node(op, &[value, &list], vec![keep]);
        }
        self.node(op, &[value], vec![attr::from_ints("axes", &axes), keep])
    }

    pub(super) fn reshape(&mut self, value: &str, shape: &[i64]) -> String {
        let shape = self.list("shape", shape);
        self.node("Reshape", &[value, &shape], vec![])
    }

    pub(super) fn transpose(&mut self, value: &str, perm: &[usize]) -> String {
        let perm: Vec<i64> = perm.iter().map(|&p| p as i64).collect();
        self.node("Transpose", &[value], vec![attr::from_ints("perm", &perm)])
    }

    /// Where a value is NaN.
    pub(super) fn is_nan(&mut self, value: &str) -> String {
        self.node("IsNaN", &[value], vec![])
    }
}
