//! What devices of a stage show besides the policy's metrics: nobody has to name it to see it, and nothing follows from it.

use plimsoll_profile::RolloutMetric;
use plimsoll_record::{ArmFigure, Observed};

use crate::{
    error::RolloutError,
    metrics,
    store::{Histogram, StageQuery, Store},
};

const MICROSECONDS: f64 = 1e6;

/// Latency, energy and drift of a stage. Arms of fewer than `min_cell` devices are not shown, and what neither arm shows is left out.
pub fn observed(store: &Store, query: &StageQuery, min_cell: u64) -> Result<Vec<Observed>, RolloutError> {
    let evidence = store.evidence(query)?.evidence;
    let latency = store.latency(query)?;
    let enough = |arm: &ArmFigure| arm.units >= min_cell.max(1);
    let below = |(devices, times): (u64, Histogram), share: f64| {
        Some(ArmFigure { value: times.below(share)? as f64 / MICROSECONDS, units: devices })
    };
    let quantiles = [("latency.p50", 0.5), ("latency.p99", 0.99)].map(|(name, share)| {
        let [treatment, holdback] = latency.map(|arm| below(arm, share).filter(enough));
        Observed { name: name.into(), unit: "seconds".into(), treatment, holdback }
    });
    let means = [RolloutMetric::Energy, RolloutMetric::InputDrift, RolloutMetric::OutputDrift].map(|metric| {
        let [treatment, holdback] =
            [&evidence.treatment, &evidence.holdback].map(|arm| metrics::mean(arm, metric).filter(enough));
        Observed { name: metric.name().into(), unit: "share".into(), treatment, holdback }
    });
    Ok(quantiles.into_iter().chain(means).filter(|o| o.treatment.is_some() || o.holdback.is_some()).collect())
}
