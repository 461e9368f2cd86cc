//! Which of a model's nodes become islands.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use tract_core::internal::*;

use crate::{
    graph::{Graph, Op},
    isa::Isa,
    lattice::whole_numbers,
    recognise::{Constants, Recognised, floats, recognise, shape_and_kind},
};

/// Nodes that run as one operator.
#[derive(Debug)]
pub(crate) struct Region {
    /// In topological order.
    pub(crate) nodes: Vec<usize>,
    pub(crate) inputs: Vec<OutletId>,
    pub(crate) outputs: Vec<OutletId>,
    pub(crate) graph: Graph,
}

/// The regions of a model, each convex: nothing that leaves one comes back to it.
pub(crate) fn regions(model: &TypedModel, isa: Isa) -> TractResult<Vec<Region>> {
    let order = model.eval_order()?;
    let mut constants = Constants::default();
    let mut known: HashMap<usize, Recognised> = HashMap::new();
    for id in &order {
        let node = model.node(*id);
        let fixed = (0..node.outputs.len()).any(|slot| constants.get(model, OutletId::new(*id, slot)).is_some());
        if fixed {
            continue;
        }
        if let Some(recognised) = recognise(model, node, &mut constants).filter(|r| ours(r, isa)) {
            known.insert(*id, recognised);
        }
    }
    // A node's depth is the number of nodes left to tract on the longest way to it: what lies at one depth and hangs together
    // has no way out and back in.
    let mut depth: HashMap<usize, usize> = HashMap::new();
    let mut parent: HashMap<usize, usize> = known.keys().map(|id| (*id, *id)).collect();
    for id in &order {
        let node = model.node(*id);
        let varying = node.inputs.iter().filter(|i| constants.get(model, **i).is_none());
        let before = varying.map(|i| depth[&i.node] + usize::from(!known.contains_key(&i.node)));
        let own = before.max().unwrap_or(0);
        depth.insert(*id, own);
        if !known.contains_key(id) {
            continue;
        }
        for input in node.inputs.iter().filter(|i| known.contains_key(&i.node) && depth[&i.node] == own) {
            let (a, b) = (root(&mut parent, input.node), root(&mut parent, *id));
            parent.insert(b, a);
        }
    }
    let mut members: HashMap<usize, Vec<usize>> = HashMap::new();
    let mut roots = Vec::new();
    for id in order.iter().filter(|id| known.contains_key(id)) {
        let root = root(&mut parent, *id);
        members.entry(root).or_insert_with(|| {
            roots.push(root);
            vec![]
        });
        members.get_mut(&root).expect("just entered").push(*id);
    }
    let wanted: HashSet<OutletId> = model.output_outlets()?.iter().copied().collect();
    let mut regions = Vec::new();
    for root in roots {
        let nodes = members.remove(&root).expect("roots have members");
        if worth(&nodes, &known, isa)
            && let Some(region) = region(model, nodes, &known, &mut constants, &wanted)
        {
            regions.push(region);
        }
    }
    Ok(regions)
}

fn root(parent: &mut HashMap<usize, usize>, mut id: usize) -> usize {
    while parent[&id] != id {
        let up = parent[&parent[&id]];
        parent.insert(id, up);
        id = up;
    }
    id
}

/// A product with constants: output columns, weights, and elements of its window.
fn product(op: &Op) -> Option<(usize, &[f32], usize)> {
    match op {
        Op::Conv { bias, weights, geometry, .. } => {
            Some((bias.len(), weights.as_slice(), geometry.kernel.iter().product()))
        }
        Op::MatMul { columns, weights, .. } => Some((*columns, weights.as_slice(), 1)),
        _ => None,
    }
}

/// Whether `isa` multiplies in float32, with no more lanes than tract's own kernels have for it.
fn no_wider(weights: &[f32], isa: Isa) -> bool {
    !isa.has_wide_f32() && whole_numbers(&weights[..weights.len().min(256)]).is_none()
}

/// Whether `isa` has something for a node that is not worse than tract.
fn ours(recognised: &Recognised, isa: Isa) -> bool {
    let Some((columns, weights, taps)) = product(&recognised.op) else { return true };
    // What tract loses in gathering windows counts the less the more channels they are multiplied with, and nothing is gathered for a
    // single tap: with eight lanes its own products are as good then.
    let many = columns >= 256 || (taps == 1 && columns >= 128 && weights.len() >= 32 << 10);
    isa.has_f32() && !(many && no_wider(weights, isa))
}

/// Passes over memory for each product whose fusion makes good for the transpositions at a region's borders.
const PASSES: usize = 8;

/// Whether a region gains: by inner products that are faster than tract's, while the rest only rides along, or by many passes in one;
/// without kernels for products, where a value is quantized and dequantized in one pass.
fn worth(nodes: &[usize], known: &HashMap<usize, Recognised>, isa: Isa) -> bool {
    let has = |f: &dyn Fn(&Op) -> bool| nodes.iter().any(|id| f(&known[id].op));
    if isa.has_f32() {
        // Of single taps, where nothing is gathered, with eight lanes only the small ones are.
        let faster = has(&|op| {
            product(op).is_some_and(|(_, weights, taps)| taps > 1 || weights.len() < 8 << 10 || !no_wider(weights, isa))
        });
        let count = |f: &dyn Fn(&Op) -> bool| nodes.iter().filter(|id| f(&known[id].op)).count();
        let products = count(&|op| product(op).is_some());
        let passes = count(&|op| matches!(op, Op::Unary(_) | Op::Binary(_) | Op::Affine { .. } | Op::Reduce { .. }));
        return faster || (products > 0 && passes >= PASSES * products);
    }
    has(&|op| matches!(op, Op::Quantize { .. })) && has(&|op| matches!(op, Op::Dequantize(_)))
}

/// The region as a graph of its own; `None` if it reads what steps cannot hold.
fn region(
    model: &TypedModel,
    nodes: Vec<usize>,
    known: &HashMap<usize, Recognised>,
    constants: &mut Constants,
    wanted: &HashSet<OutletId>,
) -> Option<Region> {
    let inside: HashSet<usize> = nodes.iter().copied().collect();
    let mut graph = Graph::default();
    let mut ids: HashMap<OutletId, usize> = HashMap::new();
    let mut inputs = Vec::new();
    for id in &nodes {
        let recognised = &known[id];
        let mut operands = Vec::new();
        for outlet in &recognised.inputs {
            if let Some(operand) = ids.get(outlet) {
                operands.push(*operand);
                continue;
            }
            let (shape, kind) = shape_and_kind(model, *outlet)?;
            let op = match constants.get(model, *outlet) {
                Some(constant) => Op::Constant(Arc::new(floats(&constant)?)),
                None => {
                    inputs.push(*outlet);
                    Op::Input(inputs.len() - 1)
                }
            };
            let operand = graph.push(op, vec![], shape, kind);
            ids.insert(*outlet, operand);
            operands.push(operand);
        }
        let outlet = OutletId::new(*id, 0);
        let (shape, kind) = shape_and_kind(model, outlet)?;
        ids.insert(outlet, graph.push(recognised.op.clone(), operands, shape, kind));
    }
    let mut outputs = Vec::new();
    for id in &nodes {
        let outlet = OutletId::new(*id, 0);
        let read = model.outlet_successors(outlet).iter().any(|s| !inside.contains(&s.node));
        if read || wanted.contains(&outlet) {
            outputs.push(outlet);
            graph.outputs.push(ids[&outlet]);
        }
    }
    Some(Region { nodes, inputs, outputs, graph })
}
