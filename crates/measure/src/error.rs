//! Why a model could not be measured.

use std::path::PathBuf;

use plimsoll_dataset::DatasetError;
use plimsoll_onnx::WriteError;
use plimsoll_record::FigureError;
use plimsoll_runtime::{ExecError, FilterError};

/// Why a model could not be measured.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MeasureError {
    /// The data do not fit.
    #[error(transparent)]
    Data(#[from] DatasetError),
    /// The executor failed.
    #[error(transparent)]
    Exec(#[from] ExecError),
    /// A command before or after the model failed.
    #[error(transparent)]
    Step(#[from] FilterError),
    /// Arrays that cannot be handed to a command.
    #[error("cannot be handed to a command: {0}")]
    NotHanded(String),
    /// The model could not be encoded.
    #[error(transparent)]
    Encode(#[from] WriteError),
    /// A figure came out without meaning.
    #[error(transparent)]
    Figure(#[from] FigureError),
    /// The first output is no table of scores.
    #[error(
        "output `{output}` has the shape {shape:?} for {batch} samples; one row of class scores a sample is needed"
    )]
    NotScores {
        /// The output.
        output: String,
        /// Its shape.
        shape: Vec<usize>,
        /// Samples that went in.
        batch: usize,
    },
    /// A score is NaN or infinite.
    #[error("output `{output}` is {value} for sample {sample}")]
    NotFinite {
        /// The output.
        output: String,
        /// The value.
        value: f64,
        /// Position of the sample.
        sample: usize,
    },
    /// A label names no class of the model.
    #[error("sample {sample} has the label {label}; the model has {classes} classes")]
    Label {
        /// Position of the sample.
        sample: usize,
        /// The label.
        label: i64,
        /// Columns of the first output.
        classes: usize,
    },
    /// The baseline's output is of another shape.
    #[error("the baseline has {baseline} classes, the model {model}")]
    Classes {
        /// Classes of the model.
        model: usize,
        /// Classes of the baseline.
        baseline: usize,
    },
    /// Models that are compared have other samples.
    #[error("the samples are not those of the baseline: labels, groups and their order must be the same")]
    OtherSamples,
    /// The targets of a regression do not fit the model's outputs.
    #[error("the labels are {width} floating-point values a sample; the model has {outputs} outputs")]
    Targets {
        /// Values a sample.
        width: usize,
        /// Columns of the first output.
        outputs: usize,
    },
    /// An endpoint of data that do not say which samples belong together.
    #[error("endpoint `{endpoint}` is one of each group, and {} has no array `group`", path.display())]
    NoGroups {
        /// Name of the endpoint.
        endpoint: String,
        /// The data.
        path: PathBuf,
    },
    /// An endpoint that the model has not.
    #[error("endpoint `{endpoint}` cannot be taken: {reason}")]
    Endpoint {
        /// Name of the endpoint.
        endpoint: String,
        /// Why.
        reason: String,
    },
    /// A margin for what is no comparison.
    #[error("there is no comparison `{0}` to hold against a margin")]
    Margin(String),
    /// A metric that does not exist.
    #[error("there is no metric `{0}`")]
    UnknownMetric(String),
    /// The inputs' batch sizes are fixed, and differ.
    #[error("the model's inputs have different fixed batch sizes ({0} and {1})")]
    Batches(usize, usize),
    /// The model has no output, or an input of unknown shape.
    #[error("the model cannot be measured: {0}")]
    Model(String),
}

impl MeasureError {
    /// What the user can do about it.
    pub fn help(&self) -> Option<String> {
        Some(match self {
            Self::Data(e) => return e.help(),
            Self::Exec(e) => return e.help(),
            Self::Step(e) => e.help(),
            Self::NotHanded(_) => "commands take arrays in npy format, whose names are one word each".into(),
            Self::Encode(_) | Self::Figure(_) => return None,
            Self::NotScores { .. } => {
                "accuracy is taken from the first output: class scores of shape [samples, classes]".into()
            }
            Self::NotFinite { .. } => {
                "compare with the unquantized model on the same sample: a value range was exceeded".into()
            }
            Self::Label { .. } => "labels are class numbers from 0, in the order of the model's scores".into(),
            Self::Classes { .. } => "a baseline must solve the same task".into(),
            Self::OtherSamples => "export the features of each model from the same samples, in the same order".into(),
            Self::Targets { .. } => "class numbers are whole numbers: array.astype(\"int64\"); targets of a regression are as many floats as the model has outputs".into(),
            Self::NoGroups { .. } => {
                "write an array `group` into the archive: for each sample, in the order of time, the number of its record".into()
            }
            Self::Endpoint { .. } => "endpoints are read off the predicted classes: see `class` in the spec".into(),
            Self::Margin(_) => format!("comparisons with a baseline are {}", crate::metrics::comparisons().join(", ")),
            Self::UnknownMetric(_) => format!("the metrics are {}", crate::metrics::NAMES.join(", ")),
            Self::Batches(..) => "export the model with one batch size for all inputs, or a symbolic one".into(),
            Self::Model(_) => "see `plimsoll inspect MODEL`; samples given with --data settle unknown shapes".into(),
        })
    }
}
