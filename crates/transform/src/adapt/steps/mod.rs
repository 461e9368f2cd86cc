//! What is done to one value on its way between pipeline and model. A new kind of step is a file here, and a line where it is
//! planned. Each step says what it does twice: as nodes, and as plain loops that the nodes are held against.

mod cast;
mod gaps;
mod layout;
mod resample;
mod scale;
mod scores;
mod window;

pub(super) use cast::Cast;
pub(super) use gaps::{Fill, Replace};
pub(super) use layout::{Reshape, Transpose, copy_open};
pub(super) use resample::Resample;
pub(super) use scale::{Affine, Standardise};
pub(super) use scores::{ArgMax, Log, Merge, Pick, Relabel, Softmax, Threshold};
pub(super) use window::{Pad, Slice};

use super::{array::Array, writer::Writer};

/// One step.
pub(super) trait Step: std::fmt::Debug + Send + Sync {
    /// In words, for people.
    fn what(&self) -> String;
    /// Writes the nodes; the name of the result.
    fn emit(&self, writer: &mut Writer, value: &str) -> String;
    /// Does the same to an array.
    fn apply(&self, x: Array) -> Array;
}
