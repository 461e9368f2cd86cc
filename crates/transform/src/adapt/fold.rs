//! What an adapter costs nothing for: factors, shifts and orders of classes that go into the weights of a layer.
//!
//! A factor goes through a padding of zeros, a shift does not: `0 − c` is not 0. Exact up to rounding, and checked as all exact
//! passes are.

use plimsoll_onnx::{
    Model, Names, NodeId, Patch, Tensor, View, attr, node,
    proto::NodeProto,
    shape::{Bindings, Shapes, infer},
};
use plimsoll_runtime::TractExecutor;

use crate::{Context, Effect, Pass, Refusal, simplify};

/// The passes in their order.
pub(super) fn passes() -> &'static [&'static dyn Pass] {
    &[&FACTORS, &SHIFTS, &Classes]
}

/// What these passes and those that only look at the graph make of a model; nothing is run.
pub(super) fn statically(mut model: Model) -> Model {
    const LOOKING: [&str; 3] = ["constant-nodes", "identities", "dead"];
    let looking = simplify::passes().iter().filter(|p| LOOKING.contains(&p.name()));
    let all: Vec<&dyn Pass> = looking.chain(passes()).copied().collect();
    for _ in 0..4 {
        for pass in &all {
            if let Ok(patch) = pass.run(&model, &Context::new(&TractExecutor)) {
                // A patch that does not apply leaves the model as it was.
                let _ = patch.apply(&mut model);
            }
        }
    }
    model
}

fn constant(view: &View<'_>, name: &str) -> Option<Tensor> {
    Tensor::from_proto(view.constant(name)?).ok()
}

/// One number for all, or one for each position along an axis.
#[derive(Debug, Clone)]
struct Line {
    values: Vec<f64>,
    axis: usize,
}

impl Line {
    /// A constant operand of a value of this rank.
    fn of(tensor: &Tensor, rank: usize) -> Option<Self> {
        let values = tensor.to_f64().ok()?;
        if values.len() == 1 && tensor.shape().len() <= rank {
            return Some(Self { values, axis: 0 });
        }
        let offset = rank.checked_sub(tensor.shape().len())?;
        let mut wide = tensor.shape().iter().enumerate().filter(|(_, d)| **d != 1);
        let (axis, _) = wide.next()?;
        wide.next().is_none().then_some(Self { values, axis: axis + offset })
    }

    fn at(&self, position: usize) -> f64 {
        self.values.get(position).or(self.values.first()).copied().unwrap_or(1.0)
    }

    fn is_one(&self) -> bool {
        self.values.len() == 1
    }
}

/// A layer that reads a value, and how the value's channels lie in its weights.
struct Reader<'v> {
    id: NodeId,
    layer: &'v NodeProto,
    weight: Tensor,
}

impl<'v> Reader<'v> {
    /// The layer behind a value, through operators for which a factor may be taken before or after; for a shift only through those
    /// that move values.
    fn behind(view: &'v View<'_>, shapes: &Shapes, value: &str, line: &mut Line, shift: bool) -> Option<Self> {
        let mut value = value.to_owned();
        let mut rank = shapes.dims(&value)?.len();
        // Any chain ends; a graph has no circles.
        loop {
            let (id, n, slot) = view.sole_user(&value)?;
            if !node::is_default_domain(&n.domain) {
                return None;
            }
            match (n.op_type.as_str(), slot) {
                ("Identity", 0) => {}
                ("Transpose", 0) => {
                    let perm: Vec<usize> = match attr::ints(n, "perm") {
                        Some(perm) => perm.iter().map(|&p| usize::try_from(p).ok()).collect::<Option<_>>()?,
                        None => (0..rank).rev().collect(),
                    };
                    if !line.is_one() {
                        line.axis = perm.iter().position(|&p| p == line.axis)?;
                    }
                }
                ("Reshape" | "Flatten" | "Squeeze" | "Unsqueeze", 0) if line.is_one() => {
                    rank = shapes.dims(n.output.first()?)?.len();
                }
                ("Pad", 0) if !shift && pads_zeros(view, n) => {}
                ("Mul", _) | ("Div", 0) if !shift => {
                    let other = constant(view, node::input(n, 1 - slot)?)?;
                    if other.shape().len() > rank || shapes.dims(n.output.first()?)?.len() != rank {
                        return None;
                    }
                }
                ("Conv" | "Gemm" | "MatMul", 0) => {
                    let weight = constant(view, node::input(n, 1)?)?;
                    weight.to_vec::<f32>().ok()?;
                    return Self { id, layer: n, weight }.counts(line, rank);
                }
                _ => return None,
            }
            value.clone_from(n.output.first()?);
        }
    }

    /// Whether the line lies along the channels that the weights are for.
    fn counts(self, line: &Line, rank: usize) -> Option<Self> {
        let shape = self.weight.shape();
        let fits = match self.layer.op_type.as_str() {
            "Conv" => line.axis == 1 && shape.len() == rank && line.values.len() == shape[1] * self.groups()?,
            "Gemm" => {
                let trans = attr::flag(self.layer, "transB", false)?;
                !attr::flag(self.layer, "transA", false)?
                    && line.axis == 1
                    && shape.len() == 2
                    && line.values.len() == shape[usize::from(trans)]
            }
            _ => shape.len() == 2 && line.axis + 1 == rank && line.values.len() == shape[0],
        };
        let any = match self.layer.op_type.as_str() {
            "Gemm" => !attr::flag(self.layer, "transA", false)? && shape.len() == 2,
            "MatMul" => shape.len() == 2,
            _ => shape.len() == rank && rank > 2,
        };
        (fits || (line.is_one() && any)).then_some(self)
    }

    fn groups(&self) -> Option<usize> {
        usize::try_from(attr::int(self.layer, "group").unwrap_or(1)).ok().filter(|g| *g > 0)
    }

    /// The input channel and the output channel of an element of the weights.
    fn place(&self, i: usize) -> Option<(usize, usize)> {
        let shape = self.weight.shape();
        Some(match self.layer.op_type.as_str() {
            "Conv" => {
                let each: usize = shape[2..].iter().product();
                let (out, within) = (i / (each * shape[1]), i / each % shape[1]);
                let per_group = (shape[0] / self.groups()?).max(1);
                (out / per_group * shape[1] + within, out)
            }
            "Gemm" if attr::flag(self.layer, "transB", false)? => (i % shape[1], i / shape[1]),
            _ => (i / shape[1], i % shape[1]),
        })
    }

    fn scaled(&self, line: &Line) -> Option<Tensor> {
        let weights = self.weight.to_vec::<f32>().ok()?;
        let scaled: Option<Vec<f32>> =
            weights.iter().enumerate().map(|(i, w)| Some((f64::from(*w) * line.at(self.place(i)?.0)) as f32)).collect();
        Tensor::from_elements(self.weight.shape(), &scaled?).ok().filter(Tensor::is_finite)
    }

    /// The bias with which the layer gives for `x` what it gave for `x + line`.
    fn shifted(&self, view: &View<'_>, line: &Line) -> Option<Tensor> {
        if self.layer.op_type == "Conv" {
            let zero = attr::ints(self.layer, "pads").is_none_or(|p| p.iter().all(|&p| p == 0));
            if !zero || !matches!(attr::string(self.layer, "auto_pad").unwrap_or("NOTSET"), "NOTSET" | "VALID") {
                return None;
            }
        }
        let plain = |name| attr::float(self.layer, name).unwrap_or(1.0) == 1.0;
        if self.layer.op_type == "MatMul" || !plain("alpha") || !plain("beta") {
            return None;
        }
        let weights = self.weight.to_vec::<f32>().ok()?;
        let channels = match self.layer.op_type.as_str() {
            "Gemm" if !attr::flag(self.layer, "transB", false)? => self.weight.shape()[1],
            _ => self.weight.shape()[0],
        };
        let mut bias = match node::input(self.layer, 2) {
            Some(name) => constant(view, name)?.to_f64().ok().filter(|b| b.len() == channels)?,
            None => vec![0.0; channels],
        };
        for (i, w) in weights.iter().enumerate() {
            let (input, output) = self.place(i)?;
            bias[output] += f64::from(*w) * line.at(input);
        }
        let bias: Vec<f32> = bias.iter().map(|b| *b as f32).collect();
        Some(Tensor::vector(&bias)).filter(Tensor::is_finite)
    }
}

fn pads_zeros(view: &View<'_>, n: &NodeProto) -> bool {
    let zero = match node::input(n, 2) {
        Some(value) => constant(view, value).and_then(|t| t.to_f64().ok()).is_some_and(|v| v.iter().all(|&v| v == 0.0)),
        None => attr::float(n, "value").unwrap_or(0.0) == 0.0,
    };
    zero && attr::string(n, "mode").unwrap_or("constant") == "constant"
}

/// A constant operand of a node with two, and the other operand.
fn operand<'n>(view: &View<'_>, shapes: &Shapes, n: &'n NodeProto, slots: &[usize]) -> Option<(&'n str, Line)> {
    slots.iter().find_map(|&slot| {
        let (value, tensor) = (node::input(n, 1 - slot)?, constant(view, node::input(n, slot)?)?);
        let rank = shapes.dims(value)?.len();
        (view.constant(value).is_none()).then_some(())?;
        Some((value, Line::of(&tensor, rank)?))
    })
}

/// What is done to the input of a layer, and to the layer instead.
struct IntoLayer {
    name: &'static str,
    /// Operators, each with the operands that may be the constant, the likelier first.
    operators: &'static [(&'static str, &'static [usize])],
    change: Change,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Change {
    /// `layer(x · c)` is the layer with its weights multiplied.
    Scale,
    /// `layer(x + c)` is the layer with another bias, where it pads nothing.
    Shift,
}

const FACTORS: IntoLayer =
    IntoLayer { name: "factors-into-layers", operators: &[("Mul", &[1, 0])], change: Change::Scale };
const SHIFTS: IntoLayer =
    IntoLayer { name: "shifts-into-layers", operators: &[("Sub", &[1]), ("Add", &[1, 0])], change: Change::Shift };

impl IntoLayer {
    /// A node that goes into the layer behind it, in a patch; `None` where it does not.
    fn taken(
        &self,
        view: &View<'_>,
        shapes: &Shapes,
        names: &mut Names,
        (id, n): (NodeId, &NodeProto),
    ) -> Option<Patch> {
        let (_, slots) = self.operators.iter().find(|(operator, _)| node::is(n, operator))?;
        let output = n.output.first()?;
        let (value, mut line) = operand(view, shapes, n, slots)?;
        if n.op_type == "Sub" {
            line.values.iter_mut().for_each(|v| *v = -*v);
        }
        let reader = Reader::behind(view, shapes, output, &mut line, self.change == Change::Shift)?;
        let (slot, what, tensor) = match self.change {
            Change::Scale => (1, "scaled", reader.scaled(&line)?),
            Change::Shift => (2, "bias", reader.shifted(view, &line)?),
        };
        // What broadcasts to another shape does more than that.
        if shapes.dims(value) != shapes.dims(output) {
            return None;
        }
        let name = names.fresh(&format!("{}_{what}", node::input(reader.layer, 1).unwrap_or_default()));
        let mut layer = reader.layer.clone();
        layer.input.resize(layer.input.len().max(slot + 1), String::new());
        layer.input[slot].clone_from(&name);
        let mut patch = Patch::new();
        patch.because(format!("{} goes into {}", node::label(n), node::label(reader.layer)));
        patch.set_initializer(&name, &tensor).remove(id).replace(reader.id, vec![layer]).redirect(output, value);
        Some(patch)
    }
}

impl Pass for IntoLayer {
    fn name(&self) -> &'static str {
        self.name
    }

    fn effect(&self) -> Effect {
        Effect::Exact
    }

    fn run(&self, model: &Model, _: &Context<'_>) -> Result<Patch, Refusal> {
        let view = model.view();
        let shapes = infer(model, &Bindings::none());
        let mut names = Names::of(model);
        view.nodes().find_map(|n| self.taken(&view, &shapes, &mut names, n)).ok_or(Refusal::NoMatch)
    }
}

/// Another order of the last axis is another order of the rows of the layer before.
struct Classes;

impl Pass for Classes {
    fn name(&self) -> &'static str {
        "classes-into-layers"
    }

    fn effect(&self) -> Effect {
        Effect::Exact
    }

    fn run(&self, model: &Model, _: &Context<'_>) -> Result<Patch, Refusal> {
        let view = model.view();
        let shapes = infer(model, &Bindings::none());
        let mut names = Names::of(model);
        for (id, n) in view.nodes().filter(|(_, n)| node::is(n, "Gather")) {
            if let Some(mut patch) = reordered(&view, &shapes, &mut names, n) {
                let (Some(output), Some(input)) = (n.output.first(), node::input(n, 0)) else { continue };
                patch.because(format!("{} goes into the layer before it", node::label(n)));
                patch.remove(id).redirect(output, input).forget(input);
                return Ok(patch);
            }
        }
        Err(Refusal::NoMatch)
    }
}

/// The layer and what follows it, with another order of classes.
fn reordered(view: &View<'_>, shapes: &Shapes, names: &mut Names, gather: &NodeProto) -> Option<Patch> {
    let mut value = node::input(gather, 0)?;
    let rank = shapes.dims(value)?.len();
    let axis = attr::int(gather, "axis").unwrap_or(0);
    let last = axis == -1 || usize::try_from(axis).is_ok_and(|a| a + 1 == rank);
    let order = constant(view, node::input(gather, 1)?).filter(|t| t.shape().len() == 1)?;
    let order: Vec<usize> = order.to_i64().ok()?.into_iter().map(|i| usize::try_from(i).ok()).collect::<Option<_>>()?;
    let mut sorted = order.clone();
    sorted.sort_unstable();
    if !last || sorted.iter().enumerate().any(|(i, &o)| i != o) {
        return None;
    }
    let mut patch = Patch::new();
    let mut picked = |name: &str, axis: usize, patch: &mut Patch| {
        let tensor = constant(view, name)?;
        let changed = pick(&tensor, axis, &order)?;
        let new = names.fresh(&format!("{name}_ordered"));
        patch.set_initializer(&new, &changed);
        Some(new)
    };
    loop {
        view.sole_user(value)?;
        let (id, n) = view.producer(value).filter(|(_, n)| node::is_default_domain(&n.domain))?;
        let mut changed = n.clone();
        match n.op_type.as_str() {
            "Identity" | "Sigmoid" | "Relu" => {}
            "Softmax" | "LogSoftmax" if soft_over_last(n, rank) => {}
            "Add" => {
                let slot =
                    [1, 0].into_iter().find(|&s| node::input(n, s).is_some_and(|v| view.constant(v).is_some()))?;
                let name = node::input(n, slot)?;
                let tensor = constant(view, name)?;
                if tensor.shape().last().is_some_and(|d| *d == order.len()) {
                    changed.input[slot] = picked(name, tensor.shape().len() - 1, &mut patch)?;
                } else if tensor.len() != 1 {
                    return None;
                }
                patch.replace(id, vec![changed]);
                value = node::input(n, 1 - slot)?;
                continue;
            }
            "Gemm" => {
                let trans = attr::flag(n, "transB", false)?;
                changed.input[1] = picked(node::input(n, 1)?, usize::from(!trans), &mut patch)?;
                if let Some(bias) = node::input(n, 2) {
                    let tensor = constant(view, bias)?;
                    if tensor.shape().last().is_some_and(|d| *d == order.len()) {
                        changed.input[2] = picked(bias, tensor.shape().len() - 1, &mut patch)?;
                    } else if tensor.len() != 1 {
                        return None;
                    }
                }
                patch.replace(id, vec![changed]);
                return Some(patch);
            }
            "MatMul" => {
                let weight = node::input(n, 1)?;
                let axis = constant(view, weight)?.shape().len().checked_sub(1).filter(|a| *a > 0)?;
                changed.input[1] = picked(weight, axis, &mut patch)?;
                patch.replace(id, vec![changed]);
                return Some(patch);
            }
            _ => return None,
        }
        value = node::input(n, 0)?;
    }
}

fn soft_over_last(n: &NodeProto, rank: usize) -> bool {
    let axis = attr::int(n, "axis").unwrap_or(-1);
    axis == -1 || usize::try_from(axis).is_ok_and(|a| a + 1 == rank)
}

/// Positions of an axis in another order.
fn pick(tensor: &Tensor, axis: usize, order: &[usize]) -> Option<Tensor> {
    let shape = tensor.shape();
    if *shape.get(axis)? != order.len() {
        return None;
    }
    let each = shape[axis + 1..].iter().product::<usize>() * tensor.dtype().bits() / 8;
    let outer: usize = shape[..axis].iter().product();
    let mut bytes = Vec::with_capacity(tensor.bytes().len());
    for o in 0..outer {
        for &from in order {
            let at = (o * order.len() + from) * each;
            bytes.extend_from_slice(tensor.bytes().get(at..at + each)?);
        }
    }
    Tensor::new(tensor.dtype(), shape.to_vec(), bytes).ok()
}
