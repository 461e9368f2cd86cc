//! Random convolutional graphs: branches, residuals, concatenations, splits, gates, and skips from far back.

use plimsoll_onnx::{
    Model, Tensor, attr, node,
    proto::{
        AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorShapeProto, TypeProto,
        ValueInfoProto,
        tensor_shape_proto::{Dimension, dimension::Value},
        type_proto,
    },
};
use plimsoll_stats::Random;

/// A value of `channels` planes, `side` by `side`.
#[derive(Clone)]
struct Plane {
    name: String,
    channels: usize,
    side: usize,
}

struct Builder {
    random: Random,
    graph: GraphProto,
    named: usize,
}

/// A model of a few blocks, the same for the same seed.
pub(crate) fn random_graph(seed: u64) -> Model {
    let graph = GraphProto { name: "g".into(), ..Default::default() };
    let mut b = Builder { random: Random::new(seed), graph, named: 0 };
    let mut at = Plane { name: "x".into(), channels: 1 + b.random.below(4), side: 16 << b.random.below(2) };
    b.graph.input.push(declared("x", Some(&[1, at.channels, at.side, at.side])));
    let mut before: Vec<Plane> = Vec::new();
    for _ in 0..2 + b.random.below(9) {
        let now = b.block(&at, &before);
        before.push(std::mem::replace(&mut at, now));
    }
    let mut ends = vec![at];
    if b.random.below(4) == 0 {
        let far = before[b.random.below(before.len())].clone();
        ends.push(b.conv(&far, 4, 1, 1));
    }
    for (i, end) in ends.iter().enumerate() {
        let name = format!("y{i}");
        b.graph.node.push(node::new("Relu", &[&end.name], &[&name]));
        b.graph.output.push(declared(&name, None));
    }
    let opset = OperatorSetIdProto { version: 17, ..Default::default() };
    let (opset_import, graph) = (vec![opset], Some(b.graph).into());
    Model::from_proto(ModelProto { ir_version: 8, opset_import, graph, ..Default::default() }).unwrap()
}

fn declared(name: &str, dims: Option<&[usize]>) -> ValueInfoProto {
    let dim = |d: &usize| Dimension { value: Some(Value::DimValue(*d as i64)), ..Default::default() };
    let shape = dims.map(|d| TensorShapeProto { dim: d.iter().map(dim).collect(), ..Default::default() });
    let tensor = type_proto::Tensor { elem_type: 1, shape: shape.into(), ..Default::default() };
    let kind = TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..Default::default() };
    ValueInfoProto { name: name.into(), type_: Some(kind).into(), ..Default::default() }
}

impl Builder {
    fn block(&mut self, x: &Plane, before: &[Plane]) -> Plane {
        match self.random.below(10) {
            0 => self.layer(x),
            1 if x.side >= 4 => {
                let layer = self.layer(x);
                self.pool(&layer)
            }
            2 | 3 => self.residual(x),
            4 | 5 => {
                let branches: Vec<Plane> = (0..2 + self.random.below(3)).map(|_| self.branch(x)).collect();
                self.concat(&branches)
            }
            6 if x.channels >= 2 => self.split(x),
            7 => self.gated(x),
            8 => {
                // Two paths of the same shape, added or multiplied.
                let (a, channels) = (self.branch(x), 4 + self.random.below(12));
                let a = self.conv(&a, channels, 1, 1);
                let b = self.conv(x, channels, 3, 1);
                self.joined("Add", &a, &b)
            }
            _ => match before.iter().rev().filter(|p| p.side == x.side).nth(1).cloned() {
                Some(far) if self.random.below(2) == 0 => self.concat(&[x.clone(), far]),
                Some(far) => {
                    let far = self.conv(&far, x.channels, 1, 1);
                    self.joined("Add", x, &far)
                }
                None => self.layer(x),
            },
        }
    }

    fn layer(&mut self, x: &Plane) -> Plane {
        let (channels, kernel) = (2 + self.random.below(30), 1 + 2 * self.random.below(2));
        let stride = if x.side >= 8 && self.random.below(4) == 0 { 2 } else { 1 };
        let conv = self.conv(x, channels, kernel, stride);
        match self.random.below(4) {
            0 => conv,
            1 => self.normalized(&conv),
            2 => {
                // Sigmoid-weighted: the convolution is read twice.
                let gate = self.unary("Sigmoid", &conv);
                self.joined("Mul", &conv, &gate)
            }
            _ => self.unary("Relu", &conv),
        }
    }

    fn branch(&mut self, x: &Plane) -> Plane {
        let mut at = x.clone();
        for _ in 0..1 + self.random.below(3) {
            let (channels, kernel) = (2 + self.random.below(14), 1 + 2 * self.random.below(2));
            let conv = self.conv(&at, channels, kernel, 1);
            at = self.unary("Relu", &conv);
        }
        at
    }

    fn residual(&mut self, x: &Plane) -> Plane {
        let branch = self.branch(x);
        let back = self.conv(&branch, x.channels, 3, 1);
        let sum = if self.random.below(2) == 0 { self.joined("Add", &back, x) } else { self.joined("Add", x, &back) };
        self.unary("Relu", &sum)
    }

    fn split(&mut self, x: &Plane) -> Plane {
        let first = x.channels / 2;
        let parts = [first, x.channels - first].map(|channels| Plane { name: self.fresh(), channels, side: x.side });
        let sizes = self.fresh();
        let of = Tensor::from_elements(&[2], &[first as i64, (x.channels - first) as i64]).unwrap();
        self.graph.initializer.push(of.to_proto(&sizes));
        let names = parts.each_ref().map(|p| p.name.as_str());
        self.graph.node.push(node::with("Split", &[&x.name, &sizes], &names, vec![attr::from_int("axis", 1)]));
        let left = self.branch(&parts[0]);
        self.concat(&[left, parts[1].clone()])
    }

    fn gated(&mut self, x: &Plane) -> Plane {
        let mean = self.unary("GlobalAveragePool", x);
        let mean = Plane { side: 1, ..mean };
        let narrow = self.conv(&mean, 2, 1, 1);
        let narrow = self.unary("Relu", &narrow);
        let wide = self.conv(&narrow, x.channels, 1, 1);
        let gate = self.unary("Sigmoid", &wide);
        self.joined("Mul", x, &gate)
    }

    fn conv(&mut self, x: &Plane, channels: usize, kernel: usize, stride: usize) -> Plane {
        let weight = self.weight(&[channels, x.channels, kernel, kernel]);
        let mut inputs = vec![x.name.clone(), weight];
        if self.random.below(3) > 0 {
            inputs.push(self.weight(&[channels]));
        }
        let pad = (kernel / 2) as i64;
        let attributes = vec![attr::from_ints("pads", &[pad; 4]), attr::from_ints("strides", &[stride as i64; 2])];
        self.node("Conv", &inputs, attributes, channels, x.side.div_ceil(stride))
    }

    fn normalized(&mut self, x: &Plane) -> Plane {
        let mut inputs = vec![x.name.clone()];
        for _ in 0..4 {
            inputs.push(self.weight(&[x.channels]));
        }
        self.node("BatchNormalization", &inputs, vec![], x.channels, x.side)
    }

    fn pool(&mut self, x: &Plane) -> Plane {
        let op = ["MaxPool", "AveragePool"][self.random.below(2)];
        let two = || [2, 2];
        let attributes = vec![attr::from_ints("kernel_shape", &two()), attr::from_ints("strides", &two())];
        self.node(op, std::slice::from_ref(&x.name), attributes, x.channels, x.side / 2)
    }

    fn unary(&mut self, op: &str, x: &Plane) -> Plane {
        self.node(op, std::slice::from_ref(&x.name), vec![], x.channels, x.side)
    }

    fn joined(&mut self, op: &str, a: &Plane, b: &Plane) -> Plane {
        self.node(op, &[a.name.clone(), b.name.clone()], vec![], a.channels, a.side)
    }

    fn concat(&mut self, parts: &[Plane]) -> Plane {
        let names: Vec<String> = parts.iter().map(|p| p.name.clone()).collect();
        let channels = parts.iter().map(|p| p.channels).sum();
        self.node("Concat", &names, vec![attr::from_int("axis", 1)], channels, parts[0].side)
    }

    fn node(
        &mut self,
        op: &str,
        inputs: &[String],
        attributes: Vec<AttributeProto>,
        channels: usize,
        side: usize,
    ) -> Plane {
        let name = self.fresh();
        let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
        let node: NodeProto = node::with(op, &inputs, &[&name], attributes);
        self.graph.node.push(node);
        Plane { name, channels, side }
    }

    /// Of ones and more, so that none folds into nothing.
    fn weight(&mut self, shape: &[usize]) -> String {
        let name = self.fresh();
        let values: Vec<f32> = (0..shape.iter().product()).map(|_| 1.0 + self.random.unit() as f32).collect();
        self.graph.initializer.push(Tensor::from_elements(shape, &values).unwrap().to_proto(&name));
        name
    }

    fn fresh(&mut self) -> String {
        self.named += 1;
        format!("v{}", self.named)
    }
}
