//! Writing a model in an older operator set, as far as that is exact: lists that became inputs become attributes again, defaults
//! that came in later are left out, and everything that an older version cannot say is refused, with the node that says it.
//!
//! What changed is taken from the operator schemas of ONNX (versions 11 to 24 of the default domain). Nothing older than 11 is
//! written: no executor that is in use reads less.

use plimsoll_onnx::{
    DType, Model, Patch, Tensor, View, attr, node,
    proto::NodeProto,
    shape::{Bindings, Shapes, infer},
    subgraphs,
};

use super::table;

/// The oldest version that is written.
const OLDEST_WRITTEN: i64 = 11;
/// The newest version that is read.
const NEWEST_READ: i64 = 24;

/// Operators that came in after version 11, and with which.
const INTRODUCED: &[(&str, i64)] = &[
    ("AffineGrid", 20),
    ("Attention", 23),
    ("Bernoulli", 15),
    ("BitwiseAnd", 18),
    ("BitwiseNot", 18),
    ("BitwiseOr", 18),
    ("BitwiseXor", 18),
    ("CastLike", 15),
    ("Celu", 12),
    ("CenterCropPad", 18),
    ("Col2Im", 18),
    ("DFT", 17),
    ("DeformConv", 19),
    ("Einsum", 12),
    ("Gelu", 20),
    ("GreaterOrEqual", 12),
    ("GridSample", 16),
    ("GroupNormalization", 18),
    ("HardSwish", 14),
    ("LayerNormalization", 17),
    ("LessOrEqual", 12),
    ("Mish", 18),
    ("Optional", 15),
    ("OptionalGetElement", 15),
    ("OptionalHasElement", 15),
    ("RMSNormalization", 23),
    ("RotaryEmbedding", 23),
    ("STFT", 17),
    ("Swish", 24),
    ("Trilu", 14),
];

/// Integer attributes that came in later: operator, attribute, version, and the value that says what was meant before.
const LATER: &[(&str, &str, i64, i64)] = &[
    ("ArgMax", "select_last_index", 12, 0),
    ("ArgMin", "select_last_index", 12, 0),
    ("AveragePool", "dilations", 19, i64::MIN),
    ("BatchNormalization", "training_mode", 14, 0),
    ("Cast", "saturate", 19, 1),
    ("DequantizeLinear", "axis", 13, i64::MIN),
    ("DequantizeLinear", "block_size", 21, 0),
    ("GRU", "layout", 14, 0),
    ("LSTM", "layout", 14, 0),
    ("QuantizeLinear", "axis", 13, i64::MIN),
    ("QuantizeLinear", "block_size", 21, 0),
    ("QuantizeLinear", "output_dtype", 21, 0),
    ("QuantizeLinear", "saturate", 19, 1),
    ("RNN", "layout", 14, 0),
    ("Reshape", "allowzero", 14, 0),
    ("Resize", "antialias", 18, 0),
    ("Resize", "axes", 18, i64::MIN),
    ("Resize", "keep_aspect_ratio_policy", 18, i64::MIN),
    ("Shape", "start", 15, 0),
    ("Shape", "end", 15, i64::MIN),
];

/// Operators that take 8- and 16-bit whole numbers since a version.
const SMALL_NUMBERS: &[(&str, i64)] =
    &[("Add", 14), ("Sub", 14), ("Mul", 14), ("Div", 14), ("Relu", 14), ("Min", 12), ("Max", 12), ("Clip", 12)];

/// The model in at most a version of the default operator set; why not, where an older version cannot say what it says.
pub fn lower(model: &Model, to: i64) -> Result<Model, String> {
    let from = model.opset("").unwrap_or(1);
    if from <= to {
        return Ok(model.clone());
    }
    if from > NEWEST_READ || to < OLDEST_WRITTEN {
        return Err(format!(
            "opset {from} is not written as {to}: only down from {NEWEST_READ}, and not below {OLDEST_WRITTEN}"
        ));
    }
    if !model.proto().functions.is_empty() {
        return Err("the model defines functions, which have operator sets of their own".into());
    }
    let view = model.view();
    let scope = Scope { view: &view, shapes: infer(model, &Bindings::none()), from, to };
    let mut patch = Patch::new();
    for (id, n) in view.nodes() {
        let named = |why: String| format!("node `{}` ({}): {why}", node::label(n), n.op_type);
        if let Some(changed) = scope.older(n).map_err(named)? {
            patch.replace(id, vec![changed]);
        }
        scope.inner(n).map_err(named)?;
    }
    patch.set_opset("", to);
    let mut lowered = model.clone();
    patch.apply(&mut lowered).map_err(|e| e.to_string())?;
    Ok(drop_unread(lowered))
}

/// Constants that nothing reads any more, as what they held is written in nodes.
fn drop_unread(mut model: Model) -> Model {
    let view = model.view();
    let mut patch = Patch::new();
    for tensor in &model.graph().initializer {
        if view.uses(&tensor.name).is_empty() && view.constant(&tensor.name).is_some() {
            patch.drop_initializer(&tensor.name);
        }
    }
    if !patch.is_empty() {
        // A patch that does not apply leaves the model as it was, which is whole.
        let _ = patch.apply(&mut model);
    }
    model
}

struct Scope<'s> {
    view: &'s View<'s>,
    shapes: Shapes,
    from: i64,
    to: i64,
}

impl Scope<'_> {
    /// Whether an operator that changed in this version is carried back across the change.
    fn crosses(&self, version: i64) -> bool {
        self.to < version && version <= self.from
    }

    /// Graphs inside a node may hold only what needs no other form.
    fn inner(&self, n: &NodeProto) -> Result<(), String> {
        for graph in subgraphs(n) {
            for n in &graph.node {
                let named = |why: String| format!("`{}` ({}) inside it: {why}", node::label(n), n.op_type);
                if self.older(n).map_err(named)?.is_some() {
                    return Err(named("its form changes, which is not written inside other nodes".into()));
                }
                self.inner(n)?;
            }
        }
        Ok(())
    }

    /// A node in its older form; `None` where that is its newer one.
    fn older(&self, n: &NodeProto) -> Result<Option<NodeProto>, String> {
        if !node::is_default_domain(&n.domain) {
            return Ok(None);
        }
        if table::upgrader(&n.op_type).is_none() {
            return Err("this operator is not known here".into());
        }
        if let Some((_, since)) = INTRODUCED.iter().find(|(op, since)| *op == n.op_type && self.crosses(*since)) {
            return Err(format!("the operator came in with opset {since}"));
        }
        self.check_dtypes(n)?;
        let mut changed = n.clone();
        for (_, name, since, before) in LATER.iter().filter(|(op, ..)| *op == n.op_type) {
            if !attr::has(n, name) || !self.crosses(*since) {
                continue;
            }
            if attr::int(n, name) != Some(*before) {
                return Err(format!("its attribute `{name}` came in with opset {since}"));
            }
            attr::remove(&mut changed, name);
        }
        match n.op_type.as_str() {
            "Squeeze" | "Unsqueeze" | "ReduceSum" if self.crosses(13) => self.to_attribute(&mut changed, "axes")?,
            "ReduceL1" | "ReduceL2" | "ReduceLogSum" | "ReduceLogSumExp" | "ReduceMax" | "ReduceMean" | "ReduceMin"
            | "ReduceProd" | "ReduceSumSquare"
                if self.crosses(18) =>
            {
                self.to_attribute(&mut changed, "axes")?;
            }
            "Split" => {
                if self.crosses(18) && attr::has(n, "num_outputs") {
                    self.even_split(n)?;
                    attr::remove(&mut changed, "num_outputs");
                }
                if self.crosses(13) {
                    self.to_attribute(&mut changed, "split")?;
                }
            }
            "Pad" if self.crosses(18) && node::input(n, 3).is_some() => {
                return Err("its axes came in with opset 18".into());
            }
            "Softmax" | "LogSoftmax" | "Hardmax" if self.crosses(13) => self.softmax(n, &mut changed)?,
            "Dropout" if self.crosses(12) => {
                if node::input(n, 2).is_some() {
                    return Err("whether it trains is an input, since opset 12".into());
                }
                changed.input.truncate(1);
                attr::remove(&mut changed, "seed");
            }
            "Resize" | "Upsample" if self.crosses(13) => return Err("resizing is not written in older forms".into()),
            "DFT" | "GridSample" | "GroupNormalization" | "RoiAlign" if self.from != self.to => {
                return Err("its older form means something else".into());
            }
            _ => {}
        }
        Ok((changed != *n).then_some(changed))
    }

    fn check_dtypes(&self, n: &NodeProto) -> Result<(), String> {
        let dtypes: Vec<DType> = n.input.iter().filter_map(|i| self.shapes.dtype(i)).collect();
        if self.crosses(13) && dtypes.contains(&DType::BF16) {
            return Err("bfloat16 came in with opset 13".into());
        }
        let small = [DType::I8, DType::U8, DType::I16, DType::U16];
        let since = SMALL_NUMBERS.iter().find(|(op, since)| *op == n.op_type && self.crosses(*since));
        if let (Some((_, since)), true) = (since, dtypes.iter().any(|d| small.contains(d))) {
            return Err(format!("it takes small whole numbers since opset {since}"));
        }
        if let ("Min" | "Max", true, true) =
            (n.op_type.as_str(), self.crosses(12), dtypes.iter().any(|d| !d.is_float()))
        {
            return Err("it takes whole numbers since opset 12".into());
        }
        Ok(())
    }

    /// Moves a list from the second input into an attribute.
    fn to_attribute(&self, n: &mut NodeProto, attribute: &str) -> Result<(), String> {
        if attr::int(n, "noop_with_empty_axes").unwrap_or(0) != 0 {
            return Err("that it does nothing without axes cannot be said before".into());
        }
        attr::remove(n, "noop_with_empty_axes");
        let Some(name) = node::input(n, 1) else { return Ok(()) };
        let list = self.view.constant(name).and_then(|t| Tensor::from_proto(t).ok()).and_then(|t| t.to_i64().ok());
        let list = list.ok_or_else(|| format!("its {attribute} are computed, and an attribute is fixed"))?;
        n.input.truncate(1);
        attr::set(n, attr::from_ints(attribute, &list));
        Ok(())
    }

    /// Older versions split evenly where they are told nothing, and cannot do otherwise.
    fn even_split(&self, n: &NodeProto) -> Result<(), String> {
        let dims = node::input(n, 0).and_then(|i| self.shapes.dims(i)).ok_or("the shape of its input is not known")?;
        let axis = attr::int(n, "axis").unwrap_or(0);
        let axis = if axis < 0 { axis + dims.len() as i64 } else { axis };
        let size = usize::try_from(axis).ok().and_then(|a| dims.get(a)?.known());
        let even = size.is_some_and(|s| s % n.output.len().max(1) as u64 == 0);
        if even { Ok(()) } else { Err("its parts are not known to be equal".into()) }
    }

    /// Over the last axis both mean the same.
    fn softmax(&self, n: &NodeProto, changed: &mut NodeProto) -> Result<(), String> {
        let rank = node::input(n, 0).and_then(|i| self.shapes.dims(i)).map(<[_]>::len);
        let rank = rank.ok_or("the rank of its input is not known")? as i64;
        let axis = attr::int(n, "axis").unwrap_or(-1);
        let axis = if axis < 0 { axis + rank } else { axis };
        if axis != rank - 1 {
            return Err("before opset 13 it went over all axes from one on".into());
        }
        attr::set(changed, attr::from_int("axis", axis));
        Ok(())
    }
}
