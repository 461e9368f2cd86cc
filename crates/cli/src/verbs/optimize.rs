//! Searches for the lightest model that keeps its budgets, and writes what was found.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use plimsoll_optimize::{Shard, recipe};
use plimsoll_record::{Choice, RankedCandidate, Ranking, Recipe, Verdict};
use plimsoll_transform::Context;

use crate::{
    args,
    exit::Exit,
    failure::Failure,
    manual::Code,
    page,
    project::Project,
    searching::{Request, Searched},
    ui,
    world::{self, World},
};

pub(crate) fn run(world: &World, args: &args::Optimize) -> Result<Exit, Failure> {
    world.refuse_debug_build()?;
    let project = Project::read(&args.spec)?;
    let folder = &args.output;
    fs::create_dir_all(folder).map_err(|e| Failure::not_written(folder, &e))?;
    world::check_output(&folder.join("ranking.json"), &[])?;
    if let Some(file) = &args.recipe {
        return carry_out(world, &project, file, folder);
    }
    let recorded = folder.join("search.json");
    let request = Request {
        seconds: args.budget,
        cache: folder.join("cache"),
        shard: args.shard.map(|(k, of)| Shard { index: k - 1, of }),
        merge: args.merge,
        replay: args.replay.then_some(recorded.as_path()),
        judge: args.shard.is_none(),
    };
    let searched = project.search(world, &request)?;
    let ranking = &searched.ranking;
    if args.shard.is_some() {
        let found =
            format!("{} candidates; merge the caches of all parts: optimize … --merge\n", ranking.candidates.len());
        world.print(ranking, || format!("{}\n{found}", table(ranking)))?;
        return Ok(Exit::Pass);
    }
    let page = page::of_search(&project, &searched)?;
    write(folder, &searched, page)?;
    world.print(ranking, || text(ranking, folder))?;
    for choice in ranking.choices.iter().filter(|c| c.winner.is_none()) {
        refusal(choice).say();
    }
    Ok(exit_of(ranking))
}

/// One recipe alone, as the search carries it out.
fn carry_out(world: &World, project: &Project, file: &Path, folder: &Path) -> Result<Exit, Failure> {
    let bytes = fs::read(file).map_err(|e| Failure::not_read(file, &e))?;
    let recipe: Recipe = serde_json::from_slice(&bytes).map_err(|e| {
        Failure::new(Code::BadConfig, format!("failed to read {}: it is no recipe: {e}", file.display()))
    })?;
    let ranges = project.ranges();
    let executor = project.passes(world)?;
    let context = Context {
        data: project.calibration.as_ref(),
        ranges: ranges.as_ref(),
        seed: world.common.seed,
        progress: &world.bar,
        ..Context::new(executor)
    };
    let made = recipe::apply(&recipe, &project.model, &context)?;
    let output = folder.join("winner.onnx");
    made.model.write(&output)?;
    world.print(&recipe, || format!("{} → {}\n", recipe.name, output.display()))?;
    Ok(Exit::Pass)
}

/// The verdict on the test data where there is one, else that on the validation data.
fn exit_of(ranking: &Ranking) -> Exit {
    let of = |choice: &Choice| {
        let Some(winner) = &choice.winner else { return Exit::GateFailed };
        let judged = ranking.judged.iter().find(|j| j.recipe == *winner && j.profile == choice.profile);
        match judged.map_or(&choice.verdict, |j| &j.report.verdict) {
            Verdict::Fail => Exit::GateFailed,
            Verdict::Inconclusive => Exit::Inconclusive,
            Verdict::Pass | Verdict::Skipped(_) => Exit::Pass,
        }
    };
    let exits: Vec<Exit> = ranking.choices.iter().map(of).collect();
    [Exit::GateFailed, Exit::Inconclusive].into_iter().find(|e| exits.contains(e)).unwrap_or(Exit::Pass)
}

/// What stands in the way where nothing can be chosen.
fn refusal(choice: &Choice) -> Failure {
    let whom = choice.profile.as_ref().map(|p| format!(" of {p}")).unwrap_or_default();
    let mut failure = Failure::new(Code::GateFailed, format!("no candidate keeps every budget{whom}"));
    if let (Some(nearest), Some(miss)) = (&choice.nearest, &choice.binding) {
        let by = miss.excess.filter(|e| *e > 0.0).map(|e| format!(", {:.1} % over", 100.0 * e)).unwrap_or_default();
        failure = failure.help(format!(
            "the nearest is {nearest}: {} of {} is {}, where {} is asked for{by}",
            miss.metric, miss.profile, miss.found, miss.limit
        ));
    }
    failure
}

fn write(folder: &Path, searched: &Searched, page: String) -> Result<(), Failure> {
    let candidates = folder.join("candidates");
    fs::create_dir_all(&candidates).map_err(|e| Failure::not_written(&candidates, &e))?;
    let mut files: BTreeMap<PathBuf, Vec<u8>> = BTreeMap::new();
    for (name, model) in &searched.models {
        files.insert(candidates.join(format!("{name}.onnx")), model.to_bytes()?);
    }
    for choice in &searched.ranking.choices {
        let chosen = choice.winner.as_ref().and_then(|name| searched.candidate(name));
        let Some((winner, model)) = chosen else { continue };
        let of = choice.profile.as_ref().map(|p| format!("-{p}")).unwrap_or_default();
        files.insert(folder.join(format!("winner{of}.onnx")), model.to_bytes()?);
        files.insert(folder.join(format!("recipe{of}.json")), world::json(&winner.recipe)?.into_bytes());
    }
    files.insert(folder.join("report.html"), page.into_bytes());
    files.insert(folder.join("search.json"), world::json(&searched.recording)?.into_bytes());
    for (path, bytes) in &files {
        world::write(path, bytes)?;
    }
    // Last: whoever finds a ranking finds its models. Then what an earlier search left goes.
    world::write(&folder.join("ranking.json"), world::json(&searched.ranking)?.as_bytes())?;
    for place in [folder, &candidates] {
        let entries = fs::read_dir(place).map_err(|e| Failure::not_read(place, &e))?;
        for path in entries.flatten().map(|e| e.path()).filter(|p| !files.contains_key(p)) {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let ours = path.extension().is_some_and(|e| e == "onnx")
                && (*place == candidates || name.starts_with("winner"))
                || place == folder && name.starts_with("recipe") && name.ends_with(".json");
            if ours {
                fs::remove_file(&path).map_err(|e| Failure::not_written(&path, &e))?;
            }
        }
    }
    Ok(())
}

fn text(ranking: &Ranking, folder: &Path) -> String {
    let mut text = table(ranking) + "\n";
    if !ranking.complete {
        text.push_str("note     the time was over before everything was tried\n");
    }
    for choice in &ranking.choices {
        let of = choice.profile.as_ref().map(|p| format!("-{p}")).unwrap_or_default();
        if let Some(winner) = &choice.winner {
            let file = folder.join(format!("winner{of}.onnx"));
            let runner_up = choice.runner_up.as_ref().map(|r| format!("; runner-up {r}")).unwrap_or_default();
            text.push_str(&format!(
                "winner   {winner} ({} on the validation data) → {}{runner_up}\n",
                choice.verdict,
                file.display()
            ));
        }
    }
    for judged in &ranking.judged {
        let of = judged.profile.as_ref().map(|p| format!(" for {p}")).unwrap_or_default();
        text.push_str(&format!("test     {}{of}: {}\n", judged.recipe, judged.report.verdict));
        for row in judged.report.rows.iter().filter(|r| r.level == "error" && r.counts_as() != Verdict::Pass) {
            text.push_str(&format!(
                "         {} {}: {}, {}. {}\n",
                row.profile, row.metric, row.limit, row.found, row.note
            ));
        }
    }
    if !ranking.judged.is_empty() {
        text.push_str("         the test data were touched by these alone, and nothing was chosen by them\n");
    }
    text.push_str(&format!("report   {}\n", folder.join("report.html").display()));
    text
}

/// The candidates in their order.
pub(crate) fn table(ranking: &Ranking) -> String {
    let row = |c: &RankedCandidate| {
        let show = |metric: &str| {
            let figure = c.figures.iter().find(|f| f.metric == metric);
            figure.map_or("–".to_owned(), |f| ui::quantity(f.value, &f.unit))
        };
        let note = c.refused.clone().unwrap_or_default();
        let metrics = ["artifact-size", "macs", "latency.ratio", "accuracy-drop", "agreement"];
        let mut row = vec![c.recipe.name.clone(), c.verdict.to_string(), if c.front { "*" } else { "" }.to_owned()];
        row.extend(metrics.map(show));
        row.push(note);
        row
    };
    let header =
        ["candidate", "verdict", "front", "size", "MACs", "time ÷ original", "accuracy drop", "agreement", "note"];
    ui::table(&header, ranking.candidates.iter().map(row).collect())
}
