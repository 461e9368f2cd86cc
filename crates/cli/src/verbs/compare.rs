//! Models on the same samples: the best first, and what may be said of each beside the one that has to be beaten.

use std::path::{Path, PathBuf};

use plimsoll_dataset::{Archive, Samples};
use plimsoll_gate::render::leaderboard;
use plimsoll_measure::{Contender, Evaluation, EvaluationOptions, compare, static_figures};
use plimsoll_onnx::Model;
use plimsoll_profile::{Bound, Metric, Spec};
use plimsoll_record::{Figure, Leaderboard, Place, Rank};

use crate::{
    args,
    exit::Exit,
    failure::{Failure, Named},
    manual::Code,
    ui,
    world::{self, World},
};

pub(crate) fn run(world: &World, args: &args::Compare) -> Result<Exit, Failure> {
    let mut entries = args.specs.iter().map(|path| Entry::read(path)).collect::<Result<Vec<_>, _>>()?;
    let baseline = incumbent(&mut entries)?;
    let metric = entries[baseline].spec.metric;
    if let Some(other) = entries.iter().find(|e| e.spec.metric != metric) {
        let message = format!(
            "{} is judged by {}, and {} by {}",
            other.path.display(),
            other.spec.metric.name(),
            entries[baseline].path.display(),
            metric.name()
        );
        return Err(Failure::new(Code::BadConfig, message).help("give all specs the same `metric` in [data]"));
    }
    if let Some(output) = &args.output {
        let files: Vec<&Path> = entries.iter().flat_map(|e| [e.path.as_path(), &e.spec.model.path]).collect();
        world::check_output(output, &files)?;
    }
    let board = played(world, &entries, baseline, metric)?;
    if let Some(output) = &args.output {
        world::write(output, leaderboard(&board).as_bytes())?;
    }
    world.print(&board, || text(&board))?;
    Ok(Exit::Pass)
}

/// A spec with what is compared.
struct Entry {
    path: PathBuf,
    spec: Spec,
    model: Model,
    data: Archive,
}

impl Entry {
    fn read(path: &Path) -> Result<Self, Failure> {
        let spec = Spec::read(path)?;
        let model = world::model(&spec.model.path)?;
        let Some(test) = &spec.data.test else {
            let message = format!("{} names no test data", path.display());
            return Err(Failure::new(Code::BadConfig, message).help("write `test` into its [data]"));
        };
        let data = world::archive(&test.path, &model)?;
        if data.label().is_none() {
            let message = format!("{}: there is no array `label`", test.path.display());
            return Err(Failure::new(Code::BadData, message).help("models are compared by classes: one label a sample"));
        }
        Ok(Self { path: path.into(), spec, model, data })
    }

    fn is(&self, path: &Path) -> bool {
        self.path == path || self.path.canonicalize().is_ok_and(|own| path.canonicalize().is_ok_and(|p| p == own))
    }

    /// The loss that the spec tolerates; without one, none.
    fn margin(&self, comparison: Metric) -> f64 {
        let limits = self.spec.margins.get(comparison).into_iter().flat_map(|b| &b.limits);
        limits.filter_map(|l| if let Bound::Max(most) = l.bound { Some(most) } else { None }).fold(0.0, f64::max)
    }
}

/// The entry that has to be beaten: the one that the specs name, which is added where nobody gave it; else the first.
fn incumbent(entries: &mut Vec<Entry>) -> Result<usize, Failure> {
    let mut named: Option<(PathBuf, usize)> = None;
    for (i, entry) in entries.iter().enumerate() {
        let Some(at) = &entry.spec.incumbent else { continue };
        match &named {
            Some((path, first)) if !same(path, &at.path) => {
                let message = format!(
                    "`{}` is to be beaten, but `{}` in {}",
                    at.written,
                    path.display(),
                    entries[*first].path.display()
                );
                return Err(entry.spec.path_error(at, message, "let all specs name the same baseline").into());
            }
            Some(_) => {}
            None if !at.path.is_file() => {
                let message = format!("`{}` does not exist", at.written);
                return Err(entry.spec.path_error(at, message, "paths are relative to the spec's folder").into());
            }
            None => named = Some((at.path.clone(), i)),
        }
    }
    let Some((path, _)) = named else { return Ok(0) };
    if let Some(at) = entries.iter().position(|e| e.is(&path)) {
        return Ok(at);
    }
    entries.push(Entry::read(&path)?);
    Ok(entries.len() - 1)
}

fn same(a: &Path, b: &Path) -> bool {
    a == b || a.canonicalize().is_ok_and(|a| b.canonicalize().is_ok_and(|b| a == b))
}

/// Runs every model once, and puts them in order.
fn played(world: &World, entries: &[Entry], baseline: usize, metric: Metric) -> Result<Leaderboard, Failure> {
    let name = format!("{}-drop", metric.name());
    let comparison = Metric::find(&name).ok_or_else(|| Failure::new(Code::Internal, format!("there is no {name}")))?;
    let contenders: Vec<Contender<'_>> = entries.iter().map(|e| Contender { model: &e.model, data: &e.data }).collect();
    let options: Vec<EvaluationOptions> = entries
        .iter()
        .map(|e| EvaluationOptions {
            metrics: vec![metric.name().into()],
            margins: vec![(name.clone(), e.margin(comparison))],
            threads: world.common.threads,
            ..EvaluationOptions::default()
        })
        .collect();
    let found = compare(world.executor()?, &contenders, baseline, &options)
        .or_else(|e| Err(*e.error).of_model(&entries[e.contender].spec.model.path))?;
    let places = entries.iter().zip(&found).enumerate().map(|(i, (entry, evaluation))| {
        place(entry, evaluation, i == baseline, metric.name(), entry.margin(comparison))
    });
    Ok(Leaderboard::new(metric.name(), places.collect::<Result<_, _>>()?))
}

fn place(entry: &Entry, found: &Evaluation, baseline: bool, metric: &str, margin: f64) -> Result<Place, Failure> {
    let figure = |name: &str| found.figures.iter().find(|f| f.metric == name).cloned();
    let Some(own) = figure(metric) else {
        let why = found.withheld.join("; ");
        return Err(Failure::new(Code::BadData, format!("{}: {why}", entry.path.display())));
    };
    let loss = figure(&format!("{metric}-drop"));
    let judged = found.non_inferiority.first();
    let (counted, _) = static_figures(&entry.model, Some(&entry.data)).of_model(&entry.spec.model.path)?;
    let count = |name: &str| counted.iter().find(|f| f.metric == name).map(|f| f.value as u64);
    let rank = if baseline { Rank::Baseline } else { Rank::of(loss.as_ref().and_then(|l| l.interval), margin) };
    Ok(Place {
        model: format!("{} {}", entry.spec.name.value, entry.spec.version.value),
        spec: entry.path.display().to_string(),
        rank,
        figure: own,
        loss,
        margin,
        needed: judged.filter(|_| rank == Rank::CannotTell).and_then(|j| j.needed),
        by_group: judged.is_some_and(|j| j.by_group),
        bytes: count("artifact-size").unwrap_or_default(),
        macs: count("macs"),
        params: count("params").unwrap_or_default(),
    })
}

fn text(board: &Leaderboard) -> String {
    let interval = |f: &Figure| {
        let points = |share: f64| format!("{:.2}", share * 100.0);
        f.interval.map_or_else(|| "–".into(), |[low, high]| format!("{} … {} pp", points(low), points(high)))
    };
    let row = |p: &Place| {
        let loss = p
            .loss
            .as_ref()
            .map_or_else(|| ["–".into(), "–".into()], |l| [format!("{:+.2} pp", l.value * 100.0), interval(l)]);
        let [drop, range] = loss;
        vec![
            p.model.clone(),
            format!("{:.4}", p.figure.value),
            drop,
            range,
            p.rank.words().into(),
            ui::bytes(p.bytes),
            p.macs.map_or_else(|| "–".into(), ui::count),
        ]
    };
    let drop = format!("{}-drop", board.metric);
    let header = ["model", &board.metric, &drop, "95 % interval", "beside the baseline", "bytes", "MACs"];
    let table = ui::table(&header, board.places.iter().map(row).collect());
    let missing = board.places.iter().filter_map(|p| {
        let unit = if p.by_group { "groups" } else { "samples" };
        let n = p.needed?;
        Some(format!("{}: about {n} {unit} would settle whether it is within {} pp\n", p.model, p.margin * 100.0))
    });
    format!("{table}\n{}", missing.collect::<String>())
}
