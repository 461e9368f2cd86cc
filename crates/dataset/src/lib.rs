//! Reference and calibration data: npz archives and ONNX test data, as named tensors whose first axis counts samples.
//!
//! This crate must not know executors. Archives are hostile input: sizes are checked before anything is allocated, and memory
//! is bounded by what the file really holds.

mod archive;
mod dataset;
mod draw;
mod error;
mod fit;
mod labels;
mod npy;
mod npz;
mod onnx_test;
mod piped;
mod samples;

pub use archive::Archive;
pub use dataset::Dataset;
pub use draw::draw;
pub use error::DatasetError;
pub use fit::Arrays;
pub use npy::encode_table;
pub use onnx_test::read_test_data_set;
pub use piped::{decode_arrays, encode_arrays};
pub use samples::{Samples, overlap};
