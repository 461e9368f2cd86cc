//! Benchmarks of our own code, not of models: `cargo bench --package plimsoll-benches`. Here is what they share.

use std::path::{Path, PathBuf};

use plimsoll_dataset::Dataset;
use plimsoll_onnx::Model;

/// The fixtures, by name.
pub const FIXTURES: &[&str] = &["sleep-wake", "digits"];

/// A file of a fixture.
///
/// # Panics
/// Where this crate does not lie in the repository.
pub fn file(fixture: &str, name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("benches lie in the repository");
    root.join("fixtures").join(fixture).join(name)
}

/// A fixture's model.
///
/// # Panics
/// Where it cannot be read.
pub fn model(fixture: &str) -> Model {
    Model::read(&file(fixture, "model.onnx")).expect("the fixture is committed")
}

/// A fixture's calibration samples.
///
/// # Panics
/// Where they cannot be read.
pub fn calibration(fixture: &str) -> Dataset {
    Dataset::read_npz(&file(fixture, "calib.npz")).expect("the fixture is committed")
}
