//! Turns a plan and its numbers into nodes: the canonical QDQ form.
//!
//! What comes out is what executors recognise: DequantizeLinear on each operand of a Conv, Gemm, MatMul, Add or pool, and
//! QuantizeLinear on its result. Codes pass through reshapes and the like as they are, a Relu is the lower end of a range,
//! each value and weight is (de)quantized once. Chooses no number and runs nothing.

use std::collections::{BTreeMap, HashMap};

use plimsoll_onnx::{Model, NodeId, Patch, Tensor, View, attr, node, proto::NodeProto};

use super::{
    affine,
    anchor::{Anchor, BiasPlace},
    emit::Emitter,
    plan::{self, Kind, Plan},
    solution::{Layer, Site, Solution},
    stored::StoredWeights,
    table::{Coded, Table},
};
use crate::Refusal;

/// How weights and biases are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// As codes with their scales: the model that is kept.
    Stored,
    /// As the float32 values that the codes stand for: the same function for an executor that lacks the dtype or is slow on it.
    Twin,
}

/// A quantized model in the making.
#[derive(Debug)]
pub(super) struct Written {
    /// What to change.
    pub(super) patch: Patch,
    /// The value that each anchor reads now.
    pub(super) inputs: BTreeMap<NodeId, String>,
}

/// What all forms and solutions of one plan share.
#[derive(Debug, Clone, Copy)]
pub(super) struct Writer<'w, 'm> {
    pub(super) model: &'m Model,
    pub(super) view: &'w View<'m>,
    pub(super) plan: &'w Plan<'m>,
    pub(super) anchors: &'w BTreeMap<NodeId, Anchor<'m>>,
    /// Weights of other nodes, which compute in float32.
    pub(super) stored: &'w StoredWeights<'m>,
}

impl<'w, 'm> Writer<'w, 'm> {
    /// Writes a solution on top of a patch.
    pub(super) fn write(&self, solution: &Solution<'m>, form: Form, patch: Patch) -> Result<Written, Refusal> {
        let writing = Writing {
            view: self.view,
            plan: self.plan,
            anchors: self.anchors,
            solution,
            form,
            out: Emitter::new(self.model, patch),
            codes: HashMap::new(),
            floats: HashMap::new(),
            params: HashMap::new(),
            weights: HashMap::new(),
            sums: HashMap::new(),
            coded: HashMap::new(),
            tables: HashMap::new(),
            inputs: BTreeMap::new(),
        };
        writing.write(self.stored)
    }
}

/// A weight as it was written: its name in the model, its axis, scales and codes.
type WeightKey<'w, 'm> = (&'m str, Option<usize>, Vec<u32>, &'w [i8]);

struct Writing<'w, 'm> {
    view: &'w View<'m>,
    plan: &'w Plan<'m>,
    anchors: &'w BTreeMap<NodeId, Anchor<'m>>,
    solution: &'w Solution<'m>,
    form: Form,
    out: Emitter,
    /// Names of the quantized forms of values.
    codes: HashMap<&'m str, String>,
    /// Names of the dequantized forms, made when somebody asks.
    floats: HashMap<&'m str, String>,
    /// Names of scale and zero point by class.
    params: HashMap<usize, (String, String)>,
    /// Dequantized weights.
    weights: HashMap<WeightKey<'w, 'm>, String>,
    /// Add nodes whose constant is a corrected bias: which input, and its new name.
    sums: HashMap<NodeId, (usize, String)>,
    /// Tables in the codes of what is looked up, by name and class.
    coded: HashMap<(&'m str, usize), String>,
    /// Tables that are dequantized behind the look-up, by name.
    tables: HashMap<&'m str, Coded>,
    inputs: BTreeMap<NodeId, String>,
}

impl<'w, 'm> Writing<'w, 'm> {
    fn write(mut self, stored: &StoredWeights<'m>) -> Result<Written, Refusal> {
        self.correct_sums()?;
        for &value in &self.plan.values {
            self.quantize(value);
        }
        for (id, n) in self.view.nodes() {
            if self.out.patch.touches(id) {
                continue;
            }
            if let Some(table) = self.plan.tables.get(&id) {
                let nodes = self.look_up(n, table)?;
                self.out.patch.replace(id, nodes);
                continue;
            }
            let changed = match self.plan.chosen.get(&id) {
                Some(Kind::LookUp) => continue,
                Some(Kind::Anchor) => self.anchor(id, n)?,
                Some(Kind::Sum | Kind::Average) => self.reading_floats(n, |_| true),
                Some(Kind::Carry) => self.moving_codes(n, 1),
                Some(Kind::Join) => self.moving_codes(n, n.input.len()),
                None => self.reading_floats(n, |v| self.plan.computed.contains(v)),
            };
            let changed = match self.sums.get(&id) {
                Some((slot, bias)) => with_input(changed, *slot, bias),
                None => changed,
            };
            if changed != *n {
                self.out.patch.replace(id, vec![changed]);
            }
        }
        stored.write_weights(self.view, self.solution, self.form, &mut self.out)?;
        Ok(Written { patch: self.out.patch, inputs: self.inputs })
    }

    /// Where the codes of a value come from: the node that moves them, or a new QuantizeLinear.
    fn quantize(&mut self, value: &'m str) {
        let name = self.out.fresh("q");
        self.codes.insert(value, name.clone());
        if let Some((id, _)) = self.view.producer(value)
            && (matches!(self.plan.chosen.get(&id), Some(Kind::Carry | Kind::Join)) || self.plan.coded.contains(value))
        {
            return;
        }
        let mut source = value;
        if let Some(&(id, before)) = self.plan.foldable.get(value)
            && self.range_rectifies(id, value)
        {
            self.out.patch.remove(id);
            let op = &self.view.node(id).op_type;
            self.out.patch.because(format!("{op} `{value}` is the range of its quantized output"));
            source = before;
        }
        let (scale, zero) = self.params(value);
        self.out.patch.add(node::new("QuantizeLinear", &[source, &scale, &zero], &[&name]));
    }

    /// Whether saturation to the codes of a value does what the Relu or Clip before it does.
    fn range_rectifies(&self, id: NodeId, value: &str) -> bool {
        let Some((lo, hi)) = plan::bounds(self.view, self.view.node(id)) else { return false };
        let codes = self.solution.activations.codes(value);
        lo == 0.0 && codes.zero == 0 && codes.highest() <= hi * (1.0 + 1e-5)
    }

    fn params(&mut self, value: &str) -> (String, String) {
        let class = self.solution.activations.class(value).unwrap_or(usize::MAX);
        if let Some(found) = self.params.get(&class) {
            return found.clone();
        }
        let made = self.out.store_codes(self.solution.activations.codes(value), self.solution.activations.kind());
        self.params.insert(class, made.clone());
        made
    }

    /// The dequantized form of a value.
    fn float(&mut self, value: &'m str) -> String {
        if let Some(found) = self.floats.get(value) {
            return found.clone();
        }
        let Some(codes) = self.codes.get(value).cloned() else { return value.to_owned() };
        let (scale, zero) = self.params(value);
        let name = self.out.fresh("d");
        self.out.patch.add(node::new("DequantizeLinear", &[&codes, &scale, &zero], &[&name]));
        self.floats.insert(value, name.clone());
        name
    }

    fn reading_floats(&mut self, n: &'m NodeProto, which: impl Fn(&str) -> bool) -> NodeProto {
        let mut changed = n.clone();
        for (slot, input) in n.input.iter().enumerate().filter(|(_, i)| which(i)) {
            changed.input[slot] = self.float(input);
        }
        changed
    }

    fn moving_codes(&mut self, n: &'m NodeProto, inputs: usize) -> NodeProto {
        let mut changed = n.clone();
        for value in changed.input.iter_mut().take(inputs).chain(changed.output.first_mut()) {
            if let Some(codes) = self.codes.get(value.as_str()) {
                value.clone_from(codes);
            }
        }
        changed
    }

    /// A node that looks rows up: as the codes of its result, or dequantized behind it.
    fn look_up(&mut self, n: &'m NodeProto, table: &'w Table<'m>) -> Result<Vec<NodeProto>, Refusal> {
        let Some(output) = n.output.first().map(String::as_str) else { return Ok(vec![n.clone()]) };
        self.out.patch.because(format!("node `{}` ({}) looks rows up in int8", node::label(n), n.op_type));
        if self.plan.coded.contains(output) {
            let class = self.solution.activations.class(output).unwrap_or(usize::MAX);
            let codes = match self.coded.get(&(table.name, class)) {
                Some(found) => found.clone(),
                None => self.out.store("w", &self.solution.activations.coded(output, &table.tensor)?),
            };
            self.coded.insert((table.name, class), codes.clone());
            let mut changed = self.moving_codes(n, 0);
            changed.input[0] = codes;
            return Ok(vec![changed]);
        }
        let Some(layer) = self.solution.layers.get(&table.site) else { return Ok(vec![n.clone()]) };
        if self.form == Form::Twin {
            let rows = self.weight(table.name, layer)?;
            return Ok(vec![with_input(n.clone(), 0, &rows)]);
        }
        if !self.tables.contains_key(table.name) {
            self.tables.insert(table.name, Coded::store(&layer.weight, &mut self.out)?);
        }
        let coded = self.tables.get(table.name);
        Ok(coded.map_or_else(|| vec![n.clone()], |coded| coded.looked_up(n, &mut self.out)))
    }

    fn anchor(&mut self, id: NodeId, n: &'m NodeProto) -> Result<NodeProto, Refusal> {
        let (Some(anchor), Some(layer)) = (self.anchors.get(&id), self.solution.layers.get(&Site::anchor(id))) else {
            return Ok(n.clone());
        };
        let x = n.input[0].as_str();
        let mut changed = n.clone();
        changed.input[0] = self.float(x);
        self.inputs.insert(id, changed.input[0].clone());
        let own = matches!(anchor.place, BiasPlace::Own);
        let bias = layer.bias.as_ref().filter(|_| own).or(anchor.operands.bias.as_ref());
        if let Some(bias) = bias {
            let name = self.bias(bias, layer, x);
            changed = with_input(changed, 2, &name);
        }
        changed.input[1] = self.weight(anchor.operands.name, layer)?;
        // Both factors are in the operands now.
        attr::remove(&mut changed, "alpha");
        attr::remove(&mut changed, "beta");
        let scales = if layer.weight.axis.is_some() { "one scale a channel" } else { "one scale" };
        let bits = layer.weight.book.bits;
        let computes = if bits == 8 { "computes in int8".into() } else { format!("has int{bits} weights") };
        self.out.patch.because(format!("node `{}` ({}) {computes}, {scales}", node::label(n), n.op_type));
        Ok(changed)
    }

    fn bias(&mut self, bias: &[f32], layer: &Layer, x: &str) -> String {
        if self.form == Form::Twin {
            return self.out.store("b", &Tensor::vector(bias));
        }
        let per_channel = layer.weight.axis.is_some();
        let x_scale = self.solution.activations.codes(x).scale;
        let scale = |c| x_scale * layer.weight.scales[if per_channel { c } else { 0 }];
        let scales: Vec<f32> = (0..bias.len()).map(scale).collect();
        self.out.bias(&affine::bias(bias, &scales), &scales, per_channel)
    }

    fn weight(&mut self, name: &'m str, layer: &'w Layer) -> Result<String, Refusal> {
        let weight = &layer.weight;
        let key = (name, weight.axis, weight.scales.iter().map(|s| s.to_bits()).collect(), weight.codes.as_slice());
        if let Some(found) = self.weights.get(&key) {
            return Ok(found.clone());
        }
        let written = match self.form {
            Form::Twin => self.out.store("d", &Tensor::from_elements(&weight.shape, &weight.values())?),
            Form::Stored => {
                let name = self.out.fresh("d");
                let dequantize = self.out.weight(weight, &name)?;
                self.out.patch.add(dequantize);
                name
            }
        };
        self.weights.insert(key, written.clone());
        Ok(written)
    }

    /// Stores the corrected biases that live in an Add after their node.
    fn correct_sums(&mut self) -> Result<(), Refusal> {
        for (&id, anchor) in self.anchors {
            let BiasPlace::Sum { node, slot, shape, .. } = &anchor.place else { continue };
            let layer = self.solution.layers.get(&Site::anchor(id));
            if let Some(bias) = layer.and_then(|l| l.bias.as_ref()) {
                let name = self.out.store("b", &Tensor::from_elements(shape, bias)?);
                self.sums.insert(*node, (*slot, name));
            }
        }
        Ok(())
    }
}

/// The node with an input set; those before it that are not given stay so.
pub(super) fn with_input(mut n: NodeProto, slot: usize, value: &str) -> NodeProto {
    if n.input.len() <= slot {
        n.input.resize(slot + 1, String::new());
    }
    n.input[slot] = value.to_owned();
    n
}
