//! Small models for tests: a builder, and a generator of random convolutional graphs with residual sums, branches, gates,
//! depthwise layers and several kinds of heads.

use plimsoll_onnx::{
    Model, Patch, Tensor, Tensors, attr, node,
    proto::{AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, ValueInfoProto},
};
use plimsoll_runtime::{Executor, LoadOptions, TractExecutor};

use crate::Context;

/// SplitMix64 (Steele et al., "Fast Splittable Pseudorandom Number Generators").
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }
    pub(crate) fn tensor(&mut self, shape: &[usize]) -> Tensor {
        let count = shape.iter().product::<usize>();
        let values: Vec<f32> = (0..count).map(|_| (self.next() >> 40) as f32 / (1u64 << 23) as f32 - 1.0).collect();
        Tensor::from_elements(shape, &values).unwrap()
    }
}

/// A graph in the making.
pub(crate) struct Builder {
    pub(crate) graph: GraphProto,
    pub(crate) dice: Dice,
    count: usize,
    pub(crate) opset: i64,
}

impl Builder {
    pub(crate) fn new(seed: u64, input: &[i64]) -> Self {
        let mut graph = GraphProto { name: "g".into(), ..Default::default() };
        graph.input.push(value("x", input));
        Self { graph, dice: Dice(seed), count: 0, opset: 13 }
    }

    /// A further input; a dimension of -1 is open.
    pub(crate) fn input(&mut self, name: &str, dims: &[i64]) {
        self.graph.input.push(value(name, dims));
    }

    pub(crate) fn name(&mut self) -> String {
        self.count += 1;
        format!("v{}", self.count)
    }

    pub(crate) fn hold(&mut self, tensor: &Tensor) -> String {
        let name = self.name();
        self.graph.initializer.push(tensor.to_proto(&name));
        name
    }

    pub(crate) fn weight(&mut self, shape: &[usize]) -> String {
        let tensor = self.dice.tensor(shape);
        self.hold(&tensor)
    }

    pub(crate) fn ints(&mut self, values: &[i64]) -> String {
        self.hold(&Tensor::vector(values))
    }

    pub(crate) fn add(&mut self, op: &str, inputs: &[&str], attributes: Vec<AttributeProto>) -> String {
        let output = self.name();
        let n = NodeProto { name: format!("{op}_{output}"), ..node::with(op, inputs, &[&output], attributes) };
        self.graph.node.push(n);
        output
    }

    /// A node with several outputs.
    pub(crate) fn add_all(
        &mut self,
        op: &str,
        inputs: &[&str],
        outputs: usize,
        attributes: Vec<AttributeProto>,
    ) -> Vec<String> {
        let names: Vec<String> = (0..outputs).map(|_| self.name()).collect();
        let all: Vec<&str> = names.iter().map(String::as_str).collect();
        let n = NodeProto { name: format!("{op}_{}", names[0]), ..node::with(op, inputs, &all, attributes) };
        self.graph.node.push(n);
        names
    }

    pub(crate) fn conv(&mut self, x: &str, from: usize, to: usize, kernel: usize) -> String {
        let w = self.weight(&[to, from, kernel, kernel]);
        let pad = (kernel / 2) as i64;
        let attributes = vec![attr::from_ints("pads", &[pad; 4]), attr::from_ints("kernel_shape", &[kernel as i64; 2])];
        if self.dice.below(3) == 0 {
            return self.add("Conv", &[x, &w], attributes);
        }
        let b = self.weight(&[to]);
        self.add("Conv", &[x, &w, &b], attributes)
    }

    pub(crate) fn finish(mut self, output: &str, dims: &[i64]) -> Model {
        self.graph.output.push(value(output, dims));
        let opset = OperatorSetIdProto { version: self.opset, ..Default::default() };
        let proto = ModelProto {
            ir_version: 8,
            opset_import: vec![opset],
            graph: Some(self.graph).into(),
            ..Default::default()
        };
        Model::from_proto(proto).unwrap()
    }
}

/// A float32 declaration.
fn value(name: &str, dims: &[i64]) -> ValueInfoProto {
    use plimsoll_onnx::proto::{TensorShapeProto, TypeProto, tensor_shape_proto, type_proto};
    let dim = |d: &i64| tensor_shape_proto::Dimension {
        value: Some(tensor_shape_proto::dimension::Value::DimValue(*d)),
        ..Default::default()
    };
    let shape = TensorShapeProto { dim: dims.iter().map(dim).collect(), ..Default::default() };
    let tensor = type_proto::Tensor { elem_type: 1, shape: Some(shape).into(), ..Default::default() };
    let kind = TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..Default::default() };
    ValueInfoProto { name: name.into(), type_: Some(kind).into(), ..Default::default() }
}

/// A random graph over an input of [1, 3, 8, 8], five outputs. Its activations keep zero at zero.
pub(crate) fn random(seed: u64) -> Model {
    let mut b = Builder::new(seed, &[1, 3, 8, 8]);
    let mut channels = 4 + b.dice.below(5);
    let mut side = 8;
    let mut x = b.conv("x", 3, channels, 3);
    for _ in 0..2 + b.dice.below(4) {
        x = match b.dice.below(9) {
            0 => {
                let to = 3 + b.dice.below(6);
                let y = b.conv(&x, channels, to, 3);
                channels = to;
                y
            }
            1 => {
                let middle = 3 + b.dice.below(6);
                let y = b.conv(&x, channels, middle, 1);
                let y = b.add("Relu", &[&y], vec![]);
                let y = b.conv(&y, middle, channels, 3);
                b.add("Add", &[&y, &x], vec![])
            }
            2 => {
                let params: Vec<String> = (0..3).map(|_| b.weight(&[channels])).collect();
                let spread: Vec<f32> = (0..channels).map(|i| 0.5 + i as f32 / 8.0).collect();
                let spread = b.hold(&Tensor::vector(&spread));
                b.add("BatchNormalization", &[&x, &params[0], &params[1], &params[2], &spread], vec![])
            }
            3 => {
                let w = b.weight(&[channels * 2, 1, 3, 3]);
                let bias = b.weight(&[channels * 2]);
                let attributes = vec![attr::from_int("group", channels as i64), attr::from_ints("pads", &[1; 4])];
                channels *= 2;
                b.add("Conv", &[&x, &w, &bias], attributes)
            }
            4 => {
                let (one, two) = (2 + b.dice.below(4), 2 + b.dice.below(4));
                let (y, z) = (b.conv(&x, channels, one, 1), b.conv(&x, channels, two, 3));
                channels = one + two;
                b.add("Concat", &[&y, &z], vec![attr::from_int("axis", 1)])
            }
            5 => {
                let gate = b.add("GlobalAveragePool", &[&x], vec![]);
                let gate = b.conv(&gate, channels, channels, 1);
                let gate = b.add("Tanh", &[&gate], vec![]);
                b.add("Mul", &[&gate, &x], vec![])
            }
            6 if side > 2 => {
                side /= 2;
                let attributes = vec![attr::from_ints("kernel_shape", &[2, 2]), attr::from_ints("strides", &[2, 2])];
                let op = ["MaxPool", "AveragePool"][b.dice.below(2)];
                b.add(op, &[&x], attributes)
            }
            7 => {
                let y = b.add("Transpose", &[&x], vec![attr::from_ints("perm", &[0, 2, 3, 1])]);
                let scale = b.weight(&[channels]);
                let y = b.add("Mul", &[&y, &scale], vec![]);
                b.add("Transpose", &[&y], vec![attr::from_ints("perm", &[0, 3, 1, 2])])
            }
            _ => {
                let op = ["Relu", "Tanh"][b.dice.below(2)];
                b.add(op, &[&x], vec![])
            }
        };
    }
    let (flat, width) = match b.dice.below(4) {
        0 => (b.add("Flatten", &[&x], vec![]), channels * side * side),
        1 => {
            let shape = b.ints(&[1, (channels * side * side) as i64]);
            (b.add("Reshape", &[&x, &shape], vec![]), channels * side * side)
        }
        2 => (
            b.add("ReduceMean", &[&x], vec![attr::from_ints("axes", &[2, 3]), attr::from_int("keepdims", 0)]),
            channels,
        ),
        _ => {
            let y = b.add("GlobalAveragePool", &[&x], vec![]);
            let axes = b.ints(&[2, 3]);
            (b.add("Squeeze", &[&y, &axes], vec![]), channels)
        }
    };
    let hidden = 4 + b.dice.below(5);
    let y = if b.dice.below(2) == 0 {
        let w = b.weight(&[width, hidden]);
        let bias = b.weight(&[hidden]);
        let y = b.add("MatMul", &[&flat, &w], vec![]);
        b.add("Add", &[&bias, &y], vec![])
    } else {
        let (w, bias) = (b.weight(&[hidden, width]), b.weight(&[hidden]));
        b.add("Gemm", &[&flat, &w, &bias], vec![attr::from_int("transB", 1)])
    };
    let y = b.add("Relu", &[&y], vec![]);
    let (w, bias) = (b.weight(&[hidden, 5]), b.weight(&[5]));
    let y = b.add("Gemm", &[&y, &w, &bias], vec![]);
    b.finish(&y, &[1, 5])
}

/// Runs a model once in the default executor; its first output.
pub(crate) fn output(model: &Model, inputs: &Tensors) -> Vec<f32> {
    let mut session = TractExecutor.load(&model.to_bytes().unwrap(), &LoadOptions::for_inputs(inputs)).unwrap();
    let name = model.outputs()[0].name.clone();
    session.run(inputs).unwrap()[&name].to_vec().unwrap()
}

/// A context without data.
pub(crate) fn context() -> Context<'static> {
    Context::new(&TractExecutor)
}

/// The model after a patch.
pub(crate) fn patched(model: &Model, patch: Patch) -> Model {
    let mut changed = model.clone();
    patch.apply(&mut changed).unwrap();
    changed
}
