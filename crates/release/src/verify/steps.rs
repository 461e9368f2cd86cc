//! The list of steps in the making.

use plimsoll_record::{Verdict, Verification, VerifyStep};

/// Steps so far. After one that failed, the others are not taken.
#[derive(Default)]
pub(super) struct Steps {
    steps: Vec<VerifyStep>,
    prefix: String,
    failed: Option<String>,
}

impl Steps {
    /// Steps about one of several things are named after it.
    pub(super) fn about(&mut self, what: impl Into<String>) {
        self.prefix = what.into();
    }

    /// Takes a step: what it found and a detail, or what did not hold.
    pub(super) fn take<T>(&mut self, name: &str, step: impl FnOnce() -> Result<(T, String), String>) -> Option<T> {
        let name = if self.prefix.is_empty() { name.to_owned() } else { format!("{name} ({})", self.prefix) };
        if let Some(failed) = &self.failed {
            let outcome = Verdict::Skipped(format!("`{failed}` did not hold"));
            self.steps.push(VerifyStep { name, outcome, detail: String::new() });
            return None;
        }
        match step() {
            Ok((found, detail)) => {
                self.steps.push(VerifyStep { name, outcome: Verdict::Pass, detail });
                Some(found)
            }
            Err(detail) => {
                self.failed = Some(name.clone());
                self.steps.push(VerifyStep { name, outcome: Verdict::Fail, detail });
                None
            }
        }
    }

    /// A step that is not taken, and why.
    pub(super) fn skip(&mut self, name: &str, reason: impl Into<String>) {
        let reason = self.failed.as_ref().map_or_else(|| reason.into(), |failed| format!("`{failed}` did not hold"));
        let outcome = Verdict::Skipped(reason);
        self.steps.push(VerifyStep { name: name.into(), outcome, detail: String::new() });
    }

    pub(super) fn finish(self) -> Verification {
        Verification::new(self.steps)
    }
}
