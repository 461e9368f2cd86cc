//! Peak activation memory by liveness.

use std::collections::HashMap;

use plimsoll_onnx::{Model, captured_names, node, shape::Shapes};

/// The largest sum of bytes of the activations alive while a node runs (what it reads, what it writes, and what later nodes
/// still need). Weights are not activations.
pub(crate) fn peak(model: &Model, shapes: &Shapes) -> Option<u64> {
    let view = model.view();
    let graph = model.graph();
    let mut last_use: HashMap<&str, usize> = HashMap::new();
    for (index, n) in graph.node.iter().enumerate() {
        let captured = captured_names(n);
        for input in n.input.iter().map(String::as_str).chain(captured) {
            last_use.insert(input, index);
        }
    }
    for output in &graph.output {
        last_use.insert(&output.name, usize::MAX);
    }
    let bytes_of = |value: &str| -> Option<u64> {
        let found = shapes.get(value)?;
        let elements = found.dims.as_ref()?.iter().try_fold(1u64, |n, d| n.checked_mul(d.known()?))?;
        Some(elements.checked_mul(found.dtype?.bits() as u64)?.div_ceil(8))
    };
    let mut alive: HashMap<&str, u64> = HashMap::new();
    for input in model.inputs() {
        if let Some((name, _)) = last_use.get_key_value(input.name.as_str()) {
            alive.insert(name, bytes_of(name)?);
        }
    }
    let mut peak = alive.values().sum::<u64>();
    for (index, n) in graph.node.iter().enumerate() {
        // Constants are weights, wherever they are stored.
        if !node::is(n, "Constant") {
            for output in n.output.iter().filter(|o| !o.is_empty() && view.constant(o).is_none()) {
                let used = last_use.contains_key(output.as_str());
                let bytes = bytes_of(output).or(if used { None } else { Some(0) })?;
                alive.insert(output, bytes);
            }
        }
        peak = peak.max(alive.values().fold(0, |a, b| a.saturating_add(*b)));
        alive.retain(|value, _| last_use.get(value).is_some_and(|&last| last > index));
    }
    Some(peak)
}
