//! What can be wrong with data.

use std::path::PathBuf;

/// Why data could not be read or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DatasetError {
    /// The operating system said no.
    #[error("read {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The file is no npz archive, or one that was cut off.
    #[error("read {path}: not a valid npz archive ({reason})")]
    Archive {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// One array cannot be used.
    #[error("read {path}: array `{array}`: {reason}")]
    Array {
        /// The file.
        path: PathBuf,
        /// The array.
        array: String,
        /// What is wrong.
        reason: String,
    },
    /// Labels or groups that cannot be used.
    #[error("read {path}: array `{array}`: {reason}")]
    Codes {
        /// The file.
        path: PathBuf,
        /// `label` or `group`.
        array: String,
        /// What is wrong.
        reason: String,
    },
    /// An input of the model has no array.
    #[error("{path} has no array for the model's input `{input}`{}", near.as_ref().map(|n| format!(" (there is `{n}`)")).unwrap_or_default())]
    Missing {
        /// The file.
        path: PathBuf,
        /// The input.
        input: String,
        /// The nearest name that is there.
        near: Option<String>,
    },
    /// An array is no input of the model.
    #[error("{path} has an array `{array}`, which is no input of the model (inputs: {inputs})")]
    Extra {
        /// The file.
        path: PathBuf,
        /// The array.
        array: String,
        /// The model's inputs.
        inputs: String,
    },
    /// An array does not have the dtype or shape of the input.
    #[error("{path}: array `{array}` is {found}; the model's input is {expected}")]
    Mismatch {
        /// The file.
        path: PathBuf,
        /// The array.
        array: String,
        /// What it is.
        found: String,
        /// What it should be.
        expected: String,
        /// What makes it fit.
        remedy: String,
    },
    /// A value is NaN or infinite.
    #[error("{path}: array `{array}` holds {value} in sample {sample}")]
    NotFinite {
        /// The file.
        path: PathBuf,
        /// The array.
        array: String,
        /// The value.
        value: f64,
        /// The sample's position.
        sample: usize,
    },
    /// Labels are needed and there are none.
    #[error("{0} has no array `label`")]
    NoLabels(PathBuf),
}

impl DatasetError {
    /// What the user can do about it.
    pub fn help(&self) -> Option<String> {
        Some(match self {
            Self::Io { .. } => "check the path and its permissions; an npz file is needed".into(),
            Self::Archive { .. } => "write it again with numpy.savez or numpy.savez_compressed".into(),
            Self::Array { .. } => {
                "the first axis of every array counts samples; dtypes are numbers or bool; numpy.savez stores without compression".into()
            }
            Self::Codes { array, .. } if array == "group" => {
                "a group is a whole number or a text, the same for all samples of a night or a patient: an array of shape [samples]".into()
            }
            Self::Codes { .. } => {
                "labels are class numbers from 0, in the order of the model's scores: an array of int64 and of shape [samples]; the targets of a regression are floats".into()
            }
            Self::Missing { .. } | Self::Extra { .. } => {
                "name the arrays as the model's inputs (`plimsoll inspect MODEL`); `label` and `group` are reserved".into()
            }
            Self::Mismatch { remedy, .. } => remedy.clone(),
            Self::NotFinite { .. } => "decide what a missing value means, and fill it in".into(),
            Self::NoLabels(_) => "add the class or target of each sample as an array named `label`".into(),
        })
    }
}
