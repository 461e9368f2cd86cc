//! A search as verbs start it: what is searched where, with which cache, until when, or out of a recording.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use plimsoll_dataset::Samples as _;
use plimsoll_measure::BenchOptions;
use plimsoll_onnx::Model;
use plimsoll_optimize::{Deadline, Live, Recorded, Replayed, Shard, Store, Task, Tools, recipe, recipes, search};
use plimsoll_profile::{Aim, Metric, Profile};
use plimsoll_record::{NodeSensitivity, RankedCandidate, Ranking, Recipe, Recording};
use plimsoll_runtime::{Executor, LoadOptions};
use plimsoll_trust::atomic;
use signal_hook::{consts::SIGINT, flag};

use crate::{
    args::ExecutorName,
    failure::Failure,
    manual::Code,
    project::{Project, tools},
    world::World,
};

/// How to search.
#[derive(Default)]
pub(crate) struct Request<'r> {
    /// The time that it may take.
    pub(crate) seconds: f64,
    /// Where results are kept.
    pub(crate) cache: PathBuf,
    /// Which part of the work, from 0, of how many.
    pub(crate) shard: Option<Shard>,
    /// Only what the cache holds.
    pub(crate) merge: bool,
    /// Out of this recording.
    pub(crate) replay: Option<&'r Path>,
    /// Whether the winner and the runner-up are judged on the test data.
    pub(crate) judge: bool,
}

/// What came of it.
pub(crate) struct Searched {
    pub(crate) ranking: Ranking,
    pub(crate) recording: Recording,
    /// The models of the winners, runners-up, what comes nearest, and the Pareto front, by the names of their recipes.
    pub(crate) models: BTreeMap<String, Model>,
    /// Nodes of the best candidate by the damage that quantizing them does, where it is quantized.
    pub(crate) nodes: Vec<NodeSensitivity>,
}

impl Searched {
    /// The first winner, or what comes nearest where there is none; and its model.
    pub(crate) fn best(&self) -> Option<(&RankedCandidate, &Model)> {
        self.candidate(best(&self.ranking)?)
    }

    /// The one winner and its model.
    pub(crate) fn winner(&self) -> Option<(&RankedCandidate, &Model)> {
        self.candidate(self.ranking.winner.as_ref()?)
    }

    /// The candidate of a recipe and its model, where that is handed on.
    pub(crate) fn candidate(&self, recipe: &str) -> Option<(&RankedCandidate, &Model)> {
        Some((self.ranking.candidate(recipe)?, self.models.get(recipe)?))
    }
}

/// A flag that Ctrl-C sets: the first ends a search with the best so far, the second the program.
fn interrupted() -> Arc<AtomicBool> {
    let stop = Arc::new(AtomicBool::new(false));
    // Where a handler cannot be set, Ctrl-C ends the program as ever. The second signal finds the flag that the first has set.
    let _ = flag::register_conditional_shutdown(SIGINT, 130, Arc::clone(&stop));
    let _ = flag::register(SIGINT, Arc::clone(&stop));
    stop
}

impl Project {
    /// The executor that accuracy is taken in.
    fn executor<'w>(&self, world: &'w World) -> Result<&'w dyn Executor, Failure> {
        match executors(world, self)?.first() {
            Some(first) => Ok(*first),
            None => world.executor(),
        }
    }

    /// The executor that passes run models in: tract, which gives every inner value out and runs lowered plans, where it takes the model.
    pub(crate) fn passes<'w>(&self, world: &'w World) -> Result<&'w dyn Executor, Failure> {
        let tract = world.executor_named(ExecutorName::Tract)?;
        let Some(data) = &self.calibration else { return self.executor(world) };
        let options = LoadOptions::for_inputs(&data.first(1)?);
        let takes = tract.load(&self.model.to_bytes()?, &options).is_ok();
        if takes { Ok(tract) } else { self.executor(world) }
    }

    /// Refuses to look for the least cost where no profile says what is charged and for how much.
    fn can_be_charged(&self) -> Result<(), Failure> {
        let charged = |p: &Profile| {
            p.server
                .as_ref()
                .is_some_and(|s| s.price.is_some() && s.inferences_per_day.is_some() && s.peak_to_mean.is_some())
        };
        if self.spec.objective.weight(Aim::Cost) == 0.0 || self.profiles.iter().any(charged) {
            return Ok(());
        }
        let message =
            format!("{}: the objective `cost` needs a server that is charged", self.spec.source.path().display());
        Err(Failure::new(Code::BadConfig, message)
            .help("name a profile whose [server] has `price`, `inferences-per-device`, `devices` and `peak-to-mean`"))
    }

    /// Searches for the lightest model that keeps the budgets.
    pub(crate) fn search(&self, world: &World, request: &Request<'_>) -> Result<Searched, Failure> {
        let recipes = recipes(&self.spec);
        recipes.iter().flatten().try_for_each(recipe::check)?;
        let ranges = self.ranges();
        let budgets = self.budgeted(false);
        self.can_be_charged()?;
        let executors = executors(world, self)?;
        let first = self.executor(world)?;
        let task = Task {
            model: &self.model,
            calibration: self.calibration.as_ref(),
            ranges: ranges.as_ref(),
            validation: self.validation.as_ref(),
            test: self.tested(),
            budgets,
            passes: self.passes(world)?,
            executors: executors.clone(),
            objective: self.spec.objective.clone(),
            models: self.spec.models,
            recipes,
            shard: request.shard,
        };
        let measuring = tools(world, 1.0, &budgets)?;
        let asked = |metrics: &[Metric]| metrics.iter().any(|m| measuring.asked.contains(m));
        let bench = BenchOptions {
            // A small part of the time for each of the few dozen that are timed, within what makes a ratio worth anything.
            time_budget: Duration::from_secs_f64((request.seconds / 60.0).clamp(0.2, 1.5)),
            min_runs: if asked(&[Metric::LatencyP99, Metric::RealTimeFactor]) { 700 } else { 100 },
            cold_starts: if asked(&[Metric::ColdStart]) { 7 } else { 0 },
            ..measuring.bench.clone()
        };
        let tools = Tools { executor: first, bench, ..measuring };
        let store = Folder(request.cache.clone());
        let stop = interrupted();
        let deadline = Deadline::after(Duration::from_secs_f64(request.seconds), &stop);
        let mut live = Live::new(&task, &tools, &store, deadline, request.merge)?;
        let of = live.of();
        let (ranking, recording) = match request.replay {
            Some(path) => {
                let recording = read(path)?;
                let mut lab = Recorded::new(Replayed::new(recording, &of)?);
                let ranking = search(&task, &mut lab, &world.bar, request.judge)?;
                (ranking, lab.finish(&of).1)
            }
            None => {
                let mut lab = Recorded::new(live);
                let ranking = search(&task, &mut lab, &world.bar, request.judge)?;
                let (inner, recording) = lab.finish(&of);
                live = inner;
                (ranking, recording)
            }
        };
        let mut models = BTreeMap::new();
        for recipe in kept(&ranking) {
            models.insert(recipe.name.clone(), live.model(recipe)?);
        }
        let best = best(&ranking).and_then(|name| ranking.candidate(name));
        let nodes = match best.filter(|_| request.shard.is_none()) {
            Some(best) => live.nodes(&best.recipe)?,
            None => vec![],
        };
        Ok(Searched { ranking, recording, models, nodes })
    }
}

/// The name of the first winner, or of what comes nearest.
fn best(ranking: &Ranking) -> Option<&String> {
    ranking.choices.iter().find_map(|c| c.winner.as_ref().or(c.nearest.as_ref()))
}

/// Recipes whose models are handed on.
fn kept(ranking: &Ranking) -> impl Iterator<Item = &Recipe> {
    let chosen = |name: &String| {
        ranking.choices.iter().any(|c| [&c.winner, &c.runner_up, &c.nearest].into_iter().flatten().any(|n| n == name))
    };
    ranking.candidates.iter().filter(move |c| c.front || chosen(&c.recipe.name)).map(|c| &c.recipe)
}

/// Those that the profiles name, the one that was asked for first where it is among them; without a profile that one.
fn executors<'w>(world: &'w World, project: &Project) -> Result<Vec<&'w dyn Executor>, Failure> {
    let asked = world.common.executor;
    let mut names: Vec<ExecutorName> =
        project.profiles.iter().filter_map(|p| Some(ExecutorName::of(p.executor?))).collect();
    if names.is_empty() {
        names.push(asked);
    }
    names.sort_unstable_by_key(|e| (*e != asked, *e));
    names.dedup();
    names.into_iter().map(|name| world.executor_named(name)).collect()
}

fn read(path: &Path) -> Result<Recording, Failure> {
    let bytes = fs::read(path)
        .map_err(|e| Failure::not_read(path, &e).help("a search writes it; search without --replay first"))?;
    serde_json::from_slice(&bytes).map_err(|e| {
        Failure::new(Code::BadConfig, format!("failed to read {}: it records no search: {e}", path.display()))
    })
}

/// Entries as files, in folders by the first two digits of their keys. Several programs may share it.
struct Folder(PathBuf);

impl Folder {
    fn path(&self, key: &str) -> PathBuf {
        self.0.join(key.get(..2).unwrap_or_default()).join(key)
    }
}

impl Store for Folder {
    fn get(&self, key: &str) -> Option<Vec<u8>> {
        fs::read(self.path(key)).ok()
    }

    fn put(&self, key: &str, entry: &[u8]) -> io::Result<()> {
        let path = self.path(key);
        fs::create_dir_all(path.parent().unwrap_or(&self.0))?;
        atomic::write(&path, entry)
    }
}
