//! How the inputs and outputs of a model are distributed: what a release ships for its devices to tell drift by.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `reference.json` of a payload: quantiles alone, no sample of anybody's.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Distributions {
    /// `plimsoll.reference/1`.
    pub schema: String,
    /// Of each input by name: the least of its finite values, the values that 1/32, 2/32 … of them are not above, the greatest.
    pub inputs: BTreeMap<String, Vec<f64>>,
    /// Of each output.
    pub outputs: BTreeMap<String, Vec<f64>>,
}

impl Distributions {
    /// The schema's name.
    pub const SCHEMA: &'static str = "plimsoll.reference/1";
}
