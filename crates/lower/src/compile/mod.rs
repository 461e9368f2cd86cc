//! From an island's graph to a program: layouts, fusion of element-wise chains into the step before them, buffers.
//!
//! Nodes are taken in topological order. An element-wise node joins the step that made its latest operand if all its other operands
//! were there before that step; so a convolution's scale, residual, activation and requantization become one pass over its tile, and
//! a chain of element-wise nodes one pass over memory. Whatever only moves axes costs nothing: a value is its elements in memory
//! and the order of its logical axes there.

mod buffers;
mod dense;
mod emit;
mod forward;
mod pack;
mod pointwise_groups;
mod pooling;
mod values;

use crate::{
    graph::{Graph, Op},
    isa::Isa,
    program::{Buffer, Program},
};

use emit::Emitter;

/// Why an island is left to tract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooComplex;

/// A program, and where it leaves the island's outputs (row-major).
#[derive(Debug)]
pub(crate) struct Compiled {
    pub(crate) program: Program,
    pub(crate) outputs: Vec<Buffer>,
}

/// Makes a program for `isa`.
pub(crate) fn compile(graph: &Graph, isa: Isa) -> Result<Compiled, TooComplex> {
    let mut emitter = Emitter::new(graph, isa);
    for (id, node) in graph.nodes.iter().enumerate() {
        match &node.op {
            Op::Input(k) => emitter.input(id, *k),
            Op::Constant(_) => emitter.constant(id),
            Op::Conv { .. } => emitter.conv(id)?,
            Op::MatMul { .. } => emitter.matmul(id)?,
            Op::Unary(_) | Op::Binary(_) | Op::Affine { .. } | Op::Quantize { .. } | Op::Dequantize(_) => {
                emitter.pointwise(id)?;
            }
            Op::MaxPool { .. } | Op::SumPool { .. } => emitter.pool(id)?,
            Op::Reduce { .. } => emitter.reduce(id)?,
            Op::Relabel(_) => emitter.relabel(id),
            Op::Reshape => emitter.reshape(id)?,
            Op::Slice { .. } => emitter.slice(id)?,
            Op::Pad { .. } => emitter.pad(id)?,
            Op::Softmax { .. } => return Err(TooComplex),
            Op::Concat { .. } => emitter.concat(id)?,
        }
    }
    emitter.finish()
}
