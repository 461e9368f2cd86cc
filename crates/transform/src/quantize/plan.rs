//! Which nodes compute on quantized values, and which values need a scale. Pure graph reasoning: nothing is run, nothing built.
//!
//! Convolutions and matrix products with constant weights are the anchors. From their inputs the wish for a quantized value goes
//! backwards through operators that only move codes about (they share one scale), average pools, concatenations and residual
//! sums. Everything else (Softmax, normalisation, gates) stays in float32: its cost is small, and its damage is not.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use plimsoll_onnx::{Model, NodeId, Tensor, Use, View, attr, node, proto::NodeProto};

use super::{
    QuantizeOptions, float_constant,
    table::{self, Tables},
};
use crate::Refusal;

/// What a node does with quantized values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Conv, Gemm or MatMul with a constant weight.
    Anchor,
    /// A sum of two computed values.
    Sum,
    /// An average over places: arithmetic, with a range of its own.
    Average,
    /// Moves codes, computes nothing: its output has the scale of its input.
    Carry,
    /// Joins codes: its inputs and output have one scale.
    Join,
    /// Looks up rows of a constant table.
    LookUp,
}

/// The choice for a whole graph.
#[derive(Debug, Default)]
pub(super) struct Plan<'m> {
    /// The nodes that read (and, but for some anchors, write) quantized values.
    pub(super) chosen: BTreeMap<NodeId, Kind>,
    /// The values that get codes.
    pub(super) values: BTreeSet<&'m str>,
    /// Those whose float form would exist only for the sake of float readers, which read the dequantized value instead.
    pub(super) computed: BTreeSet<&'m str>,
    /// Relu and Clip nodes whose work the range of their output can do, with the value they read.
    pub(super) foldable: BTreeMap<&'m str, (NodeId, &'m str)>,
    /// The constant tables, by the nodes that look rows up in them.
    pub(super) tables: Tables<'m>,
    /// Rows that are looked up as codes of an activation, nobody needing them in float32.
    pub(super) coded: BTreeSet<&'m str>,
}

/// Nodes whose inputs beyond the first say how, not what.
const CARRIES: [&str; 8] = ["Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "Slice", "Identity", "MaxPool"];

struct Planner<'v, 'm> {
    view: &'v View<'m>,
    kinds: BTreeMap<NodeId, Kind>,
    /// Values that quantized nodes could compute.
    computable: HashSet<&'m str>,
    plan: Plan<'m>,
}

impl<'m> Plan<'m> {
    pub(super) fn of(model: &'m Model, view: &View<'m>, options: &QuantizeOptions) -> Result<Self, Refusal> {
        let opset = model.opset("").unwrap_or(1);
        let (mut kinds, mut tables) = (BTreeMap::new(), Tables::new());
        for (id, n) in view.nodes().filter(|(_, n)| !options.excludes(n)) {
            if let Some(kind) = kind(view, n, opset)? {
                kinds.insert(id, kind);
            } else if let Some(table) = table::table_of(view, n, options)? {
                kinds.insert(id, Kind::LookUp);
                tables.insert(id, table);
            }
        }
        let plan = Self { tables, ..Self::default() };
        let mut planner = Planner { view, kinds, computable: HashSet::new(), plan };
        planner.forwards();
        planner.backwards();
        planner.fold();
        Ok(planner.plan)
    }
}

impl<'m> Planner<'_, 'm> {
    /// Finds the values that quantized nodes could compute.
    fn forwards(&mut self) {
        for (id, n) in self.view.nodes() {
            let can = |slot: usize| node::input(n, slot).is_some_and(|v| self.computable.contains(v));
            let yes = match self.kinds.get(&id) {
                Some(Kind::Anchor | Kind::LookUp) => true,
                Some(Kind::Sum) => can(0) && can(1),
                Some(Kind::Average | Kind::Carry) => can(0),
                Some(Kind::Join) => (0..n.input.len()).any(can),
                None => can(0) && self.rectifies(n).is_some(),
            };
            if let Some(output) = n.output.first().filter(|_| yes) {
                self.computable.insert(output);
            }
        }
    }

    /// Where a node is a Relu or Clip and the only reader of what an anchor or sum computes: that node.
    fn rectifies(&self, n: &'m NodeProto) -> Option<NodeId> {
        let source = rectified(self.view, n)?;
        let (producer, _) = self.view.producer(source)?;
        self.view.sole_user(source)?;
        matches!(self.kinds.get(&producer), Some(Kind::Anchor | Kind::Sum)).then_some(producer)
    }

    /// The value that holds a node's result once a Relu or Clip after it is taken in.
    fn effective(&self, n: &'m NodeProto) -> Option<&'m str> {
        let output = n.output.first()?;
        match self.view.sole_user(output) {
            Some((_, next, 0)) if rectified(self.view, next).is_some() => next.output.first().map(String::as_str),
            _ => Some(output),
        }
    }

    fn backwards(&mut self) {
        let nodes: Vec<_> = self.view.nodes().collect();
        for (id, n) in nodes.into_iter().rev() {
            let Some(&kind) = self.kinds.get(&id) else { continue };
            let Some(output) = n.output.first().map(String::as_str) else { continue };
            let wanted = |v: &str| self.plan.values.contains(v);
            let data: Vec<&'m str> = match kind {
                Kind::Sum | Kind::Join => n.input.iter().map(String::as_str).collect(),
                Kind::LookUp => Vec::new(),
                _ => node::input(n, 0).into_iter().collect(),
            };
            let chosen = match kind {
                Kind::Anchor | Kind::LookUp => true,
                Kind::Sum => self.computable.contains(output) && self.effective(n).is_some_and(wanted),
                Kind::Average => wanted(output) && self.computable.contains(output),
                // The float form of the output would be gone: nobody may need it.
                Kind::Join => wanted(output) && self.computable.contains(output) && !self.is_held(output),
                Kind::Carry => {
                    let root = self.computable.contains(output) || self.all_users_quantized(output);
                    wanted(output) && root && !self.is_held(output)
                }
            };
            if !chosen {
                continue;
            }
            self.plan.chosen.insert(id, kind);
            self.plan.values.extend(data);
            if kind == Kind::LookUp && self.plan.values.contains(output) && !self.is_held(output) {
                self.plan.coded.insert(output);
            }
            // Executors have integer convolutions only where the output is quantized as well.
            if node::is(n, "Conv")
                && let Some(value) = self.effective(n)
                && !self.view.is_output(value)
            {
                self.plan.values.insert(value);
            }
        }
        for (&id, kind) in &self.plan.chosen {
            let n = self.view.node(id);
            let value = match kind {
                Kind::Anchor | Kind::Sum => self.effective(n),
                Kind::LookUp => n.output.first().map(String::as_str).filter(|v| self.plan.coded.contains(v)),
                _ => n.output.first().map(String::as_str),
            };
            self.plan.computed.extend(value.filter(|v| self.plan.values.contains(v)));
        }
    }

    /// Whether a value must keep its float form: an output of the model, or read by a sub-graph.
    fn is_held(&self, value: &str) -> bool {
        self.view.is_output(value) || self.view.is_captured(value)
    }

    fn all_users_quantized(&self, value: &str) -> bool {
        self.view.uses(value).iter().all(|u| match *u {
            Use::Input { node, slot } => match self.plan.chosen.get(&node) {
                Some(Kind::Sum | Kind::Join) => true,
                Some(_) => slot == 0,
                None => false,
            },
            _ => false,
        })
    }

    /// Finds the rectifiers that a range can replace.
    fn fold(&mut self) {
        let mut found = BTreeMap::new();
        for &value in &self.plan.values {
            let Some((id, n)) = self.view.producer(value) else { continue };
            let Some(source) = rectified(self.view, n) else { continue };
            let readers_will_do = self.plan.computed.contains(value) || self.all_users_quantized(value);
            if !self.is_held(value) && readers_will_do && !self.plan.values.contains(source) {
                found.insert(value, (id, source));
            }
        }
        self.plan.foldable = found;
    }
}

/// The value that a Relu, or a Clip with constant bounds, reads.
fn rectified<'m>(view: &View<'m>, n: &'m NodeProto) -> Option<&'m str> {
    bounds(view, n)?;
    node::input(n, 0).filter(|v| view.constant(v).is_none())
}

/// The bounds that a Relu or Clip keeps its output in.
pub(super) fn bounds(view: &View<'_>, n: &NodeProto) -> Option<(f32, f32)> {
    if node::is(n, "Relu") {
        return Some((0.0, f32::INFINITY));
    }
    if !node::is(n, "Clip") {
        return None;
    }
    let bound = |slot: usize, name: &str, default: f32| match node::input(n, slot) {
        Some(value) => {
            let tensor = float_constant(view, value).ok()??;
            (tensor.len() == 1).then(|| tensor.to_vec::<f32>().ok()?.first().copied()).flatten()
        }
        None => Some(attr::float(n, name).unwrap_or(default)),
    };
    Some((bound(1, "min", f32::NEG_INFINITY)?, bound(2, "max", f32::INFINITY)?))
}

fn kind(view: &View<'_>, n: &NodeProto, opset: i64) -> Result<Option<Kind>, Refusal> {
    if !node::is_default_domain(&n.domain) {
        return Ok(None);
    }
    let computed = |slot: usize| node::input(n, slot).is_some_and(|v| view.constant(v).is_none());
    Ok(match n.op_type.as_str() {
        "Conv" | "Gemm" | "MatMul" => Operands::of(view, n)?.map(|_| Kind::Anchor),
        "Add" if n.input.len() == 2 && computed(0) && computed(1) => Some(Kind::Sum),
        "AveragePool" | "GlobalAveragePool" => Some(Kind::Average),
        "Concat" if (0..n.input.len()).all(computed) => Some(Kind::Join),
        "MaxPool" if opset < 12 || n.output.len() > 1 => None,
        op if CARRIES.contains(&op) && computed(0) => Some(Kind::Carry),
        _ => None,
    })
}

/// The constant operands of an anchor, scale factors multiplied in.
#[derive(Debug)]
pub(super) struct Operands<'m> {
    /// The weight's name in the model.
    pub(super) name: &'m str,
    /// Its values, multiplied by Gemm's `alpha`.
    pub(super) weight: Vec<f32>,
    /// Its shape.
    pub(super) shape: Vec<usize>,
    /// The axis of the output channels.
    pub(super) axis: usize,
    /// The bias, one a channel, multiplied by Gemm's `beta`.
    pub(super) bias: Option<Vec<f32>>,
}

impl<'m> Operands<'m> {
    /// Number of output channels.
    pub(super) fn channels(&self) -> usize {
        self.shape[self.axis]
    }

    /// The operands of a Conv, Gemm or MatMul; `None` where they are not constant, finite and of a form that integer kernels take.
    pub(super) fn of(view: &View<'m>, n: &'m NodeProto) -> Result<Option<Self>, Refusal> {
        let (Some(data), Some(name)) = (node::input(n, 0), node::input(n, 1)) else { return Ok(None) };
        if view.constant(data).is_some() || attr::int(n, "transA").unwrap_or(0) != 0 {
            return Ok(None);
        }
        let Some(tensor) = float_constant(view, name)?.filter(|t| t.is_finite() && !t.is_empty()) else {
            return Ok(None);
        };
        let Some(axis) = super::stored::weight_axis(n, 1, tensor.shape()) else { return Ok(None) };
        let shape = tensor.shape().to_vec();
        let gemm = node::is(n, "Gemm");
        let factor = |name: &str| if gemm { attr::float(n, name).unwrap_or(1.0) } else { 1.0 };
        let (alpha, beta) = (factor("alpha"), factor("beta"));
        let bias = match node::input(n, 2) {
            None => None,
            Some(b) => match float_constant(view, b)?.and_then(|t| spread(&t, shape[axis])) {
                Some(values) => Some(values.into_iter().map(|v| v * beta).collect()),
                None => return Ok(None),
            },
        };
        let weight = tensor.to_vec::<f32>()?.into_iter().map(|v| v * alpha).collect();
        Ok(Some(Self { name, weight, shape, axis, bias }))
    }
}

/// A bias as one finite value a channel.
pub(super) fn spread(t: &Tensor, channels: usize) -> Option<Vec<f32>> {
    let values = t.to_vec::<f32>().ok().filter(|v| v.iter().all(|x| x.is_finite()))?;
    match values.len() {
        n if n == channels && t.shape().last() == Some(&n) => Some(values),
        1 => Some(vec![values[0]; channels]),
        _ => None,
    }
}
