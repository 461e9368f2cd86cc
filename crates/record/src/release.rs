//! Releases: the record inside a signed payload, and the manifest that a repository lists it by.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Verdict,
    names::{is_digest, is_safe_path},
};

/// What is signed, in a release folder.
pub const PAYLOAD: &str = "payload";
/// The OpenSSF Model Signing bundle beside it.
pub const SIGNATURE: &str = "model.sig";
/// The key that it can be verified with.
pub const PUBLIC_KEY: &str = "public_key.pem";
/// The record in the payload that says what it is.
pub const RECORD: &str = "release.json";
/// More files than any release has.
const MOST_FILES: usize = 10_000;

/// The model of a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReleasedModel {
    /// File name in the payload.
    pub file: String,
    /// SHA-256 of that file.
    pub sha256: String,
    /// Canonical digest: the same for a model that differs in names and metadata only.
    pub model_digest: String,
    /// Bytes of the file.
    pub bytes: u64,
}

/// `release.json`: what a release is. It holds no time of day, so that the same inputs give the same bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReleaseRecord {
    /// `plimsoll.release/1`.
    pub schema: String,
    /// Name of the model.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Signed with trial keys: production clients refuse it.
    pub trial: bool,
    /// The model.
    pub model: ReleasedModel,
    /// Name of the recipe that made the model.
    pub recipe: String,
    /// Release digest of the release that this one is to replace.
    pub parent: Option<String>,
    /// Release digest to go back to when this release is halted.
    pub rollback: Option<String>,
    /// The oldest client that can run it.
    pub minimum_client: String,
    /// SPDX expression of the licence; `null` where none was stated.
    pub licence: Option<String>,
    /// Seed of whatever was drawn while the model was made; absent of releases from before there was such a thing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// The day by which waivers were judged; absent where the spec has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub judged_on: Option<String>,
    /// Why there is this release; absent where the spec does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change: Option<ReleaseChange>,
}

/// A requirement with the risks that it controls and the budgets that show that it is met.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ChangeTrace {
    /// Id of the requirement.
    pub requirement: String,
    /// Ids of risks.
    pub risks: Vec<String>,
    /// Metrics whose budgets are the gate.
    pub budgets: Vec<String>,
}

/// Why there is a release, by the ids of whoever keeps them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReleaseChange {
    /// The ticket.
    pub ticket: String,
    /// Whether a predetermined change control plan covers it.
    pub in_plan: bool,
    /// Ids of requirements.
    pub requirements: Vec<String>,
    /// Ids of risks.
    pub risks: Vec<String>,
    /// Anomalies that are known and shipped.
    pub anomalies: Vec<String>,
    /// What belongs together; a requirement that none names is traced to every risk and every budget.
    pub trace: Vec<ChangeTrace>,
}

impl ReleaseRecord {
    /// The schema's name.
    pub const SCHEMA: &'static str = "plimsoll.release/1";
}

/// One file of a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ManifestFile {
    /// Path below the release folder, with `/`, such as `payload/model.onnx`.
    pub path: String,
    /// SHA-256 of its bytes, which is also its name in the repository.
    pub sha256: String,
    /// Its length.
    pub bytes: u64,
}

/// What a repository lists for a release: one signed target, whatever the number of files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReleaseManifest {
    /// `plimsoll.manifest/1`.
    pub schema: String,
    /// Name of the model.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Signed with trial keys.
    pub trial: bool,
    /// OpenSSF Model Signing root digest of `payload/`.
    pub release_digest: String,
    /// Key that signed the payload: SHA-256 of its SPKI PEM text.
    pub signing_key: String,
    /// Every file: the payload, the signature, the attestations, the public key.
    pub files: Vec<ManifestFile>,
}

impl ReleaseManifest {
    /// The schema's name.
    pub const SCHEMA: &'static str = "plimsoll.manifest/1";

    /// Why clients refuse it, whatever release it is of.
    pub fn check(&self) -> Result<(), String> {
        if self.schema != Self::SCHEMA {
            return Err(format!("its schema is `{}`", self.schema.escape_default()));
        }
        if !is_digest(&self.release_digest) || !is_digest(&self.signing_key) {
            return Err("it has a digest that is no SHA-256".into());
        }
        if self.files.len() > MOST_FILES {
            return Err(format!("it lists {} files", self.files.len()));
        }
        let mut paths = BTreeSet::new();
        for file in &self.files {
            if !is_safe_path(&file.path) || !is_digest(&file.sha256) {
                return Err(format!("it lists `{}`, which is no file of a release", file.path.escape_default()));
            }
            if !paths.insert(file.path.as_str()) {
                return Err(format!("it lists `{}` twice", file.path));
            }
        }
        for needed in [SIGNATURE, PUBLIC_KEY] {
            if !paths.contains(needed) {
                return Err(format!("it lists no `{needed}`"));
            }
        }
        if !paths.iter().any(|p| p.strip_prefix(PAYLOAD).is_some_and(|rest| rest.starts_with('/'))) {
            return Err("it lists no payload".into());
        }
        Ok(())
    }
}

/// What `release` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Released {
    /// `plimsoll.released/1`.
    pub schema: String,
    /// Name of the model.
    pub name: String,
    /// Its version.
    pub version: String,
    /// What the gate said on the test data.
    pub verdict: Verdict,
    /// OpenSSF Model Signing root digest of the payload.
    pub release_digest: String,
    /// The payload: what is signed, and what is shipped.
    pub release_dir: String,
    /// The signature.
    pub signature: String,
    /// The key that it was made with.
    pub public_key: String,
    /// The repository; `null` where it was put into none.
    pub repository: Option<String>,
    /// The channel that it is in.
    pub channel: Option<String>,
    /// Epoch of the channel's pointer.
    pub epoch: Option<u64>,
    /// The address in a registry that it was pushed to, pinned to its digest; absent where it was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pushed: Option<String>,
}

/// What `release --from DIR --push` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PushedRelease {
    /// `plimsoll.pushed/1`.
    pub schema: String,
    /// The address in the registry, pinned to the digest of what lies there.
    pub pushed: String,
}

impl PushedRelease {
    /// The document of an address.
    pub fn new(pushed: String) -> Self {
        Self { schema: "plimsoll.pushed/1".into(), pushed }
    }
}
