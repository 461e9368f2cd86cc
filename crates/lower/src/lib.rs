//! Load-time lowering of tract plans to fused float and int8 operators.
//!
//! [`lower`] takes a typed model of concrete shapes, as `into_typed()` gives it, and returns one in which every region that hangs together of
//! convolutions, matrix products, pools and the element-wise operators around them is a single operator. Inside, channels are last,
//! convolutions are direct, dequantize–compute–quantize islands run on bytes, and element-wise chains are finished while a tile is in
//! the cache. What is not understood stays tract's own; nothing is refused.
//!
//! This crate knows tract and instruction sets. It must not know ONNX files or budgets.

mod compile;
mod gelu;
mod graph;
mod isa;
mod island;
mod lattice;
mod partition;
mod program;
mod recognise;
mod rewrite;
mod step;

use std::{collections::HashMap, time::Duration};

use tract_core::{internal::*, ops::array::StridedSlice};

pub use isa::{ISA_VARIABLE, Isa};

/// A lowered model, and what became of its nodes.
#[derive(Debug)]
pub struct Lowered {
    /// The model; same inputs, same outputs, to be decluttered and optimized as any other.
    pub model: TypedModel,
    /// The names of the nodes in each new operator.
    pub islands: Vec<Vec<String>>,
}

/// Lowers what pays on `isa`. The same model gives the same plan on the same instruction set.
///
/// # Errors
/// If tract cannot wire the model again; regions that cannot be compiled stay as they are.
pub fn lower(mut model: TypedModel, isa: Isa) -> TractResult<Lowered> {
    expand_slices(&mut model)?;
    let mut islands = Vec::new();
    let mut island_of: HashMap<usize, usize> = HashMap::new();
    for region in partition::regions(&model, isa)? {
        let graph = rewrite::rewrite(&gelu::gather(&region.graph));
        let Ok(compiled) = compile::compile(&graph, isa) else { continue };
        let facts = region.outputs.iter().map(|o| model.outlet_fact(*o).map(TypedFact::without_value));
        let facts = facts.collect::<TractResult<Vec<_>>>()?;
        let names: Vec<String> = region.nodes.iter().map(|id| model.node(*id).name.clone()).collect();
        island_of.extend(region.nodes.iter().map(|id| (*id, islands.len())));
        islands.push((region, island::Island::new(isa, compiled, facts, names.clone()), names));
    }
    if islands.is_empty() {
        return Ok(Lowered { model, islands: vec![] });
    }
    let mut lowered = TypedModel { symbols: model.symbols.clone(), ..TypedModel::default() };
    let mut map: HashMap<OutletId, OutletId> = HashMap::new();
    for source in model.input_outlets()? {
        let node = model.node(source.node);
        map.insert(*source, lowered.add_source(node.name.clone(), model.outlet_fact(*source)?.clone())?);
    }
    // Depth first from the outputs; an island waits for all its inputs.
    let mut stack: Vec<usize> = model.output_outlets()?.iter().rev().map(|o| o.node).collect();
    while let Some(id) = stack.last().copied() {
        let node = model.node(id);
        if map.contains_key(&OutletId::new(id, 0)) {
            stack.pop();
            continue;
        }
        let island = island_of.get(&id).map(|i| &islands[*i]);
        let inputs: &[OutletId] = island.map_or(&node.inputs, |(region, ..)| &region.inputs);
        let missing: Vec<usize> = inputs.iter().filter(|i| !map.contains_key(i)).map(|i| i.node).collect();
        if !missing.is_empty() {
            stack.extend(missing);
            continue;
        }
        let wires: Vec<OutletId> = inputs.iter().map(|i| map[i]).collect();
        match island {
            Some((region, island, _)) => {
                let outlets = lowered.wire_node(format!("{}.lowered", node.name), island.clone(), &wires)?;
                map.extend(region.outputs.iter().copied().zip(outlets));
            }
            None => {
                let outlets = lowered.wire_node(node.name.clone(), node.op.clone(), &wires)?;
                map.extend(outlets.into_iter().enumerate().map(|(slot, outlet)| (OutletId::new(id, slot), outlet)));
            }
        }
        stack.pop();
    }
    let outputs: Vec<OutletId> = model.output_outlets()?.iter().map(|o| map[o]).collect();
    lowered.select_output_outlets(&outputs)?;
    for (outlet, label) in &model.outlet_labels {
        if let Some(outlet) = map.get(outlet) {
            lowered.set_outlet_label(*outlet, label.clone())?;
        }
    }
    Ok(Lowered { model: lowered, islands: islands.into_iter().map(|(.., names)| names).collect() })
}

/// Runs a lowered operator once and tells the time of each of its steps, by a label of what the step is; `None` for operators of
/// tract's own.
///
/// # Errors
/// If the inputs are not those of the operator.
pub fn step_times(op: &dyn TypedOp, inputs: &[TValue]) -> TractResult<Option<Vec<(String, Duration)>>> {
    op.downcast_ref::<island::Island>().map(|island| island.step_times(inputs)).transpose()
}

/// Slices whose bounds are inputs, as ONNX has them, in tract's plain form.
fn expand_slices(model: &mut TypedModel) -> TractResult<()> {
    for id in model.eval_order()? {
        let node = model.node(id);
        if let Some(slice) = node.op_as::<StridedSlice>()
            && let Some(patch) = slice.declutter(model, node)?
        {
            patch.apply(model)?;
        }
    }
    Ok(())
}
