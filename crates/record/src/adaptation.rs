//! What `adapt` prints: a model against the contract of a pipeline, and what an adapter did about it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{PassRecord, Size};

/// One respect in which a model was held against a contract.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ContractPoint {
    /// `input`, `output`, `executor`, or `adapter` for one that the model carries.
    pub side: String,
    /// The model's input, the pipeline's output, what is asked of the executor, or `model`.
    pub name: String,
    /// The respect, such as `dtype`, `layout` or `sampling rate`.
    pub aspect: String,
    /// `fits`, `adapts` or `incompatible`.
    pub fit: String,
    /// What the pipeline has.
    pub pipeline: String,
    /// What the model has.
    pub model: String,
    /// What an adapter does about it, or what is missing and what to do; empty where it fits.
    pub note: String,
    /// Line of the contract, from 1; 0 where there is none to point at.
    pub line: u64,
    /// Column, from 1.
    pub column: u64,
}

/// One thing that an adapter does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AdapterStep {
    /// The input or output.
    pub value: String,
    /// In words.
    pub what: String,
}

/// The adapted model beside "what the pipeline would have to do, then the original model".
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AdapterProof {
    /// `recorded` inputs of the pipeline, or inputs `drawn` from the ranges that the contract states.
    pub inputs: String,
    /// Number of samples that gave the same both ways.
    pub samples: u64,
    /// The executor that ran both.
    pub executor: String,
}

/// An output beside what the incumbent gave on the same recorded inputs. A new model may differ: this is for people to look at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BesideIncumbent {
    /// The output.
    pub output: String,
    /// Number of samples.
    pub samples: u64,
    /// Share of samples on which both name the same class; `null` where the output names none.
    pub agreement: Option<f64>,
    /// Largest difference of any value; `null` where one of them is NaN.
    pub largest_difference: Option<f64>,
}

/// A model against a contract, and its adapter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Adaptation {
    /// `plimsoll.adaptation/1`.
    pub schema: String,
    /// The model read.
    pub model: String,
    /// The contract.
    pub contract: String,
    /// The worst of all points: `fits`, `adapts` or `incompatible`.
    pub verdict: String,
    /// Every point.
    pub points: Vec<ContractPoint>,
    /// What an adapter does, in order; empty where it has nothing to do, or there can be none.
    pub steps: Vec<AdapterStep>,
    /// The model written; `null` where none was asked for.
    pub output: Option<String>,
    /// The model read; `null` where none was written.
    pub before: Option<Size>,
    /// The model written.
    pub after: Option<Size>,
    /// Every pass that simplified and folded, in order.
    pub passes: Vec<PassRecord>,
    /// What both ways gave; `null` where they were not run, or nothing was written.
    pub proof: Option<AdapterProof>,
    /// Why there is no proof; empty where there is one, or nothing was written.
    pub not_proved: String,
    /// Outputs beside the incumbent's, where these were recorded.
    pub incumbent: Vec<BesideIncumbent>,
}
