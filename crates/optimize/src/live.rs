//! The laboratory that runs models: carries recipes out, sharing what they have in common, counts, compares, evaluates, times. Everything
//! found is kept in a store, and taken from there the next time.

use std::{cell::OnceCell, collections::BTreeMap, time::Instant};

use plimsoll_dataset::{Dataset, Samples};
use plimsoll_measure::{MeasureError, machine};
use plimsoll_onnx::Model;
use plimsoll_record::{Figure, Found, NodeSensitivity, PassRecord, Recipe, Stage, Step, TrialEnd};
use plimsoll_runtime::Executor;
use plimsoll_transform::{Context, LatencyOracle, PipelineError, Silent, quantize};

use crate::{
    Assessed, Deadline, Lab, OptimizeError, RecipeError, Store, Task, Tools,
    clock::Stopwatch,
    deadline::Until,
    recipe, recorded,
    space::ORIGINAL,
    store::{hash, key, open, seal},
};

/// Calibration samples that outputs are compared on.
const COMPARED: usize = 128;
/// How many times as long as an order over all layers the more careful ways of pruning take, until one has been timed.
const DEAR: [(&str, &str, f64); 2] =
    [("allocation=search", "prune allocation=global", 15.0), ("repair=distill", "prune allocation=global", 80.0)];

/// Runs models.
pub struct Live<'l> {
    task: &'l Task<'l>,
    tools: &'l Tools<'l>,
    store: &'l dyn Store,
    deadline: Deadline<'l>,
    /// Nothing is run: what the store does not hold is out of time.
    stored_only: bool,
    /// What all models depend on.
    base: String,
    /// Digest of the validation data; empty where there are none.
    validation: String,
    /// What is counted of the original.
    original: OnceCell<Vec<Figure>>,
    compared: Option<Dataset>,
    /// Models made so far, the last of them, by the key of their last step.
    recent: Vec<(String, Model, Vec<PassRecord>)>,
    /// Longest times so far, by kind of work.
    seconds: BTreeMap<String, f64>,
}

/// Why something was not found.
enum Stop {
    Refused(String),
    /// The model cannot be measured.
    Unmeasured(MeasureError),
    Failed(OptimizeError),
}

impl<'l> Live<'l> {
    /// A laboratory for a task.
    pub fn new(
        task: &'l Task<'l>,
        tools: &'l Tools<'l>,
        store: &'l dyn Store,
        deadline: Deadline<'l>,
        stored_only: bool,
    ) -> Result<Self, OptimizeError> {
        let calibration = task.calibration.map(|d| d.digest().to_string()).unwrap_or_default();
        let ranges = format!("{:?}", task.ranges);
        let model = task.model.digest().to_string();
        // Names of inner values are left out of the digest of a model, and show in what is made of it.
        let bytes = hash(&task.model.to_bytes().map_err(MeasureError::from)?);
        let base = key(&[
            env!("CARGO_PKG_VERSION"),
            &model,
            &bytes,
            &calibration,
            &ranges,
            &tools.seed.to_string(),
            task.passes.name(),
            &task.passes.version(),
        ]);
        let compared = task.calibration.and_then(|d| {
            let batch = d.batch(0..COMPARED.min(d.len()));
            Dataset::new(d.path(), batch, None, None).ok()
        });
        let validation = task.validation.map(|d| d.digest().to_string()).unwrap_or_default();
        Ok(Self {
            task,
            tools,
            store,
            deadline,
            stored_only,
            base,
            validation,
            original: OnceCell::new(),
            compared,
            recent: vec![],
            seconds: BTreeMap::new(),
        })
    }

    /// What is searched, by everything that its result depends on besides the clock.
    pub fn of(&self) -> String {
        let budgets = &self.task.budgets;
        let text = |source: &plimsoll_profile::Source| {
            source.files().map(|f| f.text().to_owned()).collect::<Vec<_>>().join("\n")
        };
        let spec = budgets.spec.map(|s| text(&s.source)).unwrap_or_default();
        let profiles: Vec<String> = budgets.profiles.iter().map(|p| text(&p.source)).collect();
        key(&[&self.base, &self.validation, &spec, &profiles.join("\n"), &self.executors()])
    }

    /// An executor; `timely` says whether it stops answering at the deadline.
    fn until<'e>(&self, executor: &'e dyn Executor, timely: bool) -> Until<'e>
    where
        'l: 'e,
    {
        Until::new(executor, timely.then_some(self.deadline))
    }

    fn executors(&self) -> String {
        let names = self.task.executors.iter().map(|e| format!("{} {}", e.name(), e.version()));
        names.collect::<Vec<_>>().join("\n")
    }

    /// The model of a recipe, made where the store does not hold it.
    pub fn model(&mut self, recipe: &Recipe) -> Result<Model, OptimizeError> {
        match self.made(recipe, recipe.steps.len(), false) {
            Ok((model, _)) => Ok(model),
            Err(Stop::Failed(error)) => Err(error),
            Err(Stop::Refused(reason)) => Err(OptimizeError::Replay(reason)),
            Err(Stop::Unmeasured(error)) => Err(error.into()),
        }
    }

    /// The nodes that a recipe's quantization touches by the damage that each does; none where they cannot be ranked.
    pub fn nodes(&mut self, recipe: &Recipe) -> Result<Vec<NodeSensitivity>, OptimizeError> {
        let at = self.trial_key(recipe, Stage::Dissected)?;
        if let Some(TrialEnd::Found(found)) = self.kept_trial(&at) {
            return Ok(found.nodes);
        }
        let nodes = match self.dissect(recipe, false) {
            Ok(nodes) => nodes,
            Err(Stop::Failed(error)) => return Err(error),
            Err(_) => vec![],
        };
        let found = Found { nodes, ..Found::default() };
        let end = TrialEnd::Found(Box::new(found));
        self.keep_trial(&at, &end)?;
        Ok(if let TrialEnd::Found(found) = end { found.nodes } else { vec![] })
    }

    fn trial_key(&self, recipe: &Recipe, stage: Stage) -> Result<String, OptimizeError> {
        Ok(key(&[&self.step_key(&recipe.steps), name(stage), &self.condition(stage)?]))
    }

    fn kept_trial(&self, at: &str) -> Option<TrialEnd> {
        let entry = self.store.get(at)?;
        serde_json::from_str(open(&entry)?.0).ok()
    }

    fn keep_trial(&self, at: &str, end: &TrialEnd) -> Result<(), OptimizeError> {
        let text = serde_json::to_string(end).map_err(|e| OptimizeError::Store(e.into()))?;
        self.store.put(at, &seal(&text, &[])).map_err(OptimizeError::Store)
    }

    fn step_key(&self, steps: &[Step]) -> String {
        let text = |s: &Step| serde_json::to_string(s).unwrap_or_default();
        steps.iter().fold(self.base.clone(), |before, step| key(&[&before, &text(step)]))
    }

    /// The model after the first steps of a recipe, and what all of these did.
    fn made(&mut self, recipe: &Recipe, steps: usize, timely: bool) -> Result<(Model, Vec<PassRecord>), Stop> {
        let Some(last) = steps.checked_sub(1) else { return Ok((self.task.model.clone(), vec![])) };
        let at = self.step_key(&recipe.steps[..steps]);
        if let Some((_, model, passes)) = self.recent.iter().find(|(k, ..)| *k == at) {
            return Ok((model.clone(), passes.clone()));
        }
        let kept = self.store.get(&at);
        let kept = kept.as_deref().and_then(open).and_then(|(text, bytes)| {
            let passes = serde_json::from_str::<Result<Vec<PassRecord>, String>>(text).ok()?;
            Some(passes.and_then(|p| Ok((Model::from_bytes(bytes).map_err(|e| e.to_string())?, p))))
        });
        let made = match kept {
            Some(kept) => kept.map_err(Stop::Refused)?,
            None => {
                let before = self.made(recipe, last, timely)?;
                self.carry_out(recipe, last, &at, before, timely)?
            }
        };
        // Prefixes are asked for again and again; few of them at a time.
        const RECENT: usize = 6;
        self.recent.insert(0, (at, made.0.clone(), made.1.clone()));
        self.recent.truncate(RECENT);
        Ok(made)
    }

    fn carry_out(
        &mut self,
        recipe: &Recipe,
        step: usize,
        at: &str,
        (model, mut passes): (Model, Vec<PassRecord>),
        timely: bool,
    ) -> Result<(Model, Vec<PassRecord>), Stop> {
        let one = Recipe::new(&recipe.name, vec![recipe.steps[step].clone()]);
        let start = Instant::now();
        let executor = &self.until(self.task.passes, timely);
        let clock = self.task.calibration.map(|data| Stopwatch::new(executor, data, 1));
        let context = Context {
            data: self.task.calibration,
            ranges: self.task.ranges,
            seed: self.tools.seed,
            origin: Some(self.task.model),
            latency: clock.as_ref().map(|c| c as &dyn LatencyOracle),
            progress: &Silent,
            ..Context::new(executor)
        };
        let made = match recipe::apply(&one, &model, &context) {
            Ok(made) => made,
            Err(RecipeError::Pipeline(error)) => return Err(self.refused(&error, at, timely)),
            Err(error) => return Err(Stop::Failed(error.into())),
        };
        passes.extend(made.passes);
        let bytes = made.model.to_bytes().map_err(|e| Stop::Failed(MeasureError::from(e).into()))?;
        self.keep(at, &serde_json::to_string(&Ok::<_, String>(&passes)).unwrap_or_default(), &bytes)?;
        self.took(&kind(&recipe.steps[step]), start);
        Ok((made.model, passes))
    }

    fn refused(&mut self, error: &PipelineError, at: &str, timely: bool) -> Stop {
        let reason = error.to_string();
        if !(timely && self.deadline.passed()) {
            let text = serde_json::to_string(&Err::<Vec<PassRecord>, _>(&reason)).unwrap_or_default();
            if let Err(stop) = self.keep(at, &text, &[]) {
                return stop;
            }
        }
        Stop::Refused(reason)
    }

    fn keep(&self, at: &str, text: &str, bytes: &[u8]) -> Result<(), Stop> {
        self.store.put(at, &seal(text, bytes)).map_err(|e| Stop::Failed(OptimizeError::Store(e)))
    }

    fn took(&mut self, kind: &str, start: Instant) {
        let seconds = start.elapsed().as_secs_f64();
        let most = self.seconds.entry(kind.to_owned()).or_default();
        *most = most.max(seconds);
    }

    /// Seconds that work of a kind will take; 0 where nothing is known yet.
    fn expected(&self, kind: &str) -> f64 {
        if let Some(seconds) = self.seconds.get(kind) {
            return *seconds;
        }
        let dear = DEAR.iter().find(|(how, ..)| kind.contains(how));
        dear.map_or(0.0, |(_, like, times)| times * self.seconds.get(*like).copied().unwrap_or(1.0))
    }

    /// Whether there is time for it, and for what has to follow so that it was not in vain.
    fn affords(&self, recipe: &Recipe, stage: Stage) -> bool {
        if recipe.name == ORIGINAL || stage == Stage::Judged {
            return true;
        }
        let mut needed = 0.0;
        if stage == Stage::Made {
            let missing = (1..=recipe.steps.len()).rev().take_while(|n| {
                let at = self.step_key(&recipe.steps[..*n]);
                self.recent.iter().all(|(k, ..)| *k != at) && self.store.get(&at).is_none()
            });
            needed += missing.map(|n| self.expected(&kind(&recipe.steps[n - 1]))).sum::<f64>();
        }
        let after = [Stage::Compared, Stage::Evaluated, Stage::Timed].into_iter().filter(|s| *s >= stage);
        needed += after.map(|s| self.expected(name(s))).sum::<f64>();
        !self.deadline.passed() && needed <= self.deadline.left()
    }

    fn work(&mut self, recipe: &Recipe, stage: Stage, model: &Model, passes: Vec<PassRecord>) -> Result<Found, Stop> {
        let digest = model.digest().to_string();
        let mut found = Found { model_digest: digest, ..Found::default() };
        let timely = recipe.name != ORIGINAL && stage != Stage::Judged;
        let executor = &self.until(self.tools.executor, timely);
        let samples = self.task.validation.or(self.task.calibration).map(|d| d as &dyn Samples);
        let tools = Tools { executor, ..self.tools.clone() };
        match stage {
            Stage::Made => {
                take(&mut found, self.counted(model, samples)?);
                found.passes = passes;
            }
            Stage::Compared => {
                let context = Context { seed: self.tools.seed, data: self.compared.as_ref(), ..Context::new(executor) };
                found.damage = match quantize::damage(self.task.model, model, &context) {
                    Ok(damage) => Some(recorded::damage(&damage)),
                    // Outputs that are no floats: what they are worth shows on the validation data.
                    Err(plimsoll_transform::Refusal::CheckFailed(_)) => None,
                    Err(e) => return Err(Stop::Refused(e.to_string())),
                };
            }
            Stage::Evaluated => {
                let mut assessed = Assessed::default();
                self.evaluate(&mut assessed, &tools, model, self.task.validation.map(|d| d as &dyn Samples))?;
                take(&mut found, assessed);
            }
            Stage::Timed => {
                let mut assessed = Assessed::default();
                self.time(&mut assessed, &tools, model, samples, timely)?;
                take(&mut found, assessed);
            }
            Stage::Dissected => found.nodes = self.dissect(recipe, timely)?,
            Stage::Judged => {
                let mut assessed = self.counted(model, samples)?;
                self.evaluate(&mut assessed, &tools, model, self.task.test)?;
                self.time(&mut assessed, &tools, model, self.task.test.or(samples), timely)?;
                take(&mut found, assessed);
            }
        }
        Ok(found)
    }

    /// What is counted of a model beside the original, which is counted once.
    fn counted(&self, model: &Model, samples: Option<&dyn Samples>) -> Result<Assessed, Stop> {
        let count = |model| Assessed::count(model, None, samples).map_err(Stop::Unmeasured);
        let baseline = match self.original.get() {
            Some(counted) => counted.clone(),
            None => {
                let counted = count(self.task.model)?.figures;
                self.original.get_or_init(|| counted).clone()
            }
        };
        Ok(Assessed { baseline, ..count(model)? })
    }

    fn evaluate(
        &self,
        assessed: &mut Assessed,
        tools: &Tools<'_>,
        model: &Model,
        data: Option<&dyn Samples>,
    ) -> Result<(), Stop> {
        let Some(data) = data else { return Ok(()) };
        let endpoints = self.task.budgets.endpoints();
        assessed.add_accuracy(tools, model, Some(self.task.model), data, &endpoints).map_err(Stop::Unmeasured)
    }

    /// In every executor that a profile names.
    fn time(
        &self,
        assessed: &mut Assessed,
        tools: &Tools<'_>,
        model: &Model,
        samples: Option<&dyn Samples>,
        timely: bool,
    ) -> Result<(), Stop> {
        for executor in &self.task.executors {
            let executor = &self.until(*executor, timely);
            let tools = Tools { executor, ..tools.clone() };
            let timed = assessed.add_latency(&tools, model, Some(self.task.model), samples);
            timed.map_err(Stop::Unmeasured)?;
        }
        Ok(())
    }

    fn dissect(&mut self, recipe: &Recipe, timely: bool) -> Result<Vec<NodeSensitivity>, Stop> {
        let Some(at) = recipe.steps.iter().position(|s| s.pass == "quantize") else { return Ok(vec![]) };
        let quantized = Recipe::new(&recipe.name, recipe.steps[at..].to_vec());
        let (model, _) = self.made(recipe, at, timely)?;
        let executor = &self.until(self.task.passes, timely);
        let context = &Context { data: self.task.calibration, seed: self.tools.seed, ..Context::new(executor) };
        let found = match recipe::before_quantization(&quantized, &model, context) {
            Ok(found) => found,
            Err(RecipeError::Pipeline(error)) => return Err(Stop::Refused(error.to_string())),
            Err(error) => return Err(Stop::Failed(error.into())),
        };
        let Some((model, options)) = found else { return Ok(vec![]) };
        let ranked = quantize::sensitivity(&model, &options, context).map_err(|e| Stop::Refused(e.to_string()))?;
        Ok(ranked.into_iter().map(recorded::node).collect())
    }

    /// What a stage's result depends on besides the models.
    fn condition(&self, stage: Stage) -> Result<String, OptimizeError> {
        let asked = format!("{:?} {:?}", self.tools.asked, self.task.budgets.endpoints());
        Ok(match stage {
            Stage::Made | Stage::Dissected => String::new(),
            Stage::Compared => self.executors(),
            Stage::Evaluated => key(&[&self.validation, &asked, &self.executors()]),
            Stage::Timed => {
                let here = machine(self.tools.threads);
                let here = format!("{} {:?} {}", here.cpu, here.isa, here.threads);
                key(&[&self.validation, &asked, &format!("{:?}", self.tools.bench), &self.executors(), &here])
            }
            Stage::Judged => {
                let test = self.task.test.map(|d| d.digest()).transpose().map_err(MeasureError::from)?;
                key(&[&test.map(|d| d.to_string()).unwrap_or_default(), &asked, &self.executors()])
            }
        })
    }
}

impl Lab for Live<'_> {
    fn examine(&mut self, recipe: &Recipe, stage: Stage) -> Result<TrialEnd, OptimizeError> {
        let at = self.trial_key(recipe, stage)?;
        if let Some(end) = self.kept_trial(&at) {
            return Ok(end);
        }
        let original = recipe.name == ORIGINAL;
        if (self.stored_only && !original) || !self.affords(recipe, stage) {
            return Ok(TrialEnd::OutOfTime);
        }
        let timely = !original && stage != Stage::Judged;
        let made = self.made(recipe, recipe.steps.len(), timely);
        let start = Instant::now();
        let done = made.and_then(|(model, passes)| self.work(recipe, stage, &model, passes));
        let end = match done {
            Ok(found) => TrialEnd::Found(Box::new(found)),
            Err(Stop::Failed(error)) => return Err(error),
            Err(Stop::Refused(_) | Stop::Unmeasured(_)) if timely && self.deadline.passed() => {
                return Ok(TrialEnd::OutOfTime);
            }
            // A candidate that cannot be run is out; an original that cannot be run is an error.
            Err(Stop::Unmeasured(error)) if original => return Err(error.into()),
            Err(Stop::Unmeasured(error)) => TrialEnd::Refused(format!("it cannot be measured: {error}")),
            Err(Stop::Refused(reason)) => TrialEnd::Refused(reason),
        };
        if stage != Stage::Made {
            self.took(name(stage), start);
        }
        self.keep_trial(&at, &end)?;
        Ok(end)
    }

    fn left(&self) -> Option<f64> {
        Some(self.deadline.left())
    }
}

fn take(found: &mut Found, assessed: Assessed) {
    found.figures.extend(assessed.figures);
    found.baseline.extend(assessed.baseline);
    found.withheld.extend(assessed.withheld);
    found.endpoints.extend(assessed.endpoints);
}

/// The name of a stage in keys.
fn name(stage: Stage) -> &'static str {
    match stage {
        Stage::Made => "made",
        Stage::Compared => "compared",
        Stage::Evaluated => "evaluated",
        Stage::Timed => "timed",
        Stage::Dissected => "dissected",
        Stage::Judged => "judged",
    }
}

/// What work a step is, as far as its time goes.
fn kind(step: &Step) -> String {
    let said = |k: &str| step.parameters.get(k).map(|v| format!(" {k}={v}")).unwrap_or_default();
    let repair = said("repair");
    // Training takes long whatever else is said.
    let repair = if repair.contains("distill") { repair } else { String::new() };
    format!("{}{}{}{repair}", step.pass, said("scheme"), said("allocation"))
}
