//! Releases: a folder that says what was shipped and why, signed; a repository that devices follow; proof of both.
//!
//! This crate must not know statistics: figures, verdicts and reports come in as they are, and are kept.
//!
//! - [`build`] writes a release folder: `payload/` (what is signed), and beside it the signature, the attestations and the
//!   public key. The same input and key give the same bytes.
//! - [`Repository`] puts releases into the channels of a TUF repository; [`status`] and [`fetch`] read one without keys.
//! - [`recorded`] reads what was recorded, [`difference`] says where a payload that was built again differs, [`dossier`] tells a
//!   release to those who keep records of changes.
//! - [`sign_figures`] and [`read_evidence`] carry figures from the machine that took them to the gate that judges by them.
//! - [`verify`] says of either, step by step, what was checked.

mod attest;
mod audit;
mod bom;
mod builder;
mod catalogue;
mod decision;
mod dossier;
mod error;
mod evidence;
mod fetch;
mod input;
mod names;
mod place;
mod repository;
mod reproduce;
mod roles;
mod status;
mod verify;

pub use audit::{Actor, AuditLog, audit_log};
pub use builder::{Built, build, payload};
pub use dossier::{Package, dossier};
pub use error::{ErrorKind, ReleaseError};
pub use evidence::{EvidenceError, FIGURES_TYPE, Judged, Mismatch, SignedFigures, read_evidence, sign_figures};
pub use fetch::fetch;
pub use input::{DatasetUse, Gate, Licence, ReleaseInput, SourceModel};
pub use place::Place;
pub use plimsoll_record::{ChannelStatus, PAYLOAD, PUBLIC_KEY, RECORD, ReleaseStatus, RoleStatus, SIGNATURE, Status};
pub use repository::{
    Placement, Published, Repository,
    entry::Promotion,
    keepers::{AtHand, NewKey, keys_at_hand},
};
pub use reproduce::{Difference, Recorded, difference, recorded};
pub use roles::{BETA, GENERAL, ROLES};
pub use status::status;
pub use verify::{Demand, Rule, VerifyOptions, verify, verify_release, verify_repository};

/// DSSE envelopes about the payload.
pub const ATTESTATIONS: &str = "attestations";
/// How the model was made.
pub const RECIPE: &str = "recipe.json";
/// Figures of the model: counted, measured on the test data, timed.
pub const EVIDENCE: &str = "evidence.json";
/// Figures of what it was compared with.
pub const BASELINE: &str = "baseline.json";
/// Budgets against figures.
pub const REPORT: &str = "report.json";
/// The release spec in the payload.
pub const SPEC: &str = "budgets/plimsoll.toml";
