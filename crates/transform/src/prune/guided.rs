//! Choosing by what the original does on samples, and repairing what is left. Puts scores, allocation, search and repairs together;
//! knows none of their numbers.

use std::collections::BTreeMap;

use plimsoll_cost::macs;
use plimsoll_onnx::{Model, NodeId, View, shape::infer};

use super::{
    PruneOptions,
    allocate::{Allocator, POINTS},
    choose::{self, Chosen},
    distill::{Pruned, distill},
    fold::Fold,
    groups::{Group, Groups},
    layers::{Layer, layers},
    magnitude,
    meter::{Allocation, Meter, Repair, Score, Target, sizes},
    observed::{Moments, Observed},
    orders::{Order, orders},
    refit::refit,
    removal::{apply, remove},
    search::Search,
    structured::Choices,
};
use crate::{
    Context, Refusal,
    observe::{Reference, Runs, held},
};

/// Multiply-accumulates that allocation and search may take: under a minute on one core.
const EFFORT: f64 = 5.4e11;
/// What running the model takes beyond its multiply-accumulates, a sample, expressed in these.
const OVERHEAD: f64 = 2e6;
/// The least samples that allocation and search judge by, where there are so many.
const FEWEST: usize = 48;
/// The most other counts that the search tries.
const TRIES: usize = 64;
/// How often a model is run where it is refitted and judged.
const RUNS: f64 = 2.5;
/// The share of the effort that goes into the curves.
const FOR_CURVES: f64 = 0.45;

/// How many samples the curves and the search take, and how many counts are tried.
struct Effort {
    curves: usize,
    samples: usize,
    tries: usize,
}

impl Effort {
    /// For a model of so many multiply-accumulates, whose refit takes `fit` more, and so many groups.
    fn of(macs: u64, fit: f64, groups: usize, samples: usize) -> Self {
        let each = RUNS * (macs as f64 + OVERHEAD);
        // The samples on which so many models can be fitted and judged.
        let afforded = |effort: f64, models: f64| {
            let most = (effort / models - fit) / each;
            (most.max(0.0) as usize).clamp(FEWEST.min(samples), samples)
        };
        // A point of a curve is judged on one half alone.
        let points = (groups * POINTS.len()) as f64 / 2.0;
        let curves = afforded(FOR_CURVES * EFFORT, points);
        // As many tries as there are groups, or fewer samples.
        let left = EFFORT - points * (each * curves as f64 + fit);
        let samples = afforded(left, groups as f64);
        let tries = left / (each * samples as f64 + fit);
        Self { curves, samples, tries: (tries.max(0.0) as usize).min(TRIES) }
    }
}

/// Channels that go, and the repaired model; none where nothing is repaired.
pub(super) fn choose(
    options: &PruneOptions,
    choices: &Choices,
    meter: &Meter<'_, '_>,
    context: &Context<'_>,
    reasons: &mut Vec<String>,
) -> Result<(Chosen, Option<Model>), Refusal> {
    let (model, groups) = (meter.model, meter.groups);
    let view = model.view();
    let layers = layers(model, groups, &sizes(model, context))?;
    let runs = Runs::of(model, context, options.samples)?;
    let samples = runs.len() * runs.batch;
    // Hundreds of models are loaded, one after the other.
    let _processes = held(context, &runs);
    let observed = Observed::of(model, context, &layers, runs.clone())?;
    let wanted = choices.score != Score::Magnitude || choices.allocation >= Allocation::Sensitivity;
    let moments: BTreeMap<NodeId, Moments> = if wanted { observed.moments(&view)? } else { BTreeMap::new() };
    let ranked = ranked(&view, groups, &layers, &moments, choices.score)?;
    let simple = |allocation| -> Result<Chosen, Refusal> {
        // Losses of later channels hold what earlier ones cost: never below these.
        let scores = ranked.iter().flat_map(|order| {
            order.iter().scan(0f64, |most, (c, loss)| {
                *most = most.max(*loss);
                Some((*c, *most))
            })
        });
        let order = magnitude::order(groups, &scores.collect(), allocation, options.least_channels);
        choose::choose(meter, &order, context)
    };
    let chosen = if choices.allocation < Allocation::Sensitivity || groups.groups.len() < 2 {
        simple(choices.allocation)?
    } else {
        let limited = |order: &Order| magnitude::limited(groups, order.iter().map(|(c, _)| *c), options.least_channels);
        let lists: Vec<Vec<usize>> = ranked.iter().map(limited).collect();
        let macs = macs(model, &infer(model, &sizes(model, context)));
        let fit: f64 = layers.iter().map(|l| (l.width * l.width / l.groups.max(1)) as f64).sum();
        // Each half of the samples is fitted to as many rows as all of them.
        let fit = 2.0 * fit * (observed.each * runs.len()) as f64;
        let effort = Effort::of(macs, fit, groups.groups.len(), samples);
        let halves = |samples: usize| runs.clone().thinned((samples / runs.batch.max(1)).max(1)).held_back(2);
        let fold = |runs| Fold::of(model, context, &layers, runs);
        let allocator = Allocator { meter, lists };
        let (a, b) = halves(effort.curves);
        let curves = allocator.curves(&fold([a, b])?, context.progress)?;
        let first = choose::choose(meter, &allocator.sequence(&curves)?, context)?;
        // Other counts would have to be timed one by one, or are too few.
        let settled = matches!(meter.target, Target::Latency(_)) || meter.round_to.is_some();
        if choices.allocation == Allocation::Sensitivity || settled {
            first
        } else {
            let starts = [first, simple(Allocation::Uniform)?];
            let (a, b) = halves(effort.samples);
            let folds = [fold([a.clone(), b.clone()])?, fold([b, a])?];
            let search = Search::new(&allocator, &folds, &curves);
            let found = search.run(starts, effort.tries, context.seed, context.progress)?;
            let [before, after] = found.damage;
            reasons.push(format!(
                "{} numbers of channels tried on {} samples: divergence of the outputs {before:.4} → {after:.4}",
                found.tried, effort.samples
            ));
            found.chosen
        }
    };
    if choices.repair == Repair::None {
        return Ok((chosen, None));
    }
    let repaired = repaired(options, choices, &observed, groups, &chosen, reasons)?;
    Ok((chosen, Some(repaired)))
}

/// The pruned model after the repair, or as it was where that does not help.
fn repaired(
    options: &PruneOptions,
    choices: &Choices,
    observed: &Observed<'_, '_>,
    groups: &Groups<'_>,
    chosen: &Chosen,
    reasons: &mut Vec<String>,
) -> Result<Model, Refusal> {
    let (model, context) = (observed.model, observed.context);
    let reference = Reference::of(model, context, options.samples)?;
    let mut pruned = model.clone();
    apply(remove(model, groups, &chosen.channels)?, &mut pruned)?;
    let before = reference.damage(&pruned)?.0.cost();
    let (fitted, count) = refit(observed, groups, &chosen.channels, pruned.clone())?;
    let after = reference.damage(&fitted)?.0.cost();
    reasons.push(if after < before {
        format!("{count} layers refitted by least squares: divergence of the outputs {before:.4} → {after:.4}")
    } else {
        format!("not refitted: least squares does not help: divergence of the outputs {before:.4} → {after:.4}")
    });
    let (fitted, helps) = if after < before { (fitted, true) } else { (pruned.clone(), false) };
    if choices.repair != Repair::Distill {
        return Ok(fitted);
    }
    let refitted = |runs: Runs<'_>| -> Result<Model, Refusal> {
        if !helps {
            return Ok(pruned.clone());
        }
        let observed = Observed::of(model, context, observed.layers, runs)?;
        Ok(refit(&observed, groups, &chosen.channels, pruned.clone())?.0)
    };
    let macs = [model, &fitted].map(|m| macs(m, &infer(m, &sizes(m, context))));
    let gone = |label: &usize| chosen.channels.contains(&groups.labels.root(*label));
    let left = |labels: &Vec<usize>| (0..labels.len()).filter(|i| !gone(&labels[*i])).collect();
    let kept = groups.tracked.iter().map(|(value, labels)| ((*value).to_owned(), left(labels))).collect();
    let found = distill(&Pruned { original: model, model: &fitted, kept, macs }, refitted, context, options.samples)?;
    let ([before, after], error) = (found.held, found.error);
    let own = found.own.map(|[was, is]| format!("; without other views of them {was:.4} → {is:.4}"));
    let far = format!(
        "divergence on samples held back {before:.4} → {after:.4}, standard error {error:.4}{}",
        own.unwrap_or_default()
    );
    reasons.push(match found.model {
        Some(_) => format!("distilled: {far}"),
        None => format!("not distilled: training does not clearly bring the outputs nearer: {far}"),
    });
    Ok(found.model.unwrap_or(fitted))
}

/// The order of each group by a score; by magnitude where no consumer of it has moments.
fn ranked(
    view: &View<'_>,
    groups: &Groups<'_>,
    layers: &[Layer<'_>],
    moments: &BTreeMap<NodeId, Moments>,
    score: Score,
) -> Result<Vec<Order>, Refusal> {
    let plain = magnitude::scores(view, groups)?;
    let by_norm = |group: &Group| {
        let mut order: Order = group.channels.iter().map(|c| (*c, plain.get(c).copied().unwrap_or(f64::MAX))).collect();
        order.sort_by(|a, b| a.1.total_cmp(&b.1).then(a.0.cmp(&b.0)));
        order
    };
    let found = if score == Score::Magnitude { vec![] } else { orders(groups, layers, moments, score) };
    let mut found = found.into_iter();
    Ok(groups.groups.iter().map(|g| found.next().flatten().unwrap_or_else(|| by_norm(g))).collect())
}
