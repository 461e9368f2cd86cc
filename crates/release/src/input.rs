//! What a release is made of. Nothing here is looked up: files, figures and verdicts come in as values.

use std::collections::BTreeMap;

use plimsoll_record::{Figures, Recipe, ReleaseChange, Report};

/// A licence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Licence {
    /// SPDX expression, such as `MIT OR Apache-2.0`.
    pub expression: String,
    /// Its text; `None` where only the expression is known.
    pub text: Option<String>,
}

/// Data that the model was made or judged with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatasetUse {
    /// What for: `calibration`, `validation`, `test`.
    pub role: String,
    /// File name.
    pub file: String,
    /// Digest of the samples.
    pub digest: String,
}

/// The model that the recipe started from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceModel {
    /// File name.
    pub file: String,
    /// SHA-256 of the file.
    pub sha256: String,
    /// Canonical digest.
    pub model_digest: String,
}

/// A spec or profile whose budgets the report holds the model against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gate {
    /// Its name, by which the report's rows call it.
    pub name: String,
    /// Its file in the payload, and then those that it extends, such as `budgets/profiles/server-x86.toml`.
    pub files: Vec<String>,
}

/// What a release is made of.
#[derive(Debug, Clone)]
pub struct ReleaseInput {
    /// Name of the release.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Signed with trial keys.
    pub trial: bool,
    /// The model, encoded, external data taken in.
    pub model: Vec<u8>,
    /// Its canonical digest.
    pub model_digest: String,
    /// What the recipe started from.
    pub source: SourceModel,
    /// How the model was made.
    pub recipe: Recipe,
    /// Measured and counted figures.
    pub figures: Figures,
    /// Figures of what the model was compared with.
    pub baseline: Figures,
    /// Budgets against figures.
    pub report: Report,
    /// The report for people.
    pub report_markdown: String,
    /// Text of the release spec.
    pub spec: Vec<u8>,
    /// Texts of the profiles by file name, such as `server-x86.toml`.
    pub profiles: BTreeMap<String, Vec<u8>>,
    /// The spec and the profiles, by the names that the report calls them by.
    pub gates: Vec<Gate>,
    /// Git commit of the spec's work tree; `None` where it is not clean, or is none.
    pub commit: Option<String>,
    /// Seed of whatever was drawn while the model was made.
    pub seed: u64,
    /// The day by which waivers were judged, where there are any.
    pub judged_on: Option<String>,
    /// Why there is this release.
    pub change: Option<ReleaseChange>,
    /// Text of the contract.
    pub contract: Option<Vec<u8>>,
    /// Names of the classes, in the order of the scores.
    pub labels: Vec<String>,
    /// Data that it was made and judged with.
    pub datasets: Vec<DatasetUse>,
    /// The licence.
    pub licence: Option<Licence>,
    /// Release digest of the release that this one is to replace.
    pub parent: Option<String>,
    /// The oldest client that can run it.
    pub minimum_client: String,
    /// More files for the payload, by path in it.
    pub extra: BTreeMap<String, Vec<u8>>,
}
