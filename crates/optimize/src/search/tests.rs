//! The search on landscapes that are known: laboratories which make figures up.

use plimsoll_onnx::{Model, proto::ModelProto};
use plimsoll_profile::{Aim, Spec};
use plimsoll_record::{Figure, Found, Machine, OutputDamage};
use plimsoll_runtime::TractExecutor;
use plimsoll_transform::Silent;

use super::*;
use crate::{Recorded, Replayed};

/// A laboratory whose figures follow from the recipe.
struct Landscape {
    /// What is lost at a share of what is pruned, beyond which it goes up steeply.
    cliff: f64,
    /// Steps until time is over.
    left: usize,
    /// Candidates that were evaluated.
    evaluated: usize,
    /// Half the width of intervals of what is lost.
    noise: f64,
}

impl Landscape {
    fn new(cliff: f64) -> Self {
        Self { cliff, left: usize::MAX, evaluated: 0, noise: 0.002 }
    }

    fn size(recipe: &Recipe) -> f64 {
        let mut size = if recipe.steps.is_empty() { 100_000.0 } else { 95_000.0 };
        for step in &recipe.steps {
            let get = |k: &str| step.parameters.get(k).map(String::as_str).unwrap_or_default();
            size *= match (step.pass.as_str(), get("scheme")) {
                ("prune", _) => 1.0 - share(step),
                (_, "int8") => 0.29,
                (_, "int8-weights") => 0.27,
                (_, "f16") => 0.52,
                _ => 1.0,
            };
            size *= if get("granularity") == "per-tensor" { 0.97 } else { 1.0 };
        }
        size.round()
    }

    /// Weights alone in eight bits make it small and slow.
    fn time(&self, recipe: &Recipe) -> f64 {
        let slow = recipe.steps.iter().any(|s| s.parameters.get("scheme").is_some_and(|s| s == "int8-weights"));
        Self::size(recipe) * if slow { 1e-6 } else { 1e-7 }
    }

    fn loss(&self, recipe: &Recipe) -> f64 {
        let loss = |step: &Step| match step.pass.as_str() {
            "prune" => 0.3 * (share(step) - self.cliff).max(0.0),
            "quantize" => 0.0005,
            _ => 0.0,
        };
        recipe.steps.iter().map(loss).sum()
    }
}

fn share(step: &Step) -> f64 {
    let text = step.parameters.iter().find(|(k, _)| k.starts_with("remove-")).map(|(_, v)| v.trim_end_matches('%'));
    text.and_then(|t| t.parse::<f64>().ok()).unwrap_or(0.0) / 100.0
}

fn figure(metric: &str, unit: &str, value: f64, interval: Option<[f64; 2]>, digest: &str) -> Figure {
    Figure {
        metric: metric.into(),
        value,
        unit: unit.into(),
        n: 1000,
        interval,
        method: "made up".into(),
        executor: "tract".into(),
        executor_version: "1".into(),
        machine: Machine { cpu: "a CPU".into(), isa: vec![], threads: 1 },
        build: "release".into(),
        model_digest: digest.into(),
        data_digest: "data".into(),
        baseline_digest: "original".into(),
    }
}

impl Lab for Landscape {
    fn examine(&mut self, recipe: &Recipe, stage: Stage) -> Result<TrialEnd, OptimizeError> {
        if recipe.name != ORIGINAL {
            if self.left == 0 {
                return Ok(TrialEnd::OutOfTime);
            }
            self.left -= 1;
        }
        let digest = format!("digest of {}", recipe.name);
        let of = |metric, unit, value, interval| figure(metric, unit, value, interval, &digest);
        let loss = self.loss(recipe);
        let figures = match stage {
            Stage::Made => {
                let size = Self::size(recipe);
                vec![of("artifact-size", "bytes", size, None), of("macs", "count", size, None)]
            }
            Stage::Evaluated | Stage::Judged => {
                self.evaluated += 1;
                vec![of("accuracy-drop", "share", loss, Some([loss - self.noise, loss + self.noise]))]
            }
            Stage::Timed => {
                let time = self.time(recipe);
                vec![
                    of("latency.ratio", "ratio", 1.0, Some([0.9, 1.1])),
                    of("latency.mean", "s", time, Some([time * 0.99, time * 1.01])),
                    of("latency.cv", "ratio", 0.1, Some([0.09, 0.11])),
                ]
            }
            Stage::Compared | Stage::Dissected => vec![],
        };
        let damage = OutputDamage { divergence: Some(loss), agreement: Some(1.0 - loss), sqnr: None, samples: 100 };
        let damage = (stage == Stage::Compared).then_some(damage);
        Ok(TrialEnd::Found(Box::new(Found { model_digest: digest, figures, damage, ..Found::default() })))
    }

    fn left(&self) -> Option<f64> {
        Some(self.left as f64)
    }
}

const SPEC: &str = "schema = 1\nprofiles = []\n[release]\nname = \"n\"\nversion = \"1.0.0\"\n[model]\npath = \"m.onnx\"\n\
                    [margins]\naccuracy-drop = \"1pp\"\n[budget]\nartifact-size = \"LIMIT\"\n";

/// Searches a landscape under a limit on the size.
fn check(lab: &mut dyn Lab, limit: &str) -> Ranking {
    check_for(lab, limit, Objective::default(), &[])
}

fn check_for(lab: &mut dyn Lab, limit: &str, objective: Objective, profiles: &[Profile]) -> Ranking {
    let spec = Spec::from_text("spec.toml", &SPEC.replace("LIMIT", limit)).unwrap();
    let model = Model::from_proto(ModelProto { graph: Some(Default::default()).into(), ..Default::default() }).unwrap();
    let task = Task {
        model: &model,
        calibration: None,
        ranges: None,
        validation: None,
        test: None,
        budgets: Budgeted { spec: Some(&spec), profiles, ..Budgeted::default() },
        passes: &TractExecutor,
        executors: vec![&TractExecutor],
        objective,
        models: Models::One,
        recipes: None,
        shard: None,
    };
    search(&task, lab, &Silent, false).unwrap()
}

fn winner(ranking: &Ranking) -> &plimsoll_record::RankedCandidate {
    let name = ranking.winner.as_ref().unwrap();
    ranking.candidates.iter().find(|c| c.recipe.name == *name).unwrap()
}

#[test]
fn the_largest_share_that_keeps_the_margin_is_found_wherever_it_lies() {
    for cliff in [0.0, 0.07, 0.15, 0.22, 0.41, 0.63] {
        let mut lab = Landscape::new(cliff);
        let ranking = check(&mut lab, "1MB");
        let found = Landscape::size(&winner(&ranking).recipe);
        // What the finest step of the search allows: 0.3 of a share beyond the cliff is lost, 0.75 points are left to lose.
        let best = 95_000.0 * 0.27 * 0.97 * (1.0 - cliff - 0.0075 / 0.3);
        assert!(found < best * 1.04, "cliff {cliff}: {} is {found}, {best} can be had", winner(&ranking).recipe.name);
        assert!(ranking.complete && lab.evaluated < 30, "cliff {cliff}: {} were evaluated", lab.evaluated);
    }
}

/// A server whose load takes some ninety instances of one core at 10 ms an inference.
const SERVER: &str = "schema = 1\nkind = \"server\"\nexecutor = \"tract\"\n[hardware]\ncores = 1\nmemory = \"4GiB\"\n[server]\n\
                      devices = 1_000_000\ninferences-per-device = 400\npeak-to-mean = 1\nutilization = \"50%\"\ninstances = 200\n\
                      type = \"small\"\nprice = \"0.1 USD/h\"\n[budget]\nmonthly-cost = \"10000 USD\"\n";

#[test]
fn what_costs_least_a_month_is_chosen_though_something_else_is_smaller() {
    let servers = [Profile::from_text("p.toml", SERVER).unwrap_or_else(|e| panic!("{}", e.render()))];
    let mut lab = Landscape::new(0.3);
    let ranking = check_for(&mut lab, "1MB", Objective::of(Aim::Cost), &servers);
    let chosen = winner(&ranking);
    let smaller = ranking.candidates.iter().find(|c| Landscape::size(&c.recipe) < Landscape::size(&chosen.recipe));
    assert!(lab.time(&chosen.recipe) < 0.007, "{} takes {} s", chosen.recipe.name, lab.time(&chosen.recipe));
    assert!(smaller.is_some() && chosen.score.is_some_and(|s| s < 0.0), "{:?}", chosen.score);
    // Without a price there is nothing to go by, and the original stays.
    let ranking = check_for(&mut Landscape::new(0.0), "1MB", Objective::of(Aim::Cost), &[]);
    assert_eq!(ranking.winner, None);
}

#[test]
fn a_size_that_no_scheme_keeps_alone_is_reached_by_pruning() {
    let ranking = check(&mut Landscape::new(0.5), "20kB");
    assert!(Landscape::size(&winner(&ranking).recipe) <= 20_000.0);
    let ranking = check(&mut Landscape::new(0.0), "20kB");
    assert_eq!(ranking.winner, None);
    let choice = &ranking.choices[0];
    assert!(choice.nearest.is_some() && choice.binding.is_some(), "{choice:?}");
}

#[test]
fn whenever_time_ends_the_answer_is_valid_and_never_gets_worse() {
    let mut last = f64::INFINITY;
    for left in [0, 1, 3, 5, 10, 20, 40, 80] {
        let ranking = check(&mut Landscape { left, ..Landscape::new(0.3) }, "1MB");
        let found = Landscape::size(&winner(&ranking).recipe);
        assert!(found <= last, "{left} steps: {found} after {last}");
        assert_eq!(winner(&ranking).verdict, Verdict::Pass);
        last = found;
    }
}

#[test]
fn a_recorded_search_is_repeated_step_by_step_and_another_is_refused() {
    let mut lab = Recorded::new(Landscape { left: 17, ..Landscape::new(0.3) });
    let first = check(&mut lab, "1MB");
    let (_, recording) = lab.finish("this");
    let again = check(&mut Replayed::new(recording.clone(), "this").unwrap(), "1MB");
    assert_eq!(again, first);
    assert!(matches!(Replayed::new(recording.clone(), "that"), Err(OptimizeError::Replay(_))));
    let mut cut = recording;
    cut.trials.truncate(4);
    let mut lab = Replayed::new(cut, "this").unwrap();
    assert!(
        (0..9).any(|_| matches!(lab.examine(&Recipe::new("x", vec![]), Stage::Made), Err(OptimizeError::Replay(_))))
    );
}

#[test]
fn what_few_samples_cannot_show_is_chosen_with_an_inconclusive_verdict() {
    // Not even the original is shown to lose less than the margin.
    let ranking = check(&mut Landscape { noise: 0.015, ..Landscape::new(0.3) }, "60kB");
    assert_eq!(ranking.choices[0].verdict, Verdict::Inconclusive);
    let chosen = winner(&ranking);
    assert!(Landscape::new(0.3).loss(&chosen.recipe) < 0.005, "{}", chosen.recipe.name);
}

#[test]
fn where_nothing_surer_keeps_the_budget_what_may_lose_little_enough_is_chosen() {
    let landscape = || Landscape { noise: 0.006, ..Landscape::new(0.33) };
    let check = |limit| check_for(&mut landscape(), limit, Objective::of(Aim::Latency), &[]);
    // What is sure ends at three tenths pruned, 66.5 kB.
    assert_eq!(check("67kB").choices[0].verdict, Verdict::Pass);
    let ranking = check("62kB");
    assert_eq!(ranking.choices[0].verdict, Verdict::Inconclusive);
    let chosen = winner(&ranking);
    let loss = landscape().loss(&chosen.recipe);
    assert!(loss > 0.004 && loss < 0.01, "{} loses {loss}", chosen.recipe.name);
    assert_eq!(check("50kB").winner, None);
}
