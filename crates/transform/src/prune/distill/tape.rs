//! A model as a list of differentiable steps over float32 values, for batches of one size: forward, and the gradients of a loss.
//! Whatever has no step is refused with its node. Knows operators by the rules in [`super::rules`], neither losses nor samples.

use std::collections::{BTreeMap, HashMap};

use plimsoll_onnx::{
    DType, Model, Tensor, captured_names, node,
    shape::{Bindings, infer},
};

use super::rules;
use crate::Refusal;

/// Elements of all values of a batch together; more are not held.
const ELEMENTS: usize = 1 << 27;

/// One differentiable operator, its shapes settled.
pub(super) trait Op: Send + Sync {
    /// Computes the output.
    fn forward(&self, x: &[&[f32]], y: &mut [f32]);
    /// The gradient by each input that is asked for; empty for the others.
    fn backward(&self, x: &[&[f32]], y: &[f32], dy: &[f32], asked: &[bool]) -> Vec<Vec<f32>>;
    /// How the second input, a weight, lies, where it multiplies rows of the first.
    fn layout(&self) -> Option<Layout> {
        None
    }
    /// Adds the outer products of these rows (row-major), the rows themselves, and their number.
    fn gram(&self, _: &[&[f32]], _: &mut [f32]) {}
}

/// How a weight lies that multiplies rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layout {
    /// Elements of a row.
    pub(super) inner: usize,
    /// The weight has one row an element, not one row an output.
    pub(super) upright: bool,
}

/// What a rule makes of a node.
pub(super) struct Made {
    pub(super) op: Box<dyn Op>,
    /// Which inputs of the node the step reads.
    pub(super) reads: Vec<usize>,
    /// Which of the node's inputs are weights, where they are constants.
    pub(super) weights: Vec<usize>,
}

/// Where a value comes from.
#[derive(Debug)]
enum Source {
    Input(String),
    Constant(Vec<f32>),
    /// The weight of this number.
    Weight(usize),
    Computed,
}

struct Step {
    op: Box<dyn Op>,
    reads: Vec<usize>,
    makes: usize,
}

/// A compiled model.
pub(super) struct Tape {
    sources: Vec<Source>,
    lengths: Vec<usize>,
    /// Whether a weight has a part in the value.
    moved: Vec<bool>,
    steps: Vec<Step>,
    /// The values of the outputs, by name.
    outputs: Vec<(String, usize)>,
    /// Shapes of the outputs, in that order.
    pub(super) shapes: Vec<Vec<usize>>,
    /// Names and values of the weights.
    pub(super) weights: Vec<(String, Vec<f32>)>,
}

/// What is fed to a run, by name; whole numbers as floats.
pub(super) type Inputs = BTreeMap<String, Vec<f32>>;

/// The values of one run.
pub(super) type Values = Vec<Vec<f32>>;

impl Tape {
    /// Compiles a model for inputs of these shapes.
    pub(super) fn of(
        model: &Model,
        shapes: &BTreeMap<String, Vec<usize>>,
        outputs: &[String],
    ) -> Result<Self, Refusal> {
        let (view, inferred) = (model.view(), infer(model, &Bindings::shapes(shapes.clone())));
        let mut tape = Self {
            sources: vec![],
            lengths: vec![],
            moved: vec![],
            steps: vec![],
            outputs: vec![],
            shapes: vec![],
            weights: vec![],
        };
        let mut at: HashMap<&str, usize> = HashMap::new();
        let mut dims: HashMap<&str, Vec<usize>> = HashMap::new();
        let mut total = 0usize;
        for input in model.inputs() {
            let Some(shape) = shapes.get(&input.name) else { continue };
            let Some(name) = model.graph().input.iter().find(|i| i.name == input.name) else { continue };
            at.insert(&name.name, tape.value(Source::Input(input.name), shape.iter().product(), false));
            dims.insert(&name.name, shape.clone());
        }
        let constant = |name: &str| -> Result<Option<Tensor>, Refusal> {
            Ok(view.constant(name).map(Tensor::from_proto).transpose()?)
        };
        let needed = needed(&view, outputs);
        for (id, n) in view.nodes() {
            if node::is(n, "Constant") || !needed.contains(&id) {
                continue;
            }
            let refuse = |reason: String| Refusal::Node { node: node::label(n), reason };
            let Some(output) = n.output.first() else { continue };
            if !captured_names(n).is_empty() || n.output.iter().skip(1).any(|o| !view.uses(o).is_empty()) {
                return Err(refuse(format!("{} has no gradient here", n.op_type)));
            }
            let shape =
                inferred.concrete(output).ok_or_else(|| refuse(format!("the shape of `{output}` is not known")))?;
            let mut inputs: Vec<rules::Input> = Vec::new();
            for name in &n.input {
                let data = if name.is_empty() { None } else { constant(name)? };
                let shape = match (&data, dims.get(name.as_str())) {
                    (Some(t), _) => t.shape().to_vec(),
                    (None, Some(shape)) => shape.clone(),
                    (None, None) => vec![],
                };
                inputs.push(rules::Input { given: !name.is_empty(), shape, data });
            }
            let made = rules::make(n, &inputs, &shape).map_err(&refuse)?;
            let mut reads = Vec::new();
            for &slot in &made.reads {
                let (name, input) = (n.input[slot].as_str(), &inputs[slot]);
                let value = match (at.get(name), &input.data) {
                    (Some(&value), _) => value,
                    (None, Some(data)) => {
                        let values =
                            data.to_f32().or_else(|_| data.to_f64().map(|v| v.iter().map(|v| *v as f32).collect()))?;
                        let length = values.len();
                        let weight = made.weights.contains(&slot) && data.dtype() == DType::F32 && length > 1;
                        let value = if weight {
                            tape.weights.push((name.to_owned(), values));
                            tape.value(Source::Weight(tape.weights.len() - 1), length, true)
                        } else {
                            tape.value(Source::Constant(values), length, false)
                        };
                        at.insert(name, value);
                        value
                    }
                    (None, None) => return Err(refuse(format!("`{name}` is not computed before it"))),
                };
                if tape.lengths[value] != input.shape.iter().product::<usize>() {
                    return Err(refuse(format!("the shape of `{name}` is not known")));
                }
                reads.push(value);
            }
            let length = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d)).filter(|l| *l <= ELEMENTS);
            total = length.map_or(usize::MAX, |l| total.saturating_add(l));
            let Some(length) = length.filter(|_| total <= ELEMENTS) else {
                return Err(refuse("its values are too many to be kept for gradients".into()));
            };
            let moved = reads.iter().any(|&r| tape.moved[r]);
            let makes = tape.value(Source::Computed, length, moved);
            tape.steps.push(Step { op: made.op, reads, makes });
            at.insert(output, makes);
            dims.insert(output, shape);
        }
        for name in outputs {
            let (Some(&value), Some(shape)) = (at.get(name.as_str()), dims.get(name.as_str())) else {
                return Err(Refusal::CheckFailed(format!("output `{name}` is not computed")));
            };
            tape.outputs.push((name.clone(), value));
            tape.shapes.push(shape.clone());
        }
        Ok(tape)
    }

    fn value(&mut self, source: Source, length: usize, moved: bool) -> usize {
        self.sources.push(source);
        self.lengths.push(length);
        self.moved.push(moved);
        self.sources.len() - 1
    }

    /// Runs a batch under some weights.
    pub(super) fn forward(&self, weights: &[Vec<f32>], inputs: &Inputs) -> Result<Values, Refusal> {
        let mut values: Values = vec![Vec::new(); self.sources.len()];
        for (value, source) in self.sources.iter().enumerate() {
            if let Source::Input(name) = source {
                let given = inputs.get(name).filter(|v| v.len() == self.lengths[value]);
                values[value] =
                    given.cloned().ok_or_else(|| Refusal::CheckFailed(format!("input `{name}` has another shape")))?;
            }
        }
        for step in &self.steps {
            let mut y = vec![0f32; self.lengths[step.makes]];
            let x: Vec<&[f32]> = step.reads.iter().map(|&r| self.read(r, weights, &values)).collect();
            step.op.forward(&x, &mut y);
            values[step.makes] = y;
        }
        Ok(values)
    }

    fn read<'v>(&'v self, value: usize, weights: &'v [Vec<f32>], values: &'v Values) -> &'v [f32] {
        match &self.sources[value] {
            Source::Constant(v) => v,
            Source::Weight(w) => weights.get(*w).map(Vec::as_slice).unwrap_or_default(),
            _ => values.get(value).map(Vec::as_slice).unwrap_or_default(),
        }
    }

    /// The layouts of the weights that multiply rows, where each is read by one step only.
    pub(super) fn layouts(&self) -> Vec<Option<Layout>> {
        let mut found: Vec<Option<Layout>> = vec![None; self.weights.len()];
        let mut readers = vec![0usize; self.weights.len()];
        for step in &self.steps {
            for (slot, &read) in step.reads.iter().enumerate() {
                if let Source::Weight(w) = self.sources[read] {
                    readers[w] += 1;
                    found[w] = if slot == 1 { step.op.layout() } else { None };
                }
            }
        }
        found.into_iter().zip(readers).map(|(layout, readers)| layout.filter(|_| readers == 1)).collect()
    }

    /// Which weights are biases of a layer: the layer's weight.
    pub(super) fn biases(&self) -> Vec<Option<usize>> {
        let mut found = vec![None; self.weights.len()];
        for step in self.steps.iter().filter(|s| s.op.layout().is_some()) {
            if let (Some(&weight), Some(&bias)) = (step.reads.get(1), step.reads.get(2))
                && let (Source::Weight(w), Source::Weight(b)) = (&self.sources[weight], &self.sources[bias])
            {
                found[*b] = Some(*w);
            }
        }
        found
    }

    /// Adds the outer products of the rows that each of these weights multiplied in a run, the rows, and their number.
    pub(super) fn grams(&self, weights: &[Vec<f32>], values: &Values, grams: &mut [Vec<f32>]) {
        for step in &self.steps {
            let Some(&read) = step.reads.get(1) else { continue };
            if let Source::Weight(w) = self.sources[read]
                && !grams[w].is_empty()
            {
                let x: Vec<&[f32]> = step.reads.iter().map(|&r| self.read(r, weights, values)).collect();
                step.op.gram(&x, &mut grams[w]);
            }
        }
    }

    /// The outputs of a run, in order.
    pub(super) fn outputs<'v>(&self, values: &'v Values) -> Vec<&'v [f32]> {
        self.outputs.iter().map(|(_, v)| values[*v].as_slice()).collect()
    }

    /// The gradient by each weight, from those by the outputs; an empty one is zero.
    pub(super) fn backward(&self, weights: &[Vec<f32>], values: &Values, outputs: Vec<Vec<f32>>) -> Vec<Vec<f32>> {
        let mut by: Vec<Vec<f32>> = vec![Vec::new(); self.sources.len()];
        for ((_, value), gradient) in self.outputs.iter().zip(outputs) {
            if !gradient.is_empty() {
                add(&mut by[*value], gradient);
            }
        }
        for step in self.steps.iter().rev() {
            let dy = std::mem::take(&mut by[step.makes]);
            if dy.is_empty() || !self.moved[step.makes] {
                continue;
            }
            let x: Vec<&[f32]> = step.reads.iter().map(|&r| self.read(r, weights, values)).collect();
            let asked: Vec<bool> = step.reads.iter().map(|&r| self.moved[r]).collect();
            let found = step.op.backward(&x, &values[step.makes], &dy, &asked);
            for (&read, gradient) in step.reads.iter().zip(found).filter(|(r, _)| self.moved[**r]) {
                add(&mut by[read], gradient);
            }
        }
        let mut found = vec![Vec::new(); self.weights.len()];
        for (value, source) in self.sources.iter().enumerate() {
            if let Source::Weight(w) = source {
                let gradient = std::mem::take(&mut by[value]);
                found[*w] = if gradient.is_empty() { vec![0.0; self.lengths[value]] } else { gradient };
            }
        }
        found
    }
}

fn add(sum: &mut Vec<f32>, more: Vec<f32>) {
    if sum.is_empty() {
        *sum = more;
    } else {
        sum.iter_mut().zip(&more).for_each(|(s, m)| *s += m);
    }
}

/// The nodes that lead to the outputs.
fn needed(view: &plimsoll_onnx::View<'_>, outputs: &[String]) -> std::collections::HashSet<plimsoll_onnx::NodeId> {
    let mut open: Vec<&str> = outputs.iter().map(String::as_str).collect();
    let mut found = std::collections::HashSet::new();
    while let Some(name) = open.pop() {
        if let Some((id, n)) = view.producer(name)
            && found.insert(id)
        {
            open.extend(n.input.iter().map(String::as_str).filter(|i| !i.is_empty()));
            open.extend(captured_names(n));
        }
    }
    found
}
