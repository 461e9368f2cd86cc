//! A release spec with everything that it names, read and checked.

use std::{path::Path, time::Duration};

use plimsoll_dataset::Dataset;
use plimsoll_measure::BenchOptions;
use plimsoll_onnx::Model;
use plimsoll_optimize::{Assessed, Budgeted, Candidate, Task, Tools, check_disjoint, recipes, search};
use plimsoll_profile::{Contract, PathAt, Profile, Spec};
use plimsoll_record::{Report, Verdict};
use plimsoll_transform::Ranges;

use crate::{
    args::ExecutorName,
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
    pub(crate) test: Option<Dataset>,
    pub(crate) profiles: Vec<Profile>,
    pub(crate) contract: Option<Contract>,
}

impl Project {
    /// Reads a spec and its files. Data that overlap are refused.
    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
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
        let named = [&data.calibration, &data.validation, &data.test, &spec.contract, &spec.license_file];
        [&spec.model].into_iter().chain(named.into_iter().flatten()).chain(&spec.profiles).try_for_each(there)?;

        let model = world::model(&spec.model.path)?;
        let set = |p: &Option<PathAt>| p.as_ref().map(|p| world::data(&p.path, &model)).transpose();
        let (calibration, validation, test) = (set(&data.calibration)?, set(&data.validation)?, set(&data.test)?);
        let sets = [("calibration", &calibration), ("validation", &validation), ("test", &test)];
        let sets: Vec<_> = sets.into_iter().filter_map(|(name, set)| Some((name, set.as_ref()?))).collect();
        check_disjoint(&sets)?;
        let profiles = spec.profiles.iter().map(|p| Ok(Profile::read(&p.path)?)).collect::<Result<_, Failure>>()?;
        let contract = spec.contract.as_ref().map(|c| Contract::read(&c.path)).transpose()?;
        Ok(Self { spec, model, calibration, validation, test, profiles, contract })
    }

    pub(crate) fn budgeted(&self, cost_only: bool) -> Budgeted<'_> {
        Budgeted { spec: Some(&self.spec), profiles: &self.profiles, cost_only }
    }

    /// The ranges of inputs that the contract declares.
    fn ranges(&self) -> Option<Ranges> {
        let inputs = &self.contract.as_ref()?.inputs;
        Some(inputs.iter().filter_map(|i| Some((i.name.value.clone(), i.range?))).collect())
    }

    /// Tries the spec's recipes; best first.
    pub(crate) fn search(&self, world: &World, seconds: f64) -> Result<Vec<Candidate>, Failure> {
        let recipes = recipes(&self.spec, self.calibration.is_some());
        let ranges = self.ranges();
        let task = Task {
            model: &self.model,
            calibration: self.calibration.as_ref(),
            ranges: ranges.as_ref(),
            validation: self.validation.as_ref(),
            budgets: self.budgeted(false),
            objective: self.spec.objective,
            recipes: &recipes,
        };
        Ok(search(&task, &tools(world, seconds)?, &world.bar)?)
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
        judge(world, name, model, Some(baseline), self.test.as_ref(), self.budgeted(false), seconds)
    }
}

/// What measuring takes, for so many seconds of timing.
pub(crate) fn tools(world: &World, seconds: f64) -> Result<Tools<'_>, Failure> {
    Ok(Tools {
        executor: world.executor()?,
        threads: world.common.threads,
        seed: world.common.seed,
        bench: BenchOptions { time_budget: Duration::from_secs_f64(seconds), ..BenchOptions::default() },
    })
}

/// Measures what the budgets ask for, and judges. Nothing is run where only counted figures are asked for.
pub(crate) fn judge(
    world: &World,
    name: &str,
    model: &Model,
    baseline: Option<&Model>,
    data: Option<&Dataset>,
    budgets: Budgeted<'_>,
    seconds: f64,
) -> Result<(Assessed, Report), Failure> {
    let path = Path::new(name);
    let mut assessed = Assessed::count(model, baseline, data).of_model(path)?;
    if !budgets.cost_only && budgets.needs_measuring() {
        world.refuse_debug_build()?;
        let tools = tools(world, seconds)?;
        if let Some(data) = data {
            assessed.add_accuracy(&tools, model, baseline, data).of_model(path)?;
        }
        assessed.add_latency(&tools, model, baseline, data).of_model(path)?;
        // Budgets hold for the executor that their profile names.
        let mut others: Vec<ExecutorName> = budgets.profiles.iter().map(|p| ExecutorName::of(p.executor)).collect();
        others.sort_unstable();
        others.dedup();
        for name in others.into_iter().filter(|e| *e != world.common.executor) {
            match world.executor_named(name) {
                Ok(executor) => {
                    assessed.add_latency(&Tools { executor, ..tools.clone() }, model, baseline, data).of_model(path)?
                }
                Err(missing) => assessed.withheld.push(format!("latency in another executor: {}", missing.message())),
            }
        }
    }
    let report = budgets.report(name, &model.digest().to_string(), &assessed);
    Ok((assessed, report))
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
