//! The HTML page of a check, a search or a release: what the documents leave out is looked up here, and nothing is measured.

use plimsoll_gate::render::{Anatomy, Page, html};
use plimsoll_onnx::Model;
use plimsoll_optimize::recipe;
use plimsoll_record::{Accepted, Check, Fault, NodeSensitivity, RankedCandidate, Ranking, Recipe, Report, Trend};

use crate::{
    failure::Failure,
    history::History,
    project::Project,
    ui,
    verbs::{inspect, quantized},
    world::World,
};

/// What nodes cost, of a model and of the one that it is compared with.
pub(crate) fn anatomy(name: &str, model: &Model, baseline: Option<&Model>) -> Result<Anatomy, Failure> {
    Ok(Anatomy {
        model: Some(inspect::at_batch(name, model, 1)?),
        baseline: baseline.map(|b| inspect::at_batch(name, b, 1)).transpose()?,
        sensitivity: vec![],
    })
}

/// The page of a search: its best candidate, by the figures that it was chosen by.
pub(crate) fn of_search(
    world: &World,
    project: &Project,
    best: Option<(&RankedCandidate, &Model)>,
    ranking: &Ranking,
) -> Result<String, Failure> {
    let Some(best) = best else {
        let fault = Fault {
            target: project.spec.name.value.clone(),
            message: "every recipe was refused".into(),
            help: "the table of candidates says why".into(),
            ..Fault::default()
        };
        let check = Check::new(None, vec![], vec![fault], vec![]);
        return Ok(html(&Page { check: &check, anatomies: &[], ranking: Some(ranking) }));
    };
    let mut report = project.report_of(best.0)?;
    report.remarks.push("these are figures of the search, on the validation data: the test data are untouched".into());
    of_candidate(world, project, best, report, ranking)
}

/// The page of a release: the winner as it was judged on the test data, and the course of the accepted baselines.
pub(crate) fn of_release(
    world: &World,
    project: &Project,
    winner: (&RankedCandidate, &Model),
    report: &Report,
    ranking: &Ranking,
) -> Result<String, Failure> {
    let history = History::beside(&project.spec)?;
    let accepted: Vec<&Accepted> = history.of(&project.spec.name.value).collect();
    let figures = winner.0.figures.iter().filter(|f| f.executor == "static");
    let trend = figures.filter_map(|f| Trend::of(f, &accepted)).collect();
    of_candidate(world, project, winner, Report { trend, ..report.clone() }, ranking)
}

fn of_candidate(
    world: &World,
    project: &Project,
    (candidate, model): (&RankedCandidate, &Model),
    report: Report,
    ranking: &Ranking,
) -> Result<String, Failure> {
    let sensitivity = sensitivity(world, project, &candidate.recipe).unwrap_or_else(|failure| {
        // A page without the ranking is better than none.
        ui::say(&format!("note: the report has no ranking of nodes: {}", failure.message()));
        vec![]
    });
    let anatomy = Anatomy { sensitivity, ..anatomy(&report.model, model, Some(&project.model))? };
    let check = Check::new(None, vec![report], vec![], vec![]);
    Ok(html(&Page { check: &check, anatomies: &[anatomy], ranking: Some(ranking) }))
}

/// What quantizing each node does, where the recipe quantizes and there are samples to see it on.
fn sensitivity(world: &World, project: &Project, recipe: &Recipe) -> Result<Vec<NodeSensitivity>, Failure> {
    let Some(data) = &project.calibration else { return Ok(vec![]) };
    match recipe::before_quantization(recipe, &project.model, &world.context(Some(data))?)? {
        Some((simple, options)) => quantized::sensitivity(world, &simple, data, &options),
        None => Ok(vec![]),
    }
}
