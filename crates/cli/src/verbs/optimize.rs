//! Tries recipes under the spec's budgets and ranks what they make.

use std::{fs, path::Path};

use plimsoll_optimize::{Candidate, ranking, winner};
use plimsoll_record::Ranking;

use crate::{
    args,
    exit::Exit,
    failure::Failure,
    page,
    project::Project,
    ui,
    world::{self, World},
};

pub(crate) fn run(world: &World, args: &args::Optimize) -> Result<Exit, Failure> {
    world.refuse_debug_build()?;
    let project = Project::read(&args.spec)?;
    fs::create_dir_all(&args.output).map_err(|e| Failure::not_written(&args.output, &e))?;
    world::check_output(&args.output.join("ranking.json"), &[])?;
    let candidates = project.search(world, args.budget)?;
    let ranking = ranking(&candidates, project.spec.objective);
    let best = candidates.iter().find_map(|c| Some((&c.entry, c.model.as_ref()?)));
    let page = page::of_search(world, &project, best, &ranking)?;
    write(&args.output, &candidates, &ranking, &page)?;
    world.print(&ranking, || text(&ranking, &args.output))?;
    Ok(if ranking.winner.is_some() { Exit::Pass } else { Exit::GateFailed })
}

fn write(folder: &Path, candidates: &[Candidate], ranking: &Ranking, page: &str) -> Result<(), Failure> {
    for candidate in candidates {
        if let Some(model) = &candidate.model {
            model.write(&folder.join(format!("{}.onnx", candidate.entry.recipe.name)))?;
        }
    }
    if let Some(model) = winner(candidates).and_then(|c| c.model.as_ref()) {
        model.write(&folder.join("winner.onnx"))?;
    }
    world::write(&folder.join("report.html"), page.as_bytes())?;
    // Last: whoever finds a ranking finds its models.
    world::write(&folder.join("ranking.json"), world::json(ranking)?.as_bytes())
}

fn text(ranking: &Ranking, folder: &Path) -> String {
    let end = match &ranking.winner {
        Some(name) => format!("winner  {name} → {}\n", folder.join("winner.onnx").display()),
        None => "no candidate keeps every budget\n".to_owned(),
    };
    format!("{}\n{end}report  {}\n", table(ranking), folder.join("report.html").display())
}

/// The candidates in their order.
pub(crate) fn table(ranking: &Ranking) -> String {
    let row = |c: &plimsoll_record::RankedCandidate| {
        let show = |metric: &str| {
            let figure = c.figures.iter().find(|f| f.metric == metric);
            figure.map_or("–".to_owned(), |f| ui::quantity(f.value, &f.unit))
        };
        let note = c.refused.clone().unwrap_or_default();
        let metrics = ["artifact-size", "macs", "latency.ratio", "accuracy-drop", "agreement"];
        let mut row = vec![c.recipe.name.clone(), c.verdict.to_string()];
        row.extend(metrics.map(show));
        row.push(note);
        row
    };
    let header = ["candidate", "verdict", "size", "MACs", "time ÷ original", "accuracy drop", "agreement", "note"];
    ui::table(&header, ranking.candidates.iter().map(row).collect())
}
