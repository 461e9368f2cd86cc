//! Static int8 in QDQ form: u8 activations, asymmetric; symmetric i8 weights, one scale a channel or tensor; int32 biases.
//!
//! What comes out is what executors recognise: DequantizeLinear on each operand of a Conv, Gemm, MatMul, Add or pool, and
//! QuantizeLinear on its result. Codes pass through reshapes and the like as they are, a Relu is the lower end of a range,
//! each value and weight is (de)quantized once, and no float weight is left without a reader.

use std::collections::{BTreeMap, HashMap};

use plimsoll_onnx::{Model, NodeId, Patch, View, attr, node, proto::NodeProto};

use super::{
    Calibration, Granularity, QuantizeOptions,
    affine::{self, Codes, Range},
    calibrate,
    emit::Emitter,
    opset,
    plan::{self, Kind, Operands, Plan},
    require_smaller,
};
use crate::{Context, Effect, Pass, Refusal, ranges};

/// The pass.
#[derive(Debug, Clone)]
pub(super) struct StaticInt8 {
    options: QuantizeOptions,
}

impl StaticInt8 {
    pub(super) fn new(options: QuantizeOptions) -> Self {
        Self { options }
    }
}

impl Pass for StaticInt8 {
    fn name(&self) -> &'static str {
        "quantize-int8"
    }

    fn effect(&self) -> Effect {
        Effect::Lossy("weights and activations are rounded to 8 bits")
    }

    fn run(&self, model: &Model, context: &Context<'_>) -> Result<Patch, Refusal> {
        let options = &self.options;
        options.check_excluded(model)?;
        let view = model.view();
        let plan = Plan::of(model, &view, options)?;
        if plan.chosen.is_empty() {
            return Err(super::nothing(model, "int8"));
        }
        let mut patch = Patch::new();
        match options.granularity {
            Granularity::PerChannel => opset::require(model, 13, "one scale a channel", &mut patch)?,
            Granularity::PerTensor => opset::require(model, 10, "QuantizeLinear", &mut patch)?,
        }
        let values: Vec<String> = plan.values.iter().map(|v| (*v).to_owned()).collect();
        let seen = match options.calibration {
            Calibration::MinMax => calibrate::gather::<Range>(model, context, &values, options.samples)?,
        };
        let classes = Classes::of(&view, &plan, &seen);
        let writer = Writer {
            options,
            view: &view,
            plan: &plan,
            classes,
            out: Emitter::new(model, patch),
            codes: HashMap::new(),
            floats: HashMap::new(),
            params: HashMap::new(),
            weights: BTreeMap::new(),
        };
        let mut patch = writer.write()?;
        if let Some(data) = context.data {
            for (key, range) in ranges::records(&data.batch(0..options.samples)) {
                patch.set_metadata(&key, &range);
            }
        }
        require_smaller(model, drop_orphans(model, patch)?)
    }
}

/// Values that share one scale, because codes pass between them untouched.
struct Classes<'m> {
    class: HashMap<&'m str, usize>,
    codes: Vec<Codes>,
}

impl<'m> Classes<'m> {
    fn of(view: &View<'m>, plan: &Plan<'m>, ranges: &BTreeMap<String, Range>) -> Self {
        let names: Vec<&'m str> = plan.values.iter().copied().collect();
        let position: HashMap<&str, usize> = names.iter().enumerate().map(|(i, n)| (*n, i)).collect();
        let mut parent: Vec<usize> = (0..names.len()).collect();
        fn root(parent: &mut [usize], mut i: usize) -> usize {
            while parent[i] != i {
                parent[i] = parent[parent[i]];
                i = parent[i];
            }
            i
        }
        for (&id, kind) in &plan.chosen {
            let n = view.node(id);
            let joined = match kind {
                Kind::Carry => &n.input[..1],
                Kind::Join => &n.input[..],
                _ => continue,
            };
            let ends = joined.iter().chain(n.output.first()).filter_map(|v| position.get(v.as_str()).copied());
            let ends: Vec<usize> = ends.collect();
            for pair in ends.windows(2) {
                let (a, b) = (root(&mut parent, pair[0]), root(&mut parent, pair[1]));
                parent[a.max(b)] = a.min(b);
            }
        }
        let mut joint = vec![Range::EMPTY; names.len()];
        let mut class = HashMap::new();
        for (i, name) in names.iter().enumerate() {
            let r = root(&mut parent, i);
            class.insert(*name, r);
            joint[r] = joint[r].union(ranges.get(*name).copied().unwrap_or(Range::EMPTY));
        }
        Self { class, codes: joint.into_iter().map(Range::to_u8).collect() }
    }

    fn codes(&self, value: &str) -> Codes {
        self.class.get(value).map_or(Codes { scale: 1.0, zero: 0 }, |&c| self.codes[c])
    }
}

/// Turns a plan and its scales into a patch.
struct Writer<'w, 'm> {
    options: &'w QuantizeOptions,
    view: &'w View<'m>,
    plan: &'w Plan<'m>,
    classes: Classes<'m>,
    out: Emitter,
    /// Names of the quantized forms of values.
    codes: HashMap<&'m str, String>,
    /// Names of the dequantized forms, made when somebody asks.
    floats: HashMap<&'m str, String>,
    /// Names of scale and zero point by class.
    params: HashMap<usize, (String, String)>,
    /// Dequantized weights by name in the model, axis and scales.
    weights: BTreeMap<(&'m str, Option<usize>, Vec<u32>), String>,
}

impl<'m> Writer<'_, 'm> {
    fn write(mut self) -> Result<Patch, Refusal> {
        for &value in &self.plan.values {
            self.quantize(value);
        }
        for (id, n) in self.view.nodes() {
            if self.out.patch.touches(id) {
                continue;
            }
            let changed = match self.plan.chosen.get(&id) {
                Some(Kind::Anchor) => self.anchor(n)?,
                Some(Kind::Sum | Kind::Average) => self.reading_floats(n, |_| true),
                Some(Kind::Carry) => self.moving_codes(n, 1),
                Some(Kind::Join) => self.moving_codes(n, n.input.len()),
                None => self.reading_floats(n, |v| self.plan.computed.contains(v)),
            };
            if changed != *n {
                self.out.patch.replace(id, vec![changed]);
            }
        }
        Ok(self.out.patch)
    }

    /// Where the codes of a value come from: the node that moves them, or a new QuantizeLinear.
    fn quantize(&mut self, value: &'m str) {
        let name = self.out.fresh("q");
        self.codes.insert(value, name.clone());
        if let Some((id, _)) = self.view.producer(value)
            && matches!(self.plan.chosen.get(&id), Some(Kind::Carry | Kind::Join))
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
        let codes = self.classes.codes(value);
        lo == 0.0 && codes.zero == 0 && codes.highest() <= hi * (1.0 + 1e-5)
    }

    fn params(&mut self, value: &str) -> (String, String) {
        let class = self.classes.class.get(value).copied().unwrap_or(usize::MAX);
        if let Some(found) = self.params.get(&class) {
            return found.clone();
        }
        let made = self.out.store_codes(self.classes.codes(value));
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

    fn anchor(&mut self, n: &'m NodeProto) -> Result<NodeProto, Refusal> {
        let Some(operands) = Operands::of(self.view, n)? else { return Ok(n.clone()) };
        let x = n.input[0].as_str();
        let x_scale = self.classes.codes(x).scale;
        let mut changed = n.clone();
        changed.input[0] = self.float(x);
        // A stack of matrices has no channel axis that integer kernels know (onnxruntime fails on one).
        let channels = operands.shape.len() == 2 || !node::is(n, "MatMul");
        let per_channel = self.options.granularity == Granularity::PerChannel && channels;
        let axis = per_channel.then_some(operands.axis);
        let bias = operands.bias.as_deref();
        let largest = bias.unwrap_or_default().iter().fold(0f32, |m, b| m.max(b.abs()));
        let least = |channel: usize| match (bias, axis) {
            (Some(b), Some(_)) => affine::least_scale(b[channel], x_scale),
            _ => affine::least_scale(largest, x_scale),
        };
        let weight = affine::weight(&operands.weight, &operands.shape, axis, self.options.weight_max(), least)?;
        if let Some(bias) = bias {
            let channels = operands.shape[operands.axis];
            let scales: Vec<f32> =
                (0..channels).map(|c| x_scale * weight.scales[if axis.is_some() { c } else { 0 }]).collect();
            changed.input[2] = self.out.bias(&affine::bias(bias, &scales), &scales, axis.is_some());
        }
        let key = (operands.name, axis, weight.scales.iter().map(|s| s.to_bits()).collect());
        changed.input[1] = match self.weights.get(&key) {
            Some(name) => name.clone(),
            None => {
                let name = self.out.fresh("d");
                let dequantize = self.out.weight(&weight, &name);
                self.out.patch.add(dequantize);
                self.weights.insert(key, name.clone());
                name
            }
        };
        // Both factors are in the operands now.
        attr::remove(&mut changed, "alpha");
        attr::remove(&mut changed, "beta");
        let scales = if axis.is_some() { "one scale a channel" } else { "one scale" };
        self.out.patch.because(format!("node `{}` ({}) computes in int8, {scales}", node::label(n), n.op_type));
        Ok(changed)
    }
}

/// Drops the constants that lost their last reader to the patch.
fn drop_orphans(model: &Model, mut patch: Patch) -> Result<Patch, Refusal> {
    let mut changed = model.clone();
    patch.clone().apply(&mut changed).map_err(|e| Refusal::CheckFailed(e.to_string()))?;
    let (before, after) = (model.view(), changed.view());
    let orphan = |name: &str| !before.uses(name).is_empty() && after.uses(name).is_empty();
    for t in model.graph().initializer.iter().filter(|t| orphan(&t.name)) {
        patch.drop_initializer(&t.name).forget(&t.name);
    }
    for (id, n) in before.nodes().filter(|(_, n)| node::is(n, "Constant")) {
        if n.output.iter().all(|o| orphan(o)) && !patch.touches(id) {
            patch.remove(id);
        }
    }
    Ok(patch)
}
