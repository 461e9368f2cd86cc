//! What a release records, and a payload out of that: the same figures in the same files, whether they were just taken or read.

use std::{collections::BTreeMap, fs, path::Path};

use plimsoll_dataset::Samples;
use plimsoll_gate::render;
use plimsoll_onnx::Model;
use plimsoll_optimize::Assessed;
use plimsoll_profile::{Change, Day};
use plimsoll_record::{
    ChangeTrace, Figures, NodeSensitivity, RankedCandidate, Ranking, ReleaseChange, Report, Sensitivities,
};
use plimsoll_release::{DatasetUse, Gate, Licence, ReleaseInput, SPEC, SourceModel};
use plimsoll_trust::sha256_hex;

use crate::{failure::Failure, git, page, project::Project, world};

pub(super) const RANKING: &str = "ranking.json";
pub(super) const SENSITIVITY: &str = "sensitivity.json";
const PAGE: &str = "report.html";

/// Everything about a release that was found out and not computed: what is kept, so that the rest can be computed again.
pub(super) struct Evidence {
    pub(super) figures: Figures,
    pub(super) baseline: Figures,
    pub(super) ranking: Ranking,
    pub(super) sensitivity: Sensitivities,
    /// What devices test themselves by: outputs differ in their last bits from machine to machine.
    pub(super) reference: BTreeMap<String, Vec<u8>>,
}

impl Evidence {
    /// What a search and a judgement found.
    pub(super) fn new(assessed: Assessed, ranking: &Ranking, nodes: &[NodeSensitivity]) -> Self {
        let Assessed { figures, baseline, withheld, endpoints, .. } = assessed;
        Self {
            figures: Figures { endpoints, ..Figures::new(figures, withheld) },
            baseline: Figures::new(baseline, vec![]),
            ranking: ranking.clone(),
            sensitivity: Sensitivities::new(nodes.to_vec()),
            reference: BTreeMap::new(),
        }
    }

    fn assessed(&self) -> Assessed {
        Assessed {
            figures: self.figures.figures.clone(),
            baseline: self.baseline.figures.clone(),
            withheld: self.figures.withheld.clone(),
            endpoints: self.figures.endpoints.clone(),
            ..Assessed::default()
        }
    }

    /// What the figures say of the budgets.
    pub(super) fn report(&self, project: &Project, model: &Model, today: Day) -> Report {
        project.report_on(&project.spec.name.value, model, &self.assessed(), today)
    }
}

/// What is decided about a release besides what it is made of.
pub(super) struct Standing {
    pub(super) version: String,
    pub(super) trial: bool,
    pub(super) parent: Option<String>,
    pub(super) seed: u64,
    pub(super) today: Day,
}

/// All that goes into a release.
pub(super) fn input(
    project: &Project,
    (best, model): (&RankedCandidate, &Model),
    evidence: &Evidence,
    report: &Report,
    standing: Standing,
) -> Result<ReleaseInput, Failure> {
    let spec = &project.spec;
    let read = |path: &Path| fs::read(path).map_err(|e| Failure::not_read(path, &e));
    let file = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let text = spec.license_file.as_ref().map(|f| read(&f.path)).transpose()?;
    let text = text.map(|t| String::from_utf8_lossy(&t).into_owned());
    let used = |(role, set): (&'static str, &dyn Samples)| -> Result<DatasetUse, Failure> {
        Ok(DatasetUse { role: role.into(), file: file(set.path()), digest: set.digest()?.to_string() })
    };
    let profiles = project.profiles.iter().flat_map(|p| p.source.files());
    let profiles = profiles.map(|f| (file(f.path()), f.text().as_bytes().to_vec()));
    let mut gates = vec![Gate { name: spec.name.value.clone(), files: vec![SPEC.into()] }];
    gates.extend(project.profiles.iter().map(|p| Gate {
        name: p.name.clone(),
        files: p.source.files().map(|f| format!("budgets/profiles/{}", file(f.path()))).collect(),
    }));
    let page = page::of_release(project, &evidence.ranking, &evidence.sensitivity.nodes, (best, model), report)?;
    let mut extra = evidence.reference.clone();
    extra.extend([
        (RANKING.to_owned(), world::json(&evidence.ranking)?.into_bytes()),
        (SENSITIVITY.to_owned(), world::json(&evidence.sensitivity)?.into_bytes()),
        (PAGE.to_owned(), page.into_bytes()),
    ]);
    Ok(ReleaseInput {
        name: spec.name.value.clone(),
        version: standing.version,
        trial: standing.trial,
        model: model.to_bytes()?,
        model_digest: model.digest().to_string(),
        source: SourceModel {
            file: file(&spec.model.path),
            sha256: sha256_hex(&read(&spec.model.path)?),
            model_digest: project.model.digest().to_string(),
        },
        recipe: best.recipe.clone(),
        figures: evidence.figures.clone(),
        baseline: evidence.baseline.clone(),
        report: report.clone(),
        report_markdown: render::markdown(report),
        spec: spec.source.text().as_bytes().to_vec(),
        profiles: profiles.collect(),
        gates,
        commit: git::commit_of(spec.source.folder(), &project.files()),
        seed: standing.seed,
        judged_on: (!spec.waivers.is_empty()).then(|| standing.today.to_string()),
        change: spec.change.as_ref().map(change),
        contract: project.contract.as_ref().map(|c| c.source.text().as_bytes().to_vec()),
        labels: spec.labels.clone(),
        datasets: project.sets().into_iter().map(used).collect::<Result<_, _>>()?,
        licence: spec.license.clone().map(|expression| Licence { expression, text }),
        parent: standing.parent,
        minimum_client: env!("CARGO_PKG_VERSION").into(),
        extra,
    })
}

fn change(change: &Change) -> ReleaseChange {
    ReleaseChange {
        ticket: change.ticket.clone(),
        in_plan: change.in_plan,
        requirements: change.requirements.clone(),
        risks: change.risks.clone(),
        anomalies: change.anomalies.clone(),
        trace: change
            .trace
            .iter()
            .map(|t| ChangeTrace {
                requirement: t.requirement.clone(),
                risks: t.risks.clone(),
                budgets: t.budgets.clone(),
            })
            .collect(),
    }
}
