//! The ONNX file: wire format, tensor data of every dtype, a graph view, patches, and shapes.
//!
//! Reading keeps everything (metadata, unknown fields, sub-graphs, functions, external data); what no patch touches is
//! written back equal in content. This crate must not know executors, nor what a file is for.
//!
//! - [`Model`] owns the parsed file; [`View`] indexes its main graph; [`Patch`] is the only way to change it.
//! - [`Tensor`] is dense numeric data with its [`DType`] and shape.
//! - [`shape`] infers types and shapes of the common operators, with symbolic dimensions.

mod check;
mod digest;
mod external;
mod model;
mod outline;
mod patch;
mod protos;
mod tensor;
mod view;
mod wire;

pub mod attr;
pub mod node;
pub mod shape;

pub use check::{Defect, check};
pub use digest::Digest;
pub use external::external_files;
pub use model::{DimSpec, Model, ReadError, ValueSpec, WriteError};
pub use outline::Absent;
pub use patch::{Patch, PatchError};
pub use protos::{all_nodes, captured_names, rename_inputs, subgraphs, subgraphs_mut};
pub use tensor::{DType, Element, Tensor, TensorError, Tensors};
pub use view::{Names, NodeId, Use, View};

/// The generated wire types, for the crates that build nodes.
pub mod proto {
    pub use onnx_protobuf::*;
}
