//! The audit log of a repository: who changed what, when, and why; each line names the one before by its digest.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What was done, or refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AuditAction {
    /// A release entered the repository.
    Publish,
    /// A channel was put at a release that another channel is at.
    Promote,
    /// The share of a channel changed.
    Advance,
    /// A channel was paused.
    Pause,
    /// A channel was halted.
    Halt,
    /// A halt or pause was ended.
    Resume,
    /// A channel went back to its fallback.
    Rollback,
    /// A budget was waived in a release that was published.
    Waiver,
    /// A rule was set aside by somebody who may.
    Override,
    /// A key was put in the place of another.
    RotateKey,
    /// A key was taken away.
    RevokeKey,
    /// A change was asked for and refused.
    Refused,
    /// Lines before this one tell of a change that never took effect: its writer died.
    Recovered,
}

/// One line of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuditEntry {
    /// `plimsoll.audit/1`.
    pub schema: String,
    /// Its place in the log, from 0.
    pub index: u64,
    /// SHA-256 of the line before, without its newline; `null` for the first.
    pub previous: Option<String>,
    /// When, in UTC (RFC 3339).
    pub utc: String,
    /// Who, as they said; the keys are the proof.
    pub person: String,
    /// Ids of their keys that the repository lists.
    pub keys: Vec<String>,
    /// What was done.
    pub action: AuditAction,
    /// What it means, in words.
    pub meaning: String,
    /// Why, in the person's words; empty where they gave no reason.
    pub reason: String,
}

impl AuditEntry {
    /// The schema's name.
    pub const SCHEMA: &'static str = "plimsoll.audit/1";
}

/// `audit.json`, a target of the repository: up to where the log is vouched for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuditHead {
    /// `plimsoll.audit-head/1`.
    pub schema: String,
    /// Lines of the log.
    pub entries: u64,
    /// SHA-256 of the last line, without its newline.
    pub sha256: String,
}

impl AuditHead {
    /// The schema's name.
    pub const SCHEMA: &'static str = "plimsoll.audit-head/1";
}
