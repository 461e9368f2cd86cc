//! A release spec with everything that it names, read and checked.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use plimsoll_dataset::{Archive, Dataset, Samples};
use plimsoll_gate::{Set, loosened};
use plimsoll_measure::{BenchOptions, Commands, machine};
use plimsoll_onnx::Model;
use plimsoll_optimize::{Assessed, Budgeted, Tools, check_disjoint};
use plimsoll_profile::{Basis, Contract, Day, Metric, PathAt, Pipeline, Profile, Spec};
use plimsoll_record::{Accepted, Figure, RankedCandidate, Report, Trend, Verdict};
use plimsoll_release::{Judged, SignedFigures};
use plimsoll_transform::Ranges;

use crate::{
    args::ExecutorName,
    contracts,
    exit::Exit,
    failure::{Failure, Named},
    manual::Code,
    world::{self, World},
};

pub(crate) struct Project {
    pub(crate) spec: Spec,
    pub(crate) model: Model,
    pub(crate) calibration: Option<Dataset>,
    pub(crate) validation: Option<Dataset>,
    /// Read in slices: it is the largest, and only run.
    pub(crate) test: Option<Archive>,
    pub(crate) profiles: Vec<Profile>,
    pub(crate) contract: Option<Contract>,
}

impl Project {
    /// Reads a spec and its files. Data that overlap are refused.
    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        Self::read_with(path, world::model)
    }

    /// The same with another way of reading the model.
    pub(crate) fn read_with(path: &Path, model: impl Fn(&Path) -> Result<Model, Failure>) -> Result<Self, Failure> {
        let spec = Spec::read(path)?;
        // A path that leads to no file is shown where it was written.
        let there = |p: &PathAt| {
            if p.path.is_file() {
                return Ok(());
            }
            let what = if p.path.exists() || p.path.as_os_str().is_empty() { "is no file" } else { "does not exist" };
            let message = format!("`{}` {what}", p.written);
            Err(Failure::from(spec.path_error(p, message, "paths are relative to the spec's folder")))
        };
        let data = &spec.data;
        let named = [
            &data.calibration,
            &data.validation,
            &data.test,
            &spec.contract,
            &spec.license_file,
            &spec.pipeline.samples,
        ];
        [&spec.model].into_iter().chain(named.into_iter().flatten()).chain(&spec.profiles).try_for_each(there)?;

        let model = model(&spec.model.path)?;
        let set = |p: &Option<PathAt>| p.as_ref().map(|p| world::data(&p.path, &model)).transpose();
        let (calibration, validation) = (set(&data.calibration)?, set(&data.validation)?);
        let test = data.test.as_ref().map(|p| world::archive(&p.path, &model)).transpose()?;
        let profiles = spec.profiles.iter().map(|p| Ok(Profile::read(&p.path)?)).collect::<Result<_, Failure>>()?;
        let contract = spec.contract.as_ref().map(|c| Contract::read(&c.path)).transpose()?;
        let project = Self { spec, model, calibration, validation, test, profiles, contract };
        check_disjoint(&project.sets())?;
        project.check_grouped()?;
        Ok(project)
    }

    /// The sets of samples that the spec names, each with what it is for.
    pub(crate) fn sets(&self) -> Vec<(&'static str, &dyn Samples)> {
        let sets = [
            ("calibration", self.calibration.as_ref().map(|d| d as &dyn Samples)),
            ("validation", self.validation.as_ref().map(|d| d as &dyn Samples)),
            ("test", self.tested()),
        ];
        sets.into_iter().filter_map(|(name, set)| Some((name, set?))).collect()
    }

    /// The test data.
    pub(crate) fn tested(&self) -> Option<&dyn Samples> {
        self.test.as_ref().map(|d| d as &dyn Samples)
    }

    /// Refuses endpoints on data that do not say which samples belong together.
    fn check_grouped(&self) -> Result<(), Failure> {
        let Some(endpoint) = self.spec.endpoints.first() else { return Ok(()) };
        let data = &self.spec.data;
        for (name, path) in [("validation", &data.validation), ("test", &data.test)] {
            let mut sets = self.sets().into_iter().filter(|(n, set)| *n == name && set.group().is_none());
            if let (Some(path), Some(_)) = (path, sets.next()) {
                let message =
                    format!("endpoint `{}` is one of each group, and `{}` has none", endpoint.name.value, path.written);
                let help =
                    "write an array `group` into it: for each sample, in the order of time, the number of its record";
                return Err(self.spec.path_error(path, message, help).into());
            }
        }
        Ok(())
    }

    pub(crate) fn budgeted(&self, cost_only: bool) -> Budgeted<'_> {
        Budgeted { spec: Some(&self.spec), profiles: &self.profiles, cost_only, today: Some(world::today()) }
    }

    /// The ranges of inputs that the contract declares.
    pub(crate) fn ranges(&self) -> Option<Ranges> {
        let inputs = &self.contract.as_ref()?.inputs;
        Some(inputs.iter().filter_map(|i| Some((i.name.value.clone(), i.signal.range.as_ref()?.value))).collect())
    }

    /// What the search found out about a candidate, against every budget. The test data stay untouched.
    pub(crate) fn report_of(&self, candidate: &RankedCandidate) -> Result<Report, Failure> {
        let data = self.validation.as_ref().or(self.calibration.as_ref());
        let counted = Assessed::count(&self.model, None, data.map(|d| d as &dyn Samples))?;
        let assessed = Assessed { figures: candidate.figures.clone(), ..counted.into_baseline() };
        let name = format!("{}, best candidate {}", self.spec.name.value, candidate.recipe.name);
        Ok(self.budgeted(false).report(&name, &candidate.model_digest, &assessed))
    }

    /// What figures that are there say of the budgets, by the waivers of a day.
    pub(crate) fn report_on(&self, name: &str, model: &Model, assessed: &Assessed, today: Day) -> Report {
        let budgets = Budgeted { today: Some(today), ..self.budgeted(false) };
        let (data, baseline) = (self.tested(), Some(&self.model));
        let question = Question {
            name,
            model,
            baseline,
            data,
            budgets,
            before: None,
            accepted: &[],
            seconds: 0.0,
            evidence: &[],
            contract: self.contract.as_ref(),
        };
        reported(&question, assessed)
    }

    /// The files that a release is made of, as they are found from here.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        let spec = &self.spec;
        let data = [&spec.data.calibration, &spec.data.validation, &spec.data.test, &spec.contract, &spec.license_file];
        let mut files: Vec<PathBuf> = spec.source.files().map(|f| f.path().to_owned()).collect();
        files.push(spec.model.path.clone());
        files.extend(data.into_iter().flatten().map(|p| p.path.clone()));
        files.extend(self.profiles.iter().flat_map(|p| p.source.files()).map(|f| f.path().to_owned()));
        files
    }

    /// Holds a model against every budget, on the test data.
    pub(crate) fn judge(
        &self,
        world: &World,
        name: &str,
        model: &Model,
        baseline: &Model,
        seconds: f64,
    ) -> Result<(Assessed, Report), Failure> {
        let (data, budgets) = (self.tested(), self.budgeted(false));
        let (baseline, evidence, contract) = (Some(baseline), [].as_slice(), self.contract.as_ref());
        let question =
            Question { name, model, baseline, data, budgets, before: None, accepted: &[], seconds, evidence, contract };
        judge(world, &question)
    }
}

/// What measuring takes for budgets, with so many seconds of timing.
pub(crate) fn tools<'w>(world: &'w World, seconds: f64, budgets: &Budgeted<'_>) -> Result<Tools<'w>, Failure> {
    let pipeline = budgets.spec.map(|spec| (spec.pipeline.clone(), spec.source.folder()));
    let commands = match pipeline {
        Some((Pipeline { before, after, samples }, folder)) => {
            let samples = samples.map(|p| Archive::open(&p.path)).transpose()?.map(Arc::new);
            world.commands(before, after, folder).map(|commands| Commands { samples, ..commands })
        }
        None => None,
    };
    Ok(Tools {
        executor: world.executor()?,
        threads: world.common.threads,
        seed: world.common.seed,
        bench: BenchOptions { time_budget: Duration::from_secs_f64(seconds), commands, ..BenchOptions::default() },
        asked: budgets.asked(),
    })
}

/// A model and what it is held against.
pub(crate) struct Question<'q> {
    /// Name in the report.
    pub(crate) name: &'q str,
    pub(crate) model: &'q Model,
    pub(crate) baseline: Option<&'q Model>,
    pub(crate) data: Option<&'q dyn Samples>,
    pub(crate) budgets: Budgeted<'q>,
    /// The budgets before the change under review: where they were stricter, they are judged too.
    pub(crate) before: Option<Budgeted<'q>>,
    /// What was accepted before, the oldest first: increases of counted figures are held against the last.
    pub(crate) accepted: &'q [&'q Accepted],
    /// Seconds of timing.
    pub(crate) seconds: f64,
    /// Figures that somebody else took.
    pub(crate) evidence: &'q [SignedFigures],
    /// What the running pipeline delivers and reads.
    pub(crate) contract: Option<&'q Contract>,
}

/// Measures what the budgets ask for, and judges. Nothing is run where only counted figures are asked for, nor for what evidence
/// settles.
pub(crate) fn judge(world: &World, q: &Question<'_>) -> Result<(Assessed, Report), Failure> {
    let Question { model, baseline, data, budgets, .. } = *q;
    let path = Path::new(q.name);
    let mut assessed = Assessed::count(model, baseline, data).of_model(path)?;
    let digest = model.digest().to_string();
    take_over(q, &digest, &mut assessed)?;
    let runs = Runs::of(world, q, &digest, &assessed);
    if runs.any() {
        world.refuse_debug_build()?;
        let mut tools = tools(world, q.seconds, &budgets)?;
        tools.asked.extend(q.before.iter().flat_map(Budgeted::asked));
        if let Some(data) = data.filter(|_| runs.accuracy) {
            assessed.add_accuracy(&tools, model, baseline, data, &budgets.endpoints()).of_model(path)?;
        }
        for name in runs.timings {
            match world.executor_named(name) {
                Ok(executor) => {
                    assessed.add_latency(&Tools { executor, ..tools.clone() }, model, baseline, data).of_model(path)?
                }
                Err(missing) => assessed.withheld.push(format!("latency in another executor: {}", missing.message())),
            }
        }
    }
    let report = reported(q, &assessed);
    Ok((assessed, report))
}

/// What the figures say of the budgets.
pub(crate) fn reported(q: &Question<'_>, assessed: &Assessed) -> Report {
    let digest = q.model.digest().to_string();
    let counted = |f: &&Figure| Metric::find(&f.metric).is_some_and(|m| m.basis() == Basis::Counted);
    let mut assessed = assessed.clone();
    if let Some(last) = q.accepted.last() {
        let known: Vec<Figure> = last.figures.iter().filter(counted).cloned().collect();
        assessed.baseline.retain(|f| !known.iter().any(|k| k.metric == f.metric));
        assessed.baseline.extend(known);
    }
    let mut report = q.budgets.report(q.name, &digest, &assessed);
    let (before, now) = (q.before.as_ref().and_then(|b| Some((b, b.spec?))), q.budgets.spec);
    if let (Some((before, spec_before)), Some(spec)) = (before, now) {
        let sets = [(spec_before, before.profiles), (spec, q.budgets.profiles)];
        let [then, now] = sets.map(|(spec, profiles)| Set { spec, profiles });
        let mut stricter = loosened(then, before.rows(&digest, &assessed), now);
        // Whoever accepted this very model has answered for what it does to the budgets of before.
        if let Some(accepted) = q.accepted.last().filter(|a| a.model_digest == digest) {
            for row in &mut stricter {
                row.level = "warn".into();
                row.note = format!("this model was accepted on {}: {}", accepted.day, accepted.reason);
            }
        }
        let mut rows = std::mem::take(&mut report.rows);
        rows.extend(stricter);
        report.remarks = q.budgets.waive(&mut rows);
        let judged = plimsoll_gate::report(q.name, &digest, rows, vec![]);
        report = Report { verdict: judged.verdict, rows: judged.rows, ..report };
    }
    if let (Some(contract), Some(spec)) = (q.contract, q.budgets.spec) {
        let mut rows = std::mem::take(&mut report.rows);
        rows.extend(contracts::rows(&spec.name.value, contract, q.model));
        let judged = plimsoll_gate::report(q.name, &digest, rows, vec![]);
        report = Report { verdict: judged.verdict, rows: judged.rows, ..report };
    }
    report.accepted = q.accepted.last().map(|a| a.by());
    report.trend = assessed.figures.iter().filter(counted).filter_map(|f| Trend::of(f, q.accepted)).collect();
    report
}

/// Takes evidence over, if it is of what is judged.
fn take_over(q: &Question<'_>, digest: &str, assessed: &mut Assessed) -> Result<(), Failure> {
    if q.evidence.is_empty() {
        return Ok(());
    }
    let (baseline, data) =
        (q.baseline.map(|b| b.digest().to_string()), q.data.map(|d| d.digest()).transpose()?.map(|d| d.to_string()));
    let judged = Judged { model_digest: digest, baseline_digest: baseline.as_deref(), data_digest: data.as_deref() };
    for signed in q.evidence {
        let (taken, open) = signed.of(&judged)?;
        assessed.taken_over.extend(taken);
        assessed.withheld.extend(open);
    }
    Ok(())
}

/// What has to be run.
struct Runs {
    /// The model on every sample.
    accuracy: bool,
    /// Latency and memory in these executors; the one that was asked for first.
    timings: Vec<ExecutorName>,
}

impl Runs {
    fn of(world: &World, q: &Question<'_>, digest: &str, assessed: &Assessed) -> Self {
        let budgets = q.budgets;
        let needed = |b: &Budgeted<'_>| b.needs_measuring();
        if budgets.cost_only || !(needed(&budgets) || q.before.as_ref().is_some_and(needed)) {
            return Self { accuracy: false, timings: vec![] };
        }
        // Budgets hold for the executor that their profile names.
        let mut timings: Vec<ExecutorName> =
            budgets.profiles.iter().filter_map(|p| Some(ExecutorName::of(p.executor?))).collect();
        timings.push(world.common.executor);
        timings.sort_unstable_by_key(|e| (*e != world.common.executor, *e));
        timings.dedup();
        if q.evidence.is_empty() {
            return Self { accuracy: true, timings };
        }
        let mut wanted = budgets.wanted(digest, assessed, &machine(world.common.threads));
        // No run compares with a baseline that is not there.
        wanted.retain(|w| q.baseline.is_some() || !w.metric.is_relative());
        // A figure does not hold the definition of its endpoint: none is taken over.
        let endpoints = q.baseline.is_some() && budgets.spec.is_some_and(|s| !s.endpoints.is_empty());
        let accuracy = q.data.is_some() && (endpoints || wanted.iter().any(|w| w.basis == Basis::Data));
        timings.retain(|e| {
            let asked = |name: Option<&str>| name.map_or(*e == world.common.executor, |n| n == e.name());
            wanted.iter().any(|w| w.basis != Basis::Data && asked(w.executor))
        });
        Self { accuracy, timings }
    }

    fn any(&self) -> bool {
        self.accuracy || !self.timings.is_empty()
    }
}

/// What a report ends in.
pub(crate) fn exit_of(report: &Report, inconclusive_fails: bool) -> Exit {
    match report.verdict {
        Verdict::Fail => Exit::GateFailed,
        Verdict::Inconclusive if inconclusive_fails => Exit::Inconclusive,
        Verdict::Pass | Verdict::Inconclusive | Verdict::Skipped(_) => Exit::Pass,
    }
}

/// The failure that goes with a report that is no pass.
pub(crate) fn refusal(report: &Report) -> Failure {
    let (code, what) = match report.verdict {
        Verdict::Fail => (Code::GateFailed, "violates a budget"),
        _ => (Code::GateInconclusive, "is not shown to keep every budget"),
    };
    Failure::new(code, format!("{} {what}", report.model))
}
