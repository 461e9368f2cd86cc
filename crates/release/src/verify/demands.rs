//! Demands of whoever takes a release, beyond that it verifies: a gate that was passed, a commit, a signer, coverage.

use plimsoll_record::{ReleaseRecord, Report, Row, Verdict};

use crate::attest::{Attested, PROVENANCE};

/// One thing that must be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rule {
    /// The release has this name.
    Name(String),
    /// It is not marked `trial`.
    NoTrial,
    /// One of these keys has signed it, by id.
    Signers(Vec<String>),
    /// It was built from this git commit, whole or its first digits.
    Commit(String),
    /// The recipe began with a file of this SHA-256.
    SourceModel(String),
    /// The gate of this spec or profile was passed.
    Gate(String),
    /// A gate was passed by a spec or profile whose text has this SHA-256.
    Policy(String),
    /// No budget was let through by a waiver.
    NoWaivers,
    /// Budgets of this metric were judged, and all of them were passed.
    Budget(String),
    /// Figures on samples were taken on so many at least.
    Samples(u64),
    /// There is an attestation of this type.
    Attestation(String),
}

/// A rule, and where it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Demand {
    /// The rule.
    pub rule: Rule,
    /// Such as `policy.toml:12`.
    pub place: String,
}

/// What a release shows.
pub(super) struct Shown<'s> {
    pub(super) signer: &'s str,
    pub(super) record: &'s ReleaseRecord,
    pub(super) report: &'s Report,
    pub(super) attested: &'s [Attested],
}

impl Demand {
    /// What is asked, for the list of steps.
    pub(super) fn title(&self) -> String {
        let what = match &self.rule {
            Rule::Name(_) => "the name",
            Rule::NoTrial => "no trial",
            Rule::Signers(_) => "the signer",
            Rule::Commit(_) => "the commit",
            Rule::SourceModel(_) => "the source model",
            Rule::Gate(gate) => return format!("demand: the gate `{gate}`"),
            Rule::Policy(_) => "the gate's policy",
            Rule::NoWaivers => "no waivers",
            Rule::Budget(metric) => return format!("demand: coverage of {metric}"),
            Rule::Samples(_) => "samples",
            Rule::Attestation(_) => "attestation",
        };
        format!("demand: {what}")
    }

    /// What was found; or what was not, and where it is demanded.
    pub(super) fn check(&self, shown: &Shown<'_>) -> Result<((), String), String> {
        match self.found(shown) {
            Ok(found) => Ok(((), found)),
            Err(reason) => Err(format!("{reason} (demanded in {})", self.place)),
        }
    }

    fn found(&self, shown: &Shown<'_>) -> Result<String, String> {
        let Shown { signer, record, report, attested } = shown;
        match &self.rule {
            Rule::Name(name) if *name == record.name => Ok(name.clone()),
            Rule::Name(name) => Err(format!("it is `{}`, not `{name}`", record.name)),
            Rule::NoTrial if record.trial => Err("it is marked `trial`: anybody can have signed it".into()),
            Rule::NoTrial => Ok("it is none".into()),
            Rule::Signers(keys) if keys.iter().any(|k| k == signer) => Ok(format!("signed by {signer}")),
            Rule::Signers(keys) => Err(format!("it is signed by {signer}, which is none of the {} keys", keys.len())),
            Rule::Commit(wanted) => made_from(attested, "gitCommit", wanted),
            Rule::SourceModel(wanted) => made_from(attested, "sha256", wanted),
            Rule::Gate(name) => match attested.iter().find(|a| a.gate() == Some(name)) {
                Some(summary) if summary.passed() => Ok("PASSED".into()),
                Some(_) => Err(format!("the gate `{name}` was not passed")),
                None => {
                    let there: Vec<&str> = attested.iter().filter_map(Attested::gate).collect();
                    Err(format!("no gate `{name}` judged it; there are {}", listed(&there)))
                }
            },
            Rule::Policy(digest) => {
                let summary = attested.iter().find(|a| a.passed() && a.policies().contains(&digest.as_str()));
                let gate = summary.and_then(Attested::gate).ok_or("it passed no gate by a file of that digest")?;
                Ok(format!("`{gate}` is defined by it, and PASSED"))
            }
            Rule::NoWaivers => match attested.iter().flat_map(Attested::waived).next() {
                None => Ok("there is none".into()),
                Some(budget) => Err(format!("a waiver let `{budget}` through")),
            },
            Rule::Budget(metric) => covered(report, metric),
            Rule::Samples(least) => sampled(report, *least),
            Rule::Attestation(kind) if attested.iter().any(|a| a.kind == *kind) => Ok(kind.clone()),
            Rule::Attestation(kind) => Err(format!("there is none of the type {kind}")),
        }
    }
}

fn listed(names: &[&str]) -> String {
    if names.is_empty() { "none".into() } else { names.join(", ") }
}

fn made_from(attested: &[Attested], algorithm: &str, wanted: &str) -> Result<String, String> {
    let made: Vec<&str> =
        attested.iter().filter(|a| a.kind == PROVENANCE).flat_map(|a| a.made_from(algorithm)).collect();
    match made.iter().find(|d| d.starts_with(wanted)) {
        Some(digest) => Ok((*digest).to_owned()),
        None => Err(format!("its provenance names {}, not {wanted}", listed(&made))),
    }
}

fn covered(report: &Report, metric: &str) -> Result<String, String> {
    let rows: Vec<&Row> = report.rows.iter().filter(|r| r.metric == metric).collect();
    if rows.is_empty() {
        return Err(format!("no budget of {metric} was judged"));
    }
    match rows.iter().find(|r| r.verdict != Verdict::Pass) {
        Some(row) => Err(format!("{} of `{}` is `{}`: {}", metric, row.profile, row.verdict, row.found)),
        None => Ok(rows.iter().map(|r| format!("{} by `{}`", r.found, r.profile)).collect::<Vec<_>>().join(", ")),
    }
}

fn sampled(report: &Report, least: u64) -> Result<String, String> {
    let figures = || report.rows.iter().filter_map(|r| r.figure.as_ref()).filter(|f| !f.data_digest.is_empty());
    let fewest = figures().filter(|f| f.executor != "static").min_by_key(|f| f.n);
    match fewest {
        None => Err("no figure was taken on samples".into()),
        Some(f) if f.n < least => Err(format!("{} was taken on {} samples, {least} are demanded", f.metric, f.n)),
        Some(f) => Ok(format!("the fewest are {}, of {}", f.n, f.metric)),
    }
}
