//! The chain of decisions: one signed file each, which names the one before by its digest.
//!
//! The payload is an in-toto statement with a SLSA verification summary of the release, and the decision in it. Its bytes depend on the
//! evidence alone, not on who signs, so that the same evidence and policy give the same payload again.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use plimsoll_record::{Decision, RolloutVerdict};
use plimsoll_trust::{
    KeySource, PublicKey, atomic,
    dsse::{Envelope, IN_TOTO},
    read_bounded, sha256_hex, to_sorted_json,
};
use serde::Deserialize;
use serde_json::json;

use crate::error::RolloutError;

const STATEMENT: &str = "https://in-toto.io/Statement/v1";
const SUMMARY: &str = "https://slsa.dev/verification_summary/v1";
/// No decision is longer.
const LIMIT: u64 = 4 << 20;

/// The payload of a decision.
pub fn statement(decision: &Decision) -> Result<Vec<u8>, RolloutError> {
    let passed = decision.verdict == RolloutVerdict::Advance;
    let text = json!({
        "_type": STATEMENT,
        "subject": [{"name": "payload", "digest": {"sha256": decision.rollout.release}}],
        "predicateType": SUMMARY,
        "predicate": {
            "verifier": {"id": "urn:plimsoll:rollout"},
            "timeVerified": format!("{}T00:00:00Z", decision.day),
            "resourceUri": format!("urn:plimsoll:release:{}:{}", decision.rollout.name, decision.rollout.version),
            "policy": {"uri": "urn:plimsoll:rollout-policy", "digest": {"sha256": decision.policy_sha256}},
            "verificationResult": if passed { "PASSED" } else { "FAILED" },
            "verifiedLevels": [],
            "decision": decision,
        },
    });
    to_sorted_json(&text).map_err(|e| RolloutError::Order(format!("a decision cannot be written: {e}")))
}

#[derive(Deserialize)]
struct Statement {
    subject: Vec<Subject>,
    #[serde(rename = "predicateType")]
    predicate_type: String,
    predicate: Predicate,
}

#[derive(Deserialize)]
struct Subject {
    digest: std::collections::BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Predicate {
    decision: Decision,
}

/// A decision with the digest that the next one names.
#[derive(Debug, Clone, PartialEq)]
pub struct Link {
    /// The decision.
    pub decision: Decision,
    /// Its payload.
    pub payload: Vec<u8>,
    /// SHA-256 of its payload.
    pub sha256: String,
}

/// Decisions of a rollout, in a folder.
#[derive(Debug)]
pub struct Chain {
    folder: PathBuf,
    links: Vec<Link>,
}

impl Chain {
    /// Reads a chain; an empty one where there is no folder. Each decision must be signed by one of the keys.
    pub fn read(folder: &Path, keys: &[&PublicKey]) -> Result<Self, RolloutError> {
        let mut chain = Self { folder: folder.to_owned(), links: Vec::new() };
        loop {
            let path = chain.place();
            if !path.exists() {
                break;
            }
            let link = chain.link(&read_bounded(&path, LIMIT)?, keys)?;
            chain.links.push(link);
        }
        // What lies beyond a gap was taken out of its row.
        let files = fs::read_dir(folder).map_or(0, |entries| {
            entries.flatten().filter(|e| e.file_name().to_string_lossy().ends_with(".dsse.json")).count()
        });
        if files > chain.links.len() {
            return Err(chain.broken("it is missing, and later ones are there".into()));
        }
        Ok(chain)
    }

    fn link(&self, bytes: &[u8], keys: &[&PublicKey]) -> Result<Link, RolloutError> {
        let broken = |reason: String| self.broken(reason);
        let payload =
            Envelope::from_json(bytes).and_then(|e| e.verify(IN_TOTO, keys, 1)).map_err(|e| broken(e.to_string()))?;
        let statement: Statement =
            serde_json::from_slice(&payload).map_err(|e| broken(format!("it is no decision: {e}")))?;
        let decision = statement.predicate.decision;
        let about = statement.subject.first().and_then(|s| s.digest.get("sha256"));
        if statement.predicate_type != SUMMARY || decision.schema != Decision::SCHEMA {
            return Err(broken("it is no decision of this version".into()));
        }
        if about != Some(&decision.rollout.release) {
            return Err(broken("it is about another release than it says".into()));
        }
        let before = self.links.last().map(|l| l.sha256.as_str());
        if decision.sequence != self.next() || decision.previous_decision.as_deref() != before {
            return Err(broken("it does not follow the one before".into()));
        }
        let sha256 = sha256_hex(&payload);
        Ok(Link { decision, payload, sha256 })
    }

    fn broken(&self, reason: String) -> RolloutError {
        RolloutError::Chain { path: self.folder.clone(), sequence: self.next(), reason }
    }

    /// The decisions.
    pub fn links(&self) -> &[Link] {
        &self.links
    }

    /// The last one.
    pub fn last(&self) -> Option<&Link> {
        self.links.last()
    }

    /// Number of the next one.
    pub fn next(&self) -> u64 {
        self.links.len() as u64 + 1
    }

    fn place(&self) -> PathBuf {
        self.folder.join(format!("{:06}.dsse.json", self.next()))
    }

    /// Signs a decision and puts it at the end; refused where somebody else did so meanwhile.
    pub fn append(&mut self, decision: Decision, keys: &[&dyn KeySource]) -> Result<&Link, RolloutError> {
        let payload = statement(&decision)?;
        let envelope = Envelope::sign(IN_TOTO, &payload, keys)?;
        let bytes = to_sorted_json(&envelope).map_err(|e| RolloutError::Order(e.to_string()))?;
        let place = self.place();
        let written = || {
            atomic::create_folders(&self.folder)?;
            let mut file = tempfile::Builder::new().prefix(atomic::TEMPORARY).tempfile_in(&self.folder)?;
            file.write_all(&bytes)?;
            file.as_file().sync_all()?;
            file.persist_noclobber(&place).map_err(|e| e.error)?;
            atomic::sync_folder(&self.folder)
        };
        written().map_err(RolloutError::io("write", &place))?;
        let sha256 = sha256_hex(&payload);
        self.links.push(Link { decision, payload, sha256 });
        self.links.last().ok_or_else(|| RolloutError::Order("the chain is empty".into()))
    }
}
