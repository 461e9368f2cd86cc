//! Drawing inputs within ranges. Knows declarations and numbers, neither models' meaning nor executors.

use std::collections::BTreeMap;

use plimsoll_dataset::draw;
use plimsoll_onnx::{DimSpec, Model, Tensors, ValueSpec, all_nodes, node};
pub(crate) use plimsoll_stats::Random as Dice;

use crate::{Ranges, simplify::is_random};

/// The batch size that is drawn where it is open: two samples tell batch and broadcast apart.
const BATCH: usize = 2;

/// One batch. The first dimension, where it is open, is 2, and so is every other of the same name; the rest become `open`.
pub(crate) fn inputs(dice: &mut Dice, specs: &[ValueSpec], ranges: &Ranges, open: usize) -> Result<Tensors, String> {
    let batch = |spec: &ValueSpec| match spec.dims.as_ref()?.first()? {
        DimSpec::Symbol(name) => Some(name.clone()),
        _ => None,
    };
    let batches: BTreeMap<String, ()> = specs.iter().filter_map(batch).map(|name| (name, ())).collect();
    let size = |(axis, dim): (usize, &DimSpec)| match dim {
        DimSpec::Fixed(n) => usize::try_from(*n).unwrap_or(usize::MAX),
        DimSpec::Symbol(name) if batches.contains_key(name) => BATCH,
        _ if axis == 0 => BATCH,
        _ => open,
    };
    let mut drawn = Tensors::new();
    for spec in specs {
        let name = &spec.name;
        let dims = spec.dims.as_ref().ok_or_else(|| format!("input `{name}` declares no shape"))?;
        let shape: Vec<usize> = dims.iter().enumerate().map(size).collect();
        let range = ranges.get(name).ok_or_else(|| format!("the range of input `{name}` is not known"))?;
        let dtype = spec.dtype.ok_or_else(|| format!("input `{name}` has no dense numeric dtype"))?;
        let tensor = draw(dice, dtype, &shape, *range).map_err(|why| format!("input `{name}`: {why}"))?;
        drawn.insert(name.clone(), tensor);
    }
    Ok(drawn)
}

/// The first node whose results are drawn at random, for the message.
pub(crate) fn random_operator(model: &Model) -> Option<String> {
    let view = model.view();
    let functions = model.proto().functions.iter().flat_map(|f| &f.node);
    let n = all_nodes(model.graph()).into_iter().chain(functions).find(|n| is_random(&view, n))?;
    Some(format!("node `{}` ({})", node::label(n), n.op_type))
}
