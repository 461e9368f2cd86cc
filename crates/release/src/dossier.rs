//! A release as those want to read it who keep records of changes to software (IEC 62304) or work under a predetermined change
//! control plan: what changed why, what traces to what, which gates were passed, what is known and shipped, what it is made of.
//! It supports such records; it claims nothing of compliance. The same release gives the same bytes.

use std::{fmt::Write as _, fs, path::Path};

use plimsoll_record::{ChangeTrace, Figure, ReleaseChange, ReleaseRecord, Report, Row, Verdict};
use plimsoll_trust::{PublicKey, oms::FolderManifest, read_bounded};
use serde_json::Value;

use crate::{
    ATTESTATIONS, PAYLOAD, PUBLIC_KEY, ReleaseError,
    attest::{self, Attested},
    bom,
    reproduce::recorded,
    verify::{VerifyOptions, verify_release},
};

/// A package that the tool was built with.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Package {
    /// Name.
    pub name: String,
    /// Version.
    pub version: String,
    /// SHA-256 of its source; empty for the tool's own parts.
    pub checksum: String,
}

/// The dossier of a release folder, in Markdown. The folder must verify.
pub fn dossier(folder: &Path, options: &VerifyOptions, packages: &[Package]) -> Result<String, ReleaseError> {
    if let Some(step) = verify_release(folder, options)?.failure() {
        let what = format!("the release in {} ({})", folder.display(), step.name);
        return Err(ReleaseError::Refused { what, reason: step.detail.clone() });
    }
    let read = recorded(folder)?;
    let digest = FolderManifest::of_folder(&folder.join(PAYLOAD))?.root_digest();
    let key = match &options.public_key {
        Some(key) => key.clone(),
        None => PublicKey::read(&folder.join(PUBLIC_KEY))?,
    };
    let subject = attest::Subject { release_digest: &digest, model_sha256: &read.record.model.sha256 };
    let attested = attested(folder, &subject, &key)?;
    let bill = read_bounded(&folder.join(PAYLOAD).join(bom::FILE), attest::LIMIT)?;
    let bill: Value = serde_json::from_slice(&bill)
        .map_err(|e| ReleaseError::Refused { what: bom::FILE.into(), reason: e.to_string() })?;

    let mut text = format!("# Dossier of {} {}\n\n", cell(&read.record.name), cell(&read.record.version));
    text += "Made from the signed release, for the records of whoever answers for the change. It supports a change-control process; \
             whether that process meets a standard or a regulation is not for this document to say.\n";
    release(&mut text, &read.record, &digest, &key.id(), &attested);
    change(&mut text, read.record.change.as_ref());
    if let Some(change) = &read.record.change {
        trace(&mut text, change, &read.report);
    }
    gates(&mut text, &read.report, &attested);
    anomalies(&mut text, read.record.change.as_ref(), &read.report, &read.figures.withheld);
    components(&mut text, &bill, packages);
    Ok(text)
}

fn attested(folder: &Path, subject: &attest::Subject<'_>, key: &PublicKey) -> Result<Vec<Attested>, ReleaseError> {
    let place = folder.join(ATTESTATIONS);
    let io = |source| ReleaseError::Io { path: place.clone(), source };
    let mut paths = Vec::new();
    for entry in fs::read_dir(&place).map_err(io)? {
        paths.push(entry.map_err(io)?.path());
    }
    paths.sort();
    let check = |path: &std::path::PathBuf| {
        let refused = |reason| ReleaseError::Refused { what: path.display().to_string(), reason };
        attest::check(&read_bounded(path, attest::LIMIT)?, subject, key).map_err(refused)
    };
    paths.iter().map(check).collect()
}

/// Text from outside, as a cell of a table.
fn cell(text: &str) -> String {
    let mut cell = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '|' | '\\' | '`' | '<' | '>' | '*' | '_' | '[' | ']' => cell.extend(['\\', c]),
            c if c.is_control() => cell.push(' '),
            c => cell.push(c),
        }
    }
    cell
}

fn heading(text: &mut String, title: &str) {
    let _ = writeln!(text, "\n## {title}\n");
}

fn table(text: &mut String, header: &[&str], rows: &[Vec<String>]) {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    *text += &line(&header.iter().map(|h| (*h).to_owned()).collect::<Vec<_>>());
    *text += &line(&header.iter().map(|_| "---".to_owned()).collect::<Vec<_>>());
    rows.iter().for_each(|row| *text += &line(row));
}

fn or_none(text: Option<&str>) -> String {
    text.map_or("none".into(), cell)
}

fn release(text: &mut String, record: &ReleaseRecord, digest: &str, signer: &str, attested: &[Attested]) {
    heading(text, "Release");
    let commit = attested.iter().filter(|a| a.kind == attest::PROVENANCE).flat_map(|a| a.made_from("gitCommit")).next();
    let rows = [
        ("name", cell(&record.name)),
        ("version", cell(&record.version)),
        ("release digest", digest.into()),
        ("model file, SHA-256", record.model.sha256.clone()),
        ("model digest", cell(&record.model.model_digest)),
        ("recipe", cell(&record.recipe)),
        ("replaces", or_none(record.parent.as_deref())),
        ("falls back to", or_none(record.rollback.as_deref())),
        ("oldest client", cell(&record.minimum_client)),
        ("licence", or_none(record.licence.as_deref())),
        ("git commit", commit.map_or("not stated: the work tree was not clean, or is none".into(), cell)),
        ("signed by", signer.into()),
        ("trial", if record.trial { "yes: it is not for production" } else { "no" }.into()),
    ];
    let rows: Vec<Vec<String>> = rows.into_iter().map(|(name, value)| vec![name.into(), value]).collect();
    table(text, &["", ""], &rows);
}

fn change(text: &mut String, change: Option<&ReleaseChange>) {
    heading(text, "Change");
    let Some(change) = change else {
        *text += "The release spec states no change: it has no table `[change]`.\n";
        return;
    };
    let ids = |ids: &[String]| if ids.is_empty() { "none".into() } else { cell(&ids.join(", ")) };
    let plan = if change.in_plan { "in the change control plan" } else { "outside of the change control plan" };
    let rows = [
        ("ticket", cell(&change.ticket)),
        ("plan", plan.into()),
        ("requirements", ids(&change.requirements)),
        ("risks", ids(&change.risks)),
    ];
    let rows: Vec<Vec<String>> = rows.into_iter().map(|(name, value)| vec![name.into(), value]).collect();
    table(text, &["", ""], &rows);
}

fn trace(text: &mut String, change: &ReleaseChange, report: &Report) {
    heading(text, "Trace");
    let mut metrics: Vec<String> = Vec::new();
    for row in &report.rows {
        if !metrics.contains(&row.metric) {
            metrics.push(row.metric.clone());
        }
    }
    let mut traced: Vec<&str> = Vec::new();
    let mut rows = Vec::new();
    for requirement in &change.requirements {
        let whole =
            ChangeTrace { requirement: requirement.clone(), risks: change.risks.clone(), budgets: metrics.clone() };
        let named: Vec<&ChangeTrace> = change.trace.iter().filter(|t| t.requirement == *requirement).collect();
        for trace in if named.is_empty() { vec![&whole] } else { named } {
            let risks = if trace.risks.is_empty() { "none".into() } else { cell(&trace.risks.join(", ")) };
            if trace.budgets.is_empty() {
                rows.push(vec![cell(requirement), risks.clone(), "NONE".into(), "NOT JUDGED".into(), "none".into()]);
            }
            for metric in &trace.budgets {
                let judged: Vec<&Row> = report.rows.iter().filter(|r| r.metric == *metric).collect();
                if judged.is_empty() {
                    let gate = format!("{}: no budget", cell(metric));
                    rows.push(vec![cell(requirement), risks.clone(), gate, "NOT JUDGED".into(), "none".into()]);
                }
                for row in judged {
                    let gate = format!("{}: {} {}", cell(&row.profile), cell(metric), cell(&row.limit));
                    rows.push(vec![cell(requirement), risks.clone(), gate, result(row), evidence(row)]);
                }
            }
        }
        let all = || change.risks.iter().map(String::as_str);
        match change.trace.iter().any(|t| t.requirement == *requirement) {
            true => traced.extend(change.trace.iter().flat_map(|t| t.risks.iter().map(String::as_str))),
            false => traced.extend(all()),
        }
    }
    table(text, &["requirement", "risk", "gate", "result", "evidence"], &rows);
    let open: Vec<String> = change.risks.iter().filter(|r| !traced.contains(&r.as_str())).map(|r| cell(r)).collect();
    if !open.is_empty() {
        let _ = writeln!(text, "\nNo requirement traces to these risks: {}.", open.join(", "));
    }
}

fn result(row: &Row) -> String {
    match (&row.verdict, row.is_waived()) {
        (Verdict::Skipped(reason), _) => format!("skipped: {}", cell(reason)),
        (verdict, true) => format!("{verdict}, waived"),
        (verdict, false) => verdict.to_string(),
    }
}

fn evidence(row: &Row) -> String {
    let Some(figure) = &row.figure else { return "no figure".into() };
    let mut text = format!("{} (`evidence.json`", cell(&row.found));
    if let Some([low, high]) = figure.interval {
        let _ = write!(text, ", {low} to {high} {}", cell(&figure.unit));
    }
    let _ = write!(text, "{})", taken(figure));
    text
}

fn taken(figure: &Figure) -> String {
    let mut text = format!(", n = {}, {} {}", figure.n, cell(&figure.executor), cell(&figure.executor_version));
    if let Some(digest) = figure.data_digest.get(..12) {
        let _ = write!(text, ", samples {digest}");
    }
    text
}

fn gates(text: &mut String, report: &Report, attested: &[Attested]) {
    heading(text, "Gates");
    let rows: Vec<Vec<String>> = attest::gates(report)
        .iter()
        .map(|gate| {
            let summary = attested.iter().find(|a| a.gate() == Some(gate));
            let result = if summary.is_some_and(Attested::passed) { "PASSED" } else { "FAILED" };
            let policies = summary.map(Attested::policies).unwrap_or_default().join(", ");
            let rows: Vec<&Row> = report.rows.iter().filter(|r| r.profile == *gate).collect();
            let passed = rows.iter().filter(|r| r.verdict == Verdict::Pass).count();
            let waived = rows.iter().filter(|r| r.is_waived()).count();
            vec![cell(gate), result.into(), format!("{passed} of {}", rows.len()), waived.to_string(), policies]
        })
        .collect();
    table(text, &["gate", "result", "budgets passed", "waived", "SHA-256 of its policy"], &rows);
}

fn anomalies(text: &mut String, change: Option<&ReleaseChange>, report: &Report, withheld: &[String]) {
    heading(text, "Known anomalies");
    let mut lines: Vec<String> = change.into_iter().flat_map(|c| &c.anomalies).map(|a| cell(a)).collect();
    for row in report.rows.iter().filter(|r| matches!(r.verdict, Verdict::Fail | Verdict::Inconclusive)) {
        let mut line = format!(
            "budget {} of {} ({}, level {}): {}, found {}",
            cell(&row.metric),
            cell(&row.profile),
            cell(&row.limit),
            cell(&row.level),
            row.verdict,
            cell(&row.found)
        );
        if let Some(waiver) = &row.waiver {
            let (by, until) = (cell(&waiver.signed_off_by), cell(&waiver.until));
            let _ = write!(line, "; waived by {by} until {until}: {}", cell(&waiver.reason));
        }
        lines.push(line);
    }
    lines.extend(withheld.iter().map(|w| format!("not measured: {}", cell(w))));
    lines.extend(report.remarks.iter().map(|r| cell(r)));
    if lines.is_empty() {
        *text += "None is stated in the release spec, and none shows in the report.\n";
    }
    lines.iter().for_each(|line| *text += &format!("- {line}\n"));
}

fn components(text: &mut String, bill: &Value, packages: &[Package]) {
    heading(text, "What the model is made of");
    let digest = |c: &Value| c.pointer("/hashes/0/content").and_then(Value::as_str).unwrap_or("none").to_owned();
    let name = |c: &Value| cell(c.get("name").and_then(Value::as_str).unwrap_or_default());
    let listed = |pointer: &str| bill.pointer(pointer).and_then(Value::as_array).into_iter().flatten();
    let models =
        listed("/metadata/component/pedigree/ancestors").map(|c| vec!["source model".into(), name(c), digest(c)]);
    let data = listed("/components").map(|c| {
        let role = c.get("bom-ref").and_then(Value::as_str).unwrap_or_default();
        vec![format!("{} samples", cell(role.trim_start_matches("data:"))), name(c), digest(c)]
    });
    table(text, &["", "file", "digest"], &models.chain(data).collect::<Vec<_>>());

    heading(text, "What made it");
    let _ = writeln!(
        text,
        "Plimsoll {}, of packages among these: all that its `Cargo.lock` resolves, tests and optional parts included.\n",
        env!("CARGO_PKG_VERSION")
    );
    let mut packages = packages.to_vec();
    packages.sort();
    let rows: Vec<Vec<String>> =
        packages.iter().map(|p| vec![cell(&p.name), cell(&p.version), cell(&p.checksum)]).collect();
    table(text, &["package", "version", "SHA-256"], &rows);
}
