//! One graph of a model with what is known of its values: which are settled before the first run, how large they are, and in what
//! a node multiplies.

use std::collections::{HashMap, HashSet};

use plimsoll_onnx::{
    DType, Model, Use, View, captured_names, node,
    proto::{GraphProto, NodeProto},
    shape::{Body, Element, Shapes},
    subgraphs,
};

/// Data movement that leaves numbers as they are: a dequantization is looked for behind it.
const MOVEMENT: &[&str] = &["Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose"];
/// Nodes between a dequantization and a product that are looked through.
const MOST_BETWEEN: usize = 8;

/// In what a node multiplies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Precision {
    F32,
    F16,
    I8,
    Other,
}

/// A graph, its shapes, and the names in it that no run changes.
pub(crate) struct Scope<'a> {
    pub(crate) model: &'a Model,
    pub(crate) graph: &'a GraphProto,
    pub(crate) shapes: &'a Shapes,
    pub(crate) view: View<'a>,
    settled: HashSet<&'a str>,
    /// Values that only products in 8 bits read, with the integers that these read in their place.
    integers: HashMap<&'a str, &'a str>,
}

impl<'a> Scope<'a> {
    pub(crate) fn of_model(model: &'a Model, shapes: &'a Shapes) -> Self {
        Self::new(model, model.graph(), shapes, HashSet::new())
    }

    /// A graph inside a node; what is settled outside is settled inside.
    pub(crate) fn of_body(&self, n: &'a NodeProto, position: usize, body: &'a Body) -> Option<Self> {
        let (graph, settled) = match &body.called {
            Some(graph) => {
                let formals = graph.input.iter().zip(&n.input).filter(|(_, actual)| self.is_settled(actual));
                (graph.as_ref(), formals.map(|(formal, _)| formal.name.as_str()).collect())
            }
            None => {
                (subgraphs(n).nth(position)?, captured_names(n).into_iter().filter(|c| self.is_settled(c)).collect())
            }
        };
        Some(Self::new(self.model, graph, &body.shapes, settled))
    }

    fn new(model: &'a Model, graph: &'a GraphProto, shapes: &'a Shapes, mut settled: HashSet<&'a str>) -> Self {
        let view = View::new(graph, model.proto().ir_version);
        let constants = graph.initializer.iter().map(|t| t.name.as_str()).filter(|t| view.constant(t).is_some());
        settled.extend(constants.chain(graph.sparse_initializer.iter().map(|t| t.values.name.as_str())));
        for n in &graph.node {
            let folds = is_folded(n) && n.input.iter().filter(|i| !i.is_empty()).all(|i| settled.contains(i.as_str()));
            let known = |output: &str| {
                let elements = shapes.elements(output);
                elements.is_some_and(|e| e.iter().all(|e| matches!(e, Element::Known(_))))
            };
            settled.extend(n.output.iter().map(String::as_str).filter(|o| !o.is_empty() && (folds || known(o))));
        }
        let mut scope = Self { model, graph, shapes, view, settled, integers: HashMap::new() };
        scope.integers = scope.find_integers();
        scope
    }

    /// Whether a value is known before the first run: a constant, or computed from constants alone, which executors do once.
    pub(crate) fn is_settled(&self, value: &str) -> bool {
        self.settled.contains(value)
    }

    /// Whether a value is a weight of this graph, or computed in it from weights alone.
    pub(crate) fn is_resident(&self, value: &str) -> bool {
        let own =
            self.view.producer(value).is_some() || self.graph.sparse_initializer.iter().any(|t| t.values.name == value);
        self.is_weight(value) || (own && self.is_settled(value))
    }

    /// Whether a value is an initializer, one that a caller may override included.
    pub(crate) fn is_weight(&self, value: &str) -> bool {
        self.view.initializer(value).is_some()
    }

    /// Whether a node has nothing left to do in a run.
    pub(crate) fn is_done(&self, n: &NodeProto) -> bool {
        let mut outputs = n.output.iter().filter(|o| !o.is_empty()).peekable();
        outputs.peek().is_some() && outputs.all(|o| self.is_settled(o))
    }

    /// Bytes of a value as an array in memory; `None` where type or shape is not known.
    pub(crate) fn bytes_of(&self, value: &str) -> Option<u64> {
        let found = self.shapes.get(value)?;
        let elements = found.dims.as_ref()?.iter().try_fold(1u64, |n, d| n.checked_mul(d.known()?))?;
        Some(elements.checked_mul(found.dtype?.bits() as u64)?.div_ceil(8))
    }

    /// The value that is read in the place of one that only products in 8 bits read: the integers before the dequantization, which
    /// an executor with such products never writes out.
    pub(crate) fn read_as<'v>(&'v self, value: &'v str) -> &'v str {
        self.integers.get(value).copied().unwrap_or(value)
    }

    /// In what a node multiplies, where it does.
    pub(crate) fn precision(&self, n: &NodeProto) -> Precision {
        if matches!(n.op_type.as_str(), "QLinearConv" | "QLinearMatMul" | "ConvInteger" | "MatMulInteger") {
            return Precision::I8;
        }
        let dtype = |slot: usize| node::input(n, slot).and_then(|i| self.shapes.dtype(i));
        // Both operands: weights alone are multiplied as floats.
        if matches!(n.op_type.as_str(), "Conv" | "MatMul" | "Gemm")
            && (0..2).all(|slot| node::input(n, slot).is_some_and(|i| self.source(i).is_some()))
        {
            return Precision::I8;
        }
        match dtype(0).or_else(|| dtype(1)) {
            // Where no type is given, as in a function that was not called with one, numbers are floats.
            Some(DType::F32) | None => Precision::F32,
            Some(DType::F16 | DType::BF16) => Precision::F16,
            Some(_) => Precision::Other,
        }
    }

    /// The integers of at most 8 bits behind a value, through a dequantization and data movement.
    fn source(&self, value: &str) -> Option<&'a str> {
        let mut at = value;
        for _ in 0..MOST_BETWEEN {
            let (_, n) = self.view.producer(at)?;
            let input: &'a str = node::input(n, 0)?;
            if node::is(n, "DequantizeLinear") {
                use DType::{I2, I4, I8, U2, U4, U8};
                return matches!(self.shapes.dtype(input)?, I8 | U8 | I4 | U4 | I2 | U2).then_some(input);
            }
            if !node::is_default_domain(&n.domain) || !MOVEMENT.contains(&n.op_type.as_str()) {
                return None;
            }
            at = input;
        }
        None
    }

    fn find_integers(&self) -> HashMap<&'a str, &'a str> {
        let mut found = HashMap::new();
        for n in &self.graph.node {
            let Some(output) = n.output.first().map(String::as_str) else { continue };
            let Some(source) = self.source(output) else { continue };
            let in_8_bits = |u: &Use| match *u {
                Use::Input { node, slot } => {
                    slot < 2 && {
                        let user = self.view.node(node);
                        matches!(user.op_type.as_str(), "Conv" | "MatMul" | "Gemm")
                            && self.precision(user) == Precision::I8
                    }
                }
                Use::Captured(_) | Use::Output(_) => false,
            };
            if self.view.uses(output).iter().all(in_8_bits) {
                found.insert(output, source);
            }
        }
        found
    }
}

/// Whether executors compute a node once, where its inputs are constants.
fn is_folded(n: &NodeProto) -> bool {
    const RANDOM: &[&str] =
        &["RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli", "Multinomial"];
    node::is_default_domain(&n.domain) && !RANDOM.contains(&n.op_type.as_str()) && subgraphs(n).next().is_none()
}
