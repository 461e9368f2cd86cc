//! The HTML page of a check, a search or a release: what the documents leave out is looked up here, and nothing is measured.

use plimsoll_gate::render::{Anatomy, Page, html};
use plimsoll_onnx::Model;
use plimsoll_record::{Accepted, Check, Fault, NodeSensitivity, RankedCandidate, Ranking, Report, Trend};

use crate::{failure::Failure, history::History, project::Project, searching::Searched, verbs::inspect};

/// What nodes cost, of a model and of the one that it is compared with.
pub(crate) fn anatomy(name: &str, model: &Model, baseline: Option<&Model>) -> Result<Anatomy, Failure> {
    Ok(Anatomy {
        model: Some(inspect::at_batch(name, model, 1)?),
        baseline: baseline.map(|b| inspect::at_batch(name, b, 1)).transpose()?,
        sensitivity: vec![],
    })
}

/// The page of a search: the winner as it was judged on the test data, else the best candidate by the figures that it was chosen by.
pub(crate) fn of_search(project: &Project, searched: &Searched) -> Result<String, Failure> {
    let ranking = &searched.ranking;
    let Some((best, model)) = searched.best() else {
        let fault = Fault {
            target: project.spec.name.value.clone(),
            message: "every recipe was refused".into(),
            help: "the table of candidates says why".into(),
            ..Fault::default()
        };
        let check = Check::new(None, vec![], vec![fault], vec![]);
        return Ok(html(&Page { check: &check, anatomies: &[], ranking: Some(ranking) }));
    };
    let report = match ranking.judged.iter().find(|j| j.recipe == best.recipe.name) {
        Some(judged) => {
            let mut report = judged.report.clone();
            report.remarks.push(
                "the test data were touched by the winner and the runner-up alone, and nothing was chosen by them"
                    .into(),
            );
            report
        }
        None => {
            let mut report = project.report_of(best)?;
            let remark = "these are figures of the search, on the validation data: the test data are untouched";
            report.remarks.push(remark.into());
            report
        }
    };
    of_candidate(project, ranking, &searched.nodes, model, report)
}

/// The page of a release: the winner as it was judged on the test data, and the course of the accepted baselines.
pub(crate) fn of_release(
    project: &Project,
    ranking: &Ranking,
    nodes: &[NodeSensitivity],
    (winner, model): (&RankedCandidate, &Model),
    report: &Report,
) -> Result<String, Failure> {
    let history = History::beside(&project.spec)?;
    let accepted: Vec<&Accepted> = history.of(&project.spec.name.value).collect();
    let figures = winner.figures.iter().filter(|f| f.executor == "static");
    let trend = figures.filter_map(|f| Trend::of(f, &accepted)).collect();
    of_candidate(project, ranking, nodes, model, Report { trend, ..report.clone() })
}

fn of_candidate(
    project: &Project,
    ranking: &Ranking,
    nodes: &[NodeSensitivity],
    model: &Model,
    report: Report,
) -> Result<String, Failure> {
    let sensitivity = nodes.to_vec();
    let anatomy = Anatomy { sensitivity, ..anatomy(&report.model, model, Some(&project.model))? };
    let check = Check::new(None, vec![report], vec![], vec![]);
    Ok(html(&Page { check: &check, anatomies: &[anatomy], ranking: Some(ranking) }))
}
