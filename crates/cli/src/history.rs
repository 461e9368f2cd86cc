//! Accepted baselines, in `history.jsonl` beside a spec.

use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
};

use plimsoll_profile::Spec;
use plimsoll_record::{Accepted, Figure, Report};
use plimsoll_trust::atomic;

use crate::{failure::Failure, manual::Code, world};

/// The history beside a spec.
pub(crate) struct History {
    path: PathBuf,
    text: String,
    entries: Vec<Accepted>,
}

impl History {
    /// Reads it; one that is not there is empty.
    pub(crate) fn beside(spec: &Spec) -> Result<Self, Failure> {
        let path = spec.source.folder().join("history.jsonl");
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == ErrorKind::NotFound => String::new(),
            Err(e) => return Err(Failure::not_read(&path, &e)),
        };
        let entries = Accepted::read(&text).map_err(|(line, why)| {
            let message = format!("{}:{line}: this is no accepted baseline: {why}", path.display());
            let help = "restore the line from git, or remove it; only `check --accept` writes this file";
            Failure::new(Code::BadConfig, message).help(help).place(&path, line as u64, 0)
        })?;
        Ok(Self { path, text, entries })
    }

    /// What was accepted of a release, the oldest first.
    pub(crate) fn of<'h>(&'h self, release: &'h str) -> impl DoubleEndedIterator<Item = &'h Accepted> {
        self.entries.iter().filter(move |a| a.release == release)
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Adds a line.
    pub(crate) fn add(&mut self, accepted: Accepted) -> Result<(), Failure> {
        let line = serde_json::to_string(&accepted)
            .map_err(|e| Failure::new(Code::Internal, format!("failed to write JSON: {e}")))?;
        if !self.text.is_empty() && !self.text.ends_with('\n') {
            self.text.push('\n');
        }
        self.text.push_str(&line);
        self.text.push('\n');
        atomic::write(&self.path, self.text.as_bytes()).map_err(|e| Failure::not_written(&self.path, &e))?;
        self.entries.push(accepted);
        Ok(())
    }
}

/// What is written of a report that is accepted today.
pub(crate) fn accepted(release: &str, reason: &str, report: &Report, figures: &[Figure]) -> Accepted {
    Accepted {
        schema: "plimsoll.accepted/1".into(),
        day: world::today().to_string(),
        reason: reason.into(),
        release: release.into(),
        model: report.model.clone(),
        model_digest: report.model_digest.clone(),
        verdict: report.verdict.clone(),
        figures: figures.to_vec(),
    }
}
