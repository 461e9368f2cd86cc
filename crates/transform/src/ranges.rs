//! In which range the values of an input lie: declared, recorded, or implied by the graph.
//!
//! In this order of precedence:
//! 1. declared by somebody: [`Context::ranges`](crate::Context::ranges), from a contract;
//! 2. recorded in the model: metadata `plimsoll.range.<input>` = `<lowest>..<highest>`, written when a pass has seen samples;
//! 3. implied: `bool` and 8-bit integers lie in the range of their type, whole numbers that index something (`Gather`,
//!    `OneHot`) lie below the size of what they index, and those that are compared with codes (`Equal`, as exporters write
//!    one-hot encodings) are such codes.
//!
//! Floats imply nothing. This module must not know executors.

use plimsoll_onnx::{
    DType, Model, Tensor, Tensors, Use, ValueSpec, View, attr, node,
    proto::NodeProto,
    shape::{Bindings, Shapes, infer},
};

use crate::Ranges;

/// The metadata key of an input's recorded range, without the input's name.
pub const METADATA_PREFIX: &str = "plimsoll.range.";
/// The metadata key of an input that has gaps, without the input's name; the entry says what stands there: `nan`.
pub const GAPS_PREFIX: &str = "plimsoll.missing.";
/// How far an index is followed through operators that only move it.
const STEPS: usize = 64;
/// Operators that move codes about, or keep them within bounds.
const MOVING: &[&str] =
    &["Cast", "Clip", "Identity", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Transpose", "Slice", "Expand", "Tile"];

/// The range of every input that a caller feeds, or why one is not known.
pub fn of(model: &Model, declared: Option<&Ranges>) -> Result<Ranges, String> {
    let mut found = Ranges::new();
    let mut shapes = None;
    for spec in model.inputs() {
        let name = &spec.name;
        let range = match declared.and_then(|d| d.get(name)) {
            Some(range) => Some(*range),
            None => match model.metadata(&format!("{METADATA_PREFIX}{name}")) {
                Some(text) => {
                    Some(parse(text).ok_or_else(|| format!("the recorded range `{text}` of input `{name}` is none"))?)
                }
                None => {
                    let shapes = shapes.get_or_insert_with(|| infer(model, &Bindings::none()));
                    implied(model, shapes, &spec)
                }
            },
        };
        let range = range
            .ok_or_else(|| format!("no samples were given, and no range of input `{name}` is declared or recorded"))?;
        found.insert(name.clone(), clipped(&spec, range)?);
    }
    Ok(found)
}

/// The inputs in which NaN stands for a missing value, as an adapter recorded it.
pub fn with_gaps(model: &Model) -> Vec<String> {
    let inputs = model.inputs().into_iter().map(|spec| spec.name);
    inputs.filter(|name| model.metadata(&format!("{GAPS_PREFIX}{name}")) == Some("nan")).collect()
}

/// What to record about inputs that a pass has seen: key and text of the metadata entries. Values that are not finite are no
/// part of a range.
pub fn records(seen: &Tensors) -> Vec<(String, String)> {
    let range = |(name, tensor): (&String, &Tensor)| {
        let values = tensor.to_f64().ok()?;
        let finite = values.iter().filter(|v| v.is_finite());
        let (lo, hi) = finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(lo, hi), &v| (lo.min(v), hi.max(v)));
        (lo <= hi).then(|| (format!("{METADATA_PREFIX}{name}"), format!("{lo}..{hi}")))
    };
    seen.iter().filter_map(range).collect()
}

fn parse(text: &str) -> Option<[f64; 2]> {
    let (lo, hi) = text.split_once("..")?;
    Some([lo.trim().parse().ok()?, hi.trim().parse().ok()?])
}

/// The part of a range that the input's dtype can hold; none is an error.
fn clipped(spec: &ValueSpec, [lo, hi]: [f64; 2]) -> Result<[f64; 2], String> {
    let wrong = || format!("the range {lo}..{hi} of input `{}` holds no value of its dtype", spec.name);
    if !(lo.is_finite() && hi.is_finite() && lo <= hi) {
        return Err(wrong());
    }
    let Some([least, most]) = spec.dtype.and_then(bounds) else { return Ok([lo, hi]) };
    let (lo, hi) = (lo.max(least), hi.min(most));
    let whole = spec.dtype.is_some_and(|d| !d.is_float());
    if lo > hi || (whole && lo.ceil() > hi.floor()) { Err(wrong()) } else { Ok([lo, hi]) }
}

/// The smallest and largest values of a dtype that are of use here.
fn bounds(dtype: DType) -> Option<[f64; 2]> {
    Some(match dtype {
        DType::Bool => [0.0, 1.0],
        DType::U8 => [0.0, 255.0],
        DType::I8 => [-128.0, 127.0],
        DType::U16 => [0.0, 65_535.0],
        DType::I16 => [-32_768.0, 32_767.0],
        DType::U32 => [0.0, f64::from(u32::MAX)],
        DType::I32 => [f64::from(i32::MIN), f64::from(i32::MAX)],
        // Beyond 2⁵³ a double does not hold every whole number.
        DType::U64 => [0.0, (1u64 << 53) as f64],
        DType::I64 => [-((1u64 << 53) as f64), (1u64 << 53) as f64],
        DType::F16 => [-65_504.0, 65_504.0],
        DType::F32 => [f64::from(f32::MIN), f64::from(f32::MAX)],
        _ => return None,
    })
}

fn implied(model: &Model, shapes: &Shapes, spec: &ValueSpec) -> Option<[f64; 2]> {
    match spec.dtype? {
        d @ (DType::Bool | DType::U8 | DType::I8) => bounds(d),
        DType::I32 | DType::I64 => coded(model, shapes, &spec.name),
        _ => None,
    }
}

/// The codes that a value stands for, directly or after operators that only move or cast it: what all its readers take.
fn coded(model: &Model, shapes: &Shapes, input: &str) -> Option<[f64; 2]> {
    let view = model.view();
    let mut open = vec![input];
    let mut seen = std::collections::HashSet::from([input]);
    let mut found: Option<[f64; 2]> = None;
    let mut steps = 0;
    while let Some(value) = open.pop() {
        steps += 1;
        if steps > STEPS {
            break;
        }
        for u in view.uses(value) {
            let &Use::Input { node: id, slot } = u else { continue };
            let n = view.node(id);
            if !node::is_default_domain(&n.domain) {
                continue;
            }
            if MOVING.contains(&n.op_type.as_str()) && slot == 0 {
                open.extend(n.output.iter().map(String::as_str).filter(|o| seen.insert(o)));
            }
            let Some([lo, hi]) = codes(&view, shapes, n, slot).filter(|[lo, hi]| lo <= hi) else { continue };
            found = Some(found.map_or([lo, hi], |[l, h]| [l.max(lo), h.min(hi)]));
        }
    }
    found
}

/// The codes that one reader takes.
fn codes(view: &View<'_>, shapes: &Shapes, n: &NodeProto, slot: usize) -> Option<[f64; 2]> {
    let constant = |slot: usize| Tensor::from_proto(view.constant(node::input(n, slot)?)?).ok()?.to_f64().ok();
    match (n.op_type.as_str(), slot) {
        ("Gather" | "GatherElements", 1) => {
            let dims = shapes.dims(node::input(n, 0)?)?;
            let axis = attr::int(n, "axis").unwrap_or(0);
            let axis = if axis < 0 { axis.checked_add(dims.len() as i64)? } else { axis };
            let size = dims.get(usize::try_from(axis).ok()?)?.known()?;
            Some([0.0, size as f64 - 1.0])
        }
        ("OneHot", 0) => Some([0.0, constant(1)?.first()? - 1.0]),
        ("Equal", 0 | 1) => {
            let values = constant(1 - slot)?;
            let lo = values.iter().copied().fold(f64::INFINITY, f64::min);
            Some([lo, values.iter().copied().fold(f64::NEG_INFINITY, f64::max)])
        }
        _ => None,
    }
}
