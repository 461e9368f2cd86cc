//! Endpoint metrics: what users feel of a record (the sleep of a night, the time until it begins), read off the predicted classes
//! of each group, and how far it shifts against the baseline.
//!
//! The samples of a group are taken in the order of the data, each for the same stretch of time. A group counts once, however
//! long it is: groups are what is independent.

use std::collections::BTreeMap;

use plimsoll_dataset::Samples;
use plimsoll_record::{EndpointShift, Figure, GroupShift, NeededGroups};
use plimsoll_stats::{
    Shifts,
    interval::{needed as needed_by_quantile, quantile},
};

use crate::{MeasureError, Scores, origin::Origin};

/// Groups that are told.
const WORST_GROUPS: usize = 5;
/// The percentile of absolute shifts.
const P95: f64 = 0.95;

/// An endpoint.
#[derive(Debug, Clone, PartialEq)]
pub struct Endpoint {
    /// Name in figures, `endpoint.NAME.shift.mean`.
    pub name: String,
    /// What is read off the predictions.
    pub of: EndpointOf,
    /// Number of the class.
    pub class: usize,
    /// The class as people call it.
    pub class_name: String,
    /// Seconds that one sample stands for; above zero.
    pub per: f64,
    /// Limits, in seconds, that it is said of how many groups would settle them.
    pub limits: Vec<(ShiftStatistic, f64)>,
}

/// What is read off the predicted classes of a group.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum EndpointOf {
    /// Time spent in the class.
    Total,
    /// Time from the first sample to the first run of the class that lasts.
    Onset {
        /// Seconds that it has to last; counted in whole samples, rounded up.
        lasting: f64,
    },
}

/// What is said of the shifts of all groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShiftStatistic {
    /// Mean of the signed shifts.
    Mean,
    /// 95th percentile of the absolute shifts.
    P95,
    /// The largest absolute shift.
    Max,
}

impl Endpoint {
    pub(crate) fn metric(&self, statistic: ShiftStatistic) -> String {
        let statistic = match statistic {
            ShiftStatistic::Mean => "mean",
            ShiftStatistic::P95 => "p95",
            ShiftStatistic::Max => "max",
        };
        format!("endpoint.{}.shift.{statistic}", self.name)
    }

    /// Samples that a run has to last.
    fn run(lasting: f64, per: f64) -> usize {
        // 300 s of 0.1 s are 3000 samples, not 3001 by a rounding.
        ((lasting / per - 1e-9).ceil() as usize).max(1)
    }

    fn what(&self) -> String {
        match self.of {
            EndpointOf::Total => format!("time spent in {}", self.class_name),
            EndpointOf::Onset { lasting } => {
                format!("time to the first {} samples of {} on end", Self::run(lasting, self.per), self.class_name)
            }
        }
    }

    /// Seconds, of the predicted classes of one group; `None` where it never comes.
    fn of_group(&self, predicted: &[usize]) -> Option<f64> {
        let hits = predicted.iter().map(|p| *p == self.class);
        match self.of {
            EndpointOf::Total => Some(hits.filter(|h| *h).count() as f64 * self.per),
            EndpointOf::Onset { lasting } => {
                let wanted = Self::run(lasting, self.per);
                let mut length = 0;
                for (i, hit) in hits.enumerate() {
                    length = if hit { length + 1 } else { 0 };
                    if length == wanted {
                        return Some((i + 1 - wanted) as f64 * self.per);
                    }
                }
                None
            }
        }
    }
}

/// The figures of an endpoint and its worst groups. Refused are data without groups, targets of a regression, and a class that the
/// model does not have.
pub(crate) fn shift(
    endpoint: &Endpoint,
    origin: &Origin,
    data: &dyn Samples,
    found: &Scores,
    reference: &Scores,
) -> Result<(Vec<Figure>, EndpointShift), MeasureError> {
    let of_endpoint = |reason| MeasureError::Endpoint { endpoint: endpoint.name.clone(), reason };
    let names = data
        .group()
        .ok_or_else(|| MeasureError::NoGroups { endpoint: endpoint.name.clone(), path: data.path().to_owned() })?;
    if data.target().is_some() {
        return Err(of_endpoint("the labels are targets of a regression, and there are no classes".into()));
    }
    if endpoint.class >= found.classes {
        let reason = format!("there is no class {}; the model has {} classes, from 0", endpoint.class, found.classes);
        return Err(of_endpoint(reason));
    }
    let mut never = [Vec::new(), Vec::new()];
    let mut values = Vec::new();
    let predictions = [found.predicted(), reference.predicted()];
    for (group, members) in in_order(names) {
        let mut of_model = |which: usize| {
            let predicted: Vec<usize> = members.iter().map(|&i| predictions[which][i]).collect();
            endpoint.of_group(&predicted).unwrap_or_else(|| {
                never[which].push(group);
                members.len() as f64 * endpoint.per
            })
        };
        let (model, baseline) = (of_model(0), of_model(1));
        values.push(GroupShift { group, model, baseline });
    }
    let shifts = Shifts::new(values.iter().map(GroupShift::shift).collect(), endpoint.per);
    let figures = figures(&shifts, endpoint, origin)?;
    let needed = |&(statistic, limit): &(ShiftStatistic, f64)| NeededGroups {
        metric: endpoint.metric(statistic),
        limit,
        groups: settled_by(&shifts, statistic, limit),
    };
    let needed = endpoint.limits.iter().filter(|(s, _)| *s != ShiftStatistic::Max).map(needed).collect();
    let groups = values.len() as u64;
    // Stable: of groups that shift alike the first comes first.
    values.sort_by(|a, b| b.shift().abs().total_cmp(&a.shift().abs()));
    values.truncate(WORST_GROUPS);
    let [never_in_model, never_in_baseline] = never;
    let (name, what) = (endpoint.name.clone(), endpoint.what());
    Ok((figures, EndpointShift { name, what, groups, worst: values, never_in_model, never_in_baseline, needed }))
}

/// Groups in the order of their first samples, each with the positions of its samples.
fn in_order(names: &[i64]) -> Vec<(i64, Vec<usize>)> {
    let mut numbers = BTreeMap::new();
    let mut groups: Vec<(i64, Vec<usize>)> = Vec::new();
    for (sample, &name) in names.iter().enumerate() {
        let number = *numbers.entry(name).or_insert(groups.len());
        if number == groups.len() {
            groups.push((name, Vec::new()));
        }
        groups[number].1.push(sample);
    }
    groups
}

/// The figures of all groups' shifts.
fn figures(shifts: &Shifts, endpoint: &Endpoint, origin: &Origin) -> Result<Vec<Figure>, MeasureError> {
    let n = shifts.len();
    let figure = |statistic, value, interval: Option<[f64; 2]>, how: String| {
        let method = format!("{}, model less baseline; {how}", endpoint.what());
        origin.figure(&endpoint.metric(statistic), "s", n, value, interval, method)
    };
    if origin.is_beside_itself() {
        // Nothing can shift, however few groups there are.
        let none = |statistic, interval| figure(statistic, 0.0, interval, "the baseline is the model itself".into());
        let [mean, p95] = [ShiftStatistic::Mean, ShiftStatistic::P95].map(|s| none(s, Some([0.0; 2])));
        return Ok(vec![mean?, p95?, none(ShiftStatistic::Max, None)?]);
    }
    let of_mean = shifts.mean_interval();
    let how = match &of_mean {
        Ok(_) => format!("mean of {n} groups; Student t and bootstrap-t over groups, the wider"),
        Err(why) => format!("mean of {n} groups; no interval: {why}"),
    };
    let mean = figure(ShiftStatistic::Mean, shifts.mean(), of_mean.ok(), how)?;
    let (value, of_p95) = quantile(shifts.sizes(), P95);
    let how = match of_p95 {
        Some(_) => {
            format!("95th percentile of the absolute shifts of {n} groups; order statistics (binomial, interpolated)")
        }
        None => format!(
            "95th percentile of the absolute shifts; no interval: {n} groups are too few, {} are needed",
            needed_by_quantile(P95)
        ),
    };
    let p95 = figure(ShiftStatistic::P95, value, of_p95, how)?;
    let largest = shifts.sizes().last().copied().unwrap_or(0.0);
    let how = format!("largest absolute shift of these {n} groups; it says nothing of others");
    Ok(vec![mean, p95, figure(ShiftStatistic::Max, largest, None, how)?])
}

/// Groups with which an interval would lie on one side of a limit in four of five cases, if shifts are as observed.
fn settled_by(shifts: &Shifts, statistic: ShiftStatistic, limit: f64) -> Option<u64> {
    match statistic {
        ShiftStatistic::Mean => shifts.mean_settled_by(limit),
        ShiftStatistic::P95 => shifts.quantile_settled_by(P95, limit),
        ShiftStatistic::Max => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn onset(lasting: f64) -> Endpoint {
        Endpoint {
            name: "onset".into(),
            of: EndpointOf::Onset { lasting },
            class: 1,
            class_name: "sleep".into(),
            per: 30.0,
            limits: vec![],
        }
    }

    #[test]
    fn a_run_that_is_too_short_or_broken_off_is_no_onset() {
        let check = |lasting, predicted: &[usize], expected| assert_eq!(onset(lasting).of_group(predicted), expected);
        check(90.0, &[0, 1, 1, 0, 1, 1, 1, 0], Some(120.0));
        check(90.0, &[1, 1, 1], Some(0.0));
        check(90.0, &[1, 1, 0, 1, 1], None);
        // 61 s are not lasted by two samples of 30 s; a shorter one than a sample is one sample.
        check(61.0, &[1, 1, 0, 1, 1, 1], Some(90.0));
        check(1.0, &[0, 1], Some(30.0));
        check(30.0, &[], None);
    }

    #[test]
    fn whole_samples_are_not_rounded_up() {
        assert_eq!(Endpoint::run(300.0, 0.1), 3000);
        assert_eq!(Endpoint::run(300.0, 30.0), 10);
    }

    #[test]
    fn groups_keep_the_order_of_the_data_even_where_they_are_interleaved() {
        assert_eq!(in_order(&[7, 3, 7, 5, 3]), [(7, vec![0, 2]), (3, vec![1, 4]), (5, vec![3])]);
    }
}
