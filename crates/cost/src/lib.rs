//! What a model costs, counted exactly and the same on every machine. Must not know executors.
//!
//! Multiply-accumulates count the linear operators only (convolutions, matrix products, recurrent gates, attention, simple Einsum), as
//! the MobileNet line of papers does; biases and element-wise operators count 0. Bodies of control flow and calls of functions are
//! followed; what a branch or a condition decides is counted for the dearest case. The documentation of the counts is
//! `docs/cost.md`.

mod cuts;
mod macs;
mod memory;
mod operators;
mod order;
mod packed;
mod plan;
mod scope;
mod slices;
mod traffic;
mod walk;
mod weights;

pub mod energy;
pub mod queue;
pub mod roofline;
pub mod server;

use plimsoll_onnx::{Model, NodeId, shape::Shapes};

pub use macs::Macs;
pub use packed::zstd_bytes;
pub use weights::Stored;

use scope::Scope;

/// One node.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeCost {
    /// Its position in its graph.
    pub id: NodeId,
    /// Its name, or operator and output where it has none.
    pub name: String,
    /// Operator.
    pub op: String,
    /// Multiply-accumulates, bodies included; `None` where they are not known.
    pub macs: Option<u64>,
    /// The same by what is multiplied.
    pub by_dtype: Macs,
    /// Parameters: elements of constant inputs, and of constants in bodies.
    pub params: u64,
    /// Bytes of these parameters in the file.
    pub bytes: u64,
    /// Bytes that it reads and writes, each operand once; `None` where a shape is not known.
    pub traffic: Option<u64>,
    /// Shape of the first output that has a name, where it is known.
    pub shape: Option<Vec<usize>>,
    /// What the count of a node with bodies stands for.
    pub counted: Counted,
    /// The graphs that it runs.
    pub bodies: Vec<BodyCost>,
}

/// What the count of a node stands for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Counted {
    /// Every run.
    #[default]
    Always,
    /// The dearest branch.
    DearestBranch,
    /// As many iterations as are allowed; a condition may end them before.
    AtMost(u64),
    /// One iteration, of which nobody knows how many there are.
    OneIteration,
}

/// A graph inside a node.
#[derive(Debug, Clone, PartialEq)]
pub struct BodyCost {
    /// Its name, or its position where it has none.
    pub name: String,
    /// How often it runs in one run of the node, at most; `None` where that is not known. A branch that is not taken runs 0 times.
    pub runs: Option<u64>,
    /// Its nodes, each as it costs once.
    pub nodes: Vec<NodeCost>,
}

/// A whole model.
#[derive(Debug, Clone, PartialEq)]
pub struct Cost {
    /// Nodes in stored order.
    pub nodes: Vec<NodeCost>,
    /// Multiply-accumulates of the nodes where they are known.
    pub macs: u64,
    /// The same by what is multiplied.
    pub by_dtype: Macs,
    /// Parameters, shared ones counted once.
    pub params: u64,
    /// Their bytes in the file.
    pub bytes: u64,
    /// Parameters and bytes by type.
    pub stored: Vec<Stored>,
    /// Bytes that parameters take once the model is loaded; `None` where a shape is not known.
    pub loaded_bytes: Option<u64>,
    /// Peak activation memory in bytes, each result in an array of its own; `None` where a shape is not known.
    pub peak_activation_bytes: Option<u64>,
    /// The same where element-wise nodes write over their inputs, and reshapes are views.
    pub peak_in_place_bytes: Option<u64>,
    /// Bytes that the nodes read and write, each operand once a node; `None` where a shape is not known.
    pub traffic: Option<u64>,
    /// Nodes whose multiply-accumulates are not known, or are those of one iteration of an unknown number, at any depth.
    pub unknown: u64,
}

impl Cost {
    /// Multiply-accumulates a byte that is read or written, without fusion of nodes. `None` where something is not known, or nothing
    /// moves.
    pub fn intensity(&self) -> Option<f64> {
        let bytes = self.traffic.filter(|&t| t > 0 && self.unknown == 0)?;
        Some(self.macs as f64 / bytes as f64)
    }
}

impl NodeCost {
    /// Multiply-accumulates a byte that is read or written; `None` where something is not known, or nothing moves.
    pub fn intensity(&self) -> Option<f64> {
        Some(self.macs? as f64 / self.traffic.filter(|&t| t > 0)? as f64)
    }

    /// Nodes whose multiply-accumulates are not known, this one and those in its bodies.
    fn unknown(&self) -> u64 {
        let own = u64::from(self.macs.is_none() || self.counted == Counted::OneIteration);
        self.bodies.iter().flat_map(|b| &b.nodes).map(Self::unknown).sum::<u64>() + own
    }
}

/// Counts a model whose shapes were inferred, for concrete inputs.
pub fn analyse(model: &Model, shapes: &Shapes) -> Cost {
    let scope = Scope::of_model(model, shapes);
    let nodes = walk::nodes(&scope);
    let held = walk::held(&scope);
    let (by_dtype, traffic) = walk::sums(&nodes);
    Cost {
        macs: by_dtype.total(),
        by_dtype,
        params: held.params(),
        bytes: held.bytes(),
        stored: held.stored(),
        loaded_bytes: weights::loaded(&scope),
        peak_activation_bytes: memory::peak(&scope, memory::Reuse::None),
        peak_in_place_bytes: memory::peak(&scope, memory::Reuse::InPlace),
        traffic,
        unknown: nodes.iter().map(NodeCost::unknown).sum(),
        nodes,
    }
}

/// The nodes of [`analyse`] alone: it lays out memory besides, which takes most of its time.
pub fn nodes(model: &Model, shapes: &Shapes) -> Vec<NodeCost> {
    walk::nodes(&Scope::of_model(model, shapes))
}

/// The multiply-accumulates of [`analyse`] alone.
pub fn macs(model: &Model, shapes: &Shapes) -> u64 {
    walk::sums(&nodes(model, shapes)).0.total()
}

/// The parameters of [`analyse`] alone.
pub fn params(model: &Model, shapes: &Shapes) -> u64 {
    walk::held(&Scope::of_model(model, shapes)).params()
}

#[cfg(test)]
mod tests;
