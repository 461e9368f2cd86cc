//! Accuracy of a model on labelled data, and its agreement with a baseline.

use std::path::{Path, PathBuf};

use plimsoll_dataset::{Samples, encode_table};
use plimsoll_measure::{Decision, EvaluationOptions, NonInferiority, evaluate};
use plimsoll_optimize::Budgeted;
use plimsoll_profile::Spec;
use plimsoll_record::{EndpointShift, Figures, GroupShift};

use crate::{
    args,
    exit::Exit,
    failure::{Failure, Named},
    manual::Code,
    ui,
    world::{self, World},
};

pub(crate) fn run(world: &World, args: &args::Evaluate) -> Result<Exit, Failure> {
    let Subject { model: path, data, spec, beside } = Subject::of(args)?;
    let model = world::model(&path)?;
    let baseline = args.baseline.as_deref().map(world::model).transpose()?;
    let data = world::archive(&data, &model)?;
    let inputs = [Some(path.as_path()), args.baseline.as_deref(), Some(data.path()), args.save_scores.as_deref()];
    let recorder = args.record.ready(&inputs)?;
    if let Some(output) = &args.save_scores {
        world::check_output(output, &[&path, data.path()])?;
    }
    let mut endpoints = Budgeted { spec: spec.as_ref(), ..Budgeted::default() }.endpoints();
    // Who has named no spec is not held up by one that lies there.
    if beside && !endpoints.is_empty() && (data.group().is_none() || baseline.is_none()) {
        ui::say(
            "the endpoints of the plimsoll.toml beside the model are left out: they need --baseline, and data with an array `group`",
        );
        endpoints.clear();
    }
    let options = EvaluationOptions {
        metrics: args.metric.clone(),
        margins: args.margin.clone(),
        endpoints,
        threads: world.common.threads,
        ..EvaluationOptions::default()
    };
    let found = evaluate(world.executor()?, &model, baseline.as_ref(), &data, &options).of_model(&path)?;
    if let Some(output) = &args.save_scores {
        world::write(output, &encode_table(&found.scores.values, found.scores.classes))?;
    }
    let figures = Figures {
        endpoints: found.endpoints,
        ..Figures::new([found.figures, found.classes, found.groups].concat(), found.withheld)
    };
    recorder.write(&figures)?;
    world.print(&figures, || {
        let judged = found.non_inferiority.iter().map(told).collect::<String>();
        let shifted = figures.endpoints.iter().map(shifted).collect::<String>();
        format!("{}{shifted}{judged}", ui::figures(&figures))
    })?;
    Ok(Exit::of_several(found.non_inferiority.iter().map(|judged| match judged.decision {
        Decision::Pass => Exit::Pass,
        Decision::Fail => Exit::GateFailed,
        Decision::Inconclusive => Exit::Inconclusive,
    })))
}

/// What is evaluated.
struct Subject {
    model: PathBuf,
    data: PathBuf,
    spec: Option<Spec>,
    /// Nobody has named the spec.
    beside: bool,
}

impl Subject {
    fn of(args: &args::Evaluate) -> Result<Self, Failure> {
        let named = args.model.extension().is_some_and(|e| e == "toml");
        let spec = if named { Some(Spec::read(&args.model)?) } else { Self::beside(args) };
        let model = spec.as_ref().filter(|_| named).map_or(&args.model, |s| &s.model.path).clone();
        let test = spec.as_ref().and_then(|s| s.data.test.as_ref()).map(|p| p.path.clone());
        let data = args.data.clone().or(test).ok_or_else(|| {
            Failure::new(Code::BadConfig, format!("there are no samples to evaluate {} on", args.model.display()))
                .help("give them with --data, or name a spec whose [data] has `test`")
        })?;
        Ok(Self { model, data, spec, beside: !named })
    }

    /// A spec beside the model or the baseline that names one of them as its model; one that cannot be read is none.
    fn beside(args: &args::Evaluate) -> Option<Spec> {
        let files = || [Some(args.model.as_path()), args.baseline.as_deref()].into_iter().flatten();
        let spec_of = |file: &Path| Spec::read(&file.with_file_name("plimsoll.toml")).ok();
        let whole: Vec<PathBuf> = files().filter_map(|f| f.canonicalize().ok()).collect();
        let names_one = |spec: &Spec| spec.model.path.canonicalize().is_ok_and(|path| whole.contains(&path));
        files().filter_map(spec_of).find(names_one)
    }
}

/// The groups in which an endpoint shifts most.
fn shifted(endpoint: &EndpointShift) -> String {
    let seconds = |s: f64| ui::quantity(s, "s");
    let line = |g: &GroupShift| {
        let [model, baseline, shift] = [g.model, g.baseline, g.shift()].map(seconds);
        format!("group     {}  {}: {model}, by the baseline {baseline}, shift {shift}\n", g.group, endpoint.name)
    };
    endpoint.worst.iter().filter(|g| g.shift() != 0.0).map(line).collect()
}

/// What became of a margin.
fn told(judged: &NonInferiority) -> String {
    let unit = if judged.by_group { "groups" } else { "samples" };
    let (verdict, more) = match (judged.decision, judged.needed) {
        (Decision::Pass, _) => ("pass", String::new()),
        (Decision::Fail, _) => ("fail", String::new()),
        (Decision::Inconclusive, Some(n)) => ("inconclusive", format!("; about {n} {unit} would settle it")),
        (Decision::Inconclusive, None) => ("inconclusive", String::new()),
    };
    format!("{verdict}  {} within {}{more}\n", judged.metric, judged.margin)
}
