//! Estimates and losses become figures, each with its interval or the reason why it has none.

use plimsoll_dataset::Samples;
use plimsoll_record::{EndpointShift, Figure};
use plimsoll_stats::{Decision, Estimate, FEW_SAMPLES, Groups, Loss, NoInterval, metrics::Confusion};

use super::{Evaluation, EvaluationOptions, NonInferiority};
use crate::{MeasureError, Scores, endpoints, metrics::NAMED_ONLY, origin::Origin};

/// Of every interval; a margin is passed with a one-sided error of half of what is left.
const LEVEL: f64 = 0.95;

pub(super) struct Judge<'o> {
    origin: Origin,
    pub(super) groups: Option<&'o Groups>,
    options: &'o EvaluationOptions,
    figures: Vec<Figure>,
    pub(super) of_classes: Vec<Figure>,
    pub(super) of_groups: Vec<Figure>,
    withheld: Vec<String>,
    non_inferiority: Vec<NonInferiority>,
    endpoints: Vec<EndpointShift>,
}

impl<'o> Judge<'o> {
    pub(super) fn new(origin: Origin, groups: Option<&'o Groups>, options: &'o EvaluationOptions) -> Self {
        Self {
            origin,
            groups,
            options,
            figures: vec![],
            of_classes: vec![],
            of_groups: vec![],
            withheld: vec![],
            non_inferiority: vec![],
            endpoints: vec![],
        }
    }

    pub(super) fn into_evaluation(self, confusion: Option<Confusion>, scores: Scores) -> Evaluation {
        Evaluation {
            figures: self.figures,
            withheld: self.withheld,
            confusion,
            classes: self.of_classes,
            groups: self.of_groups,
            non_inferiority: self.non_inferiority,
            endpoints: self.endpoints,
            scores,
        }
    }

    pub(super) fn is_named(&self, metric: &str) -> bool {
        self.options.metrics.iter().chain(&self.options.besides).any(|m| m == metric)
    }

    /// Whether every metric that applies is wanted, and where the model is worst as well.
    pub(super) fn wants_all(&self) -> bool {
        self.options.metrics.is_empty()
    }

    pub(super) fn wants(&self, metric: &str) -> bool {
        let margin = self.options.margins.iter().any(|(m, _)| m == metric);
        let unasked = self.wants_all() && !NAMED_ONLY.contains(&metric);
        unasked || margin || self.is_named(metric)
    }

    pub(super) fn withhold(&mut self, metric: &str, why: &str) {
        let line = format!("{metric}: {why}");
        if self.wants(metric) && !self.withheld.contains(&line) {
            self.withheld.push(line);
        }
    }

    pub(super) fn withhold_if_named(&mut self, metric: &str, why: &str) {
        if !self.wants_all() || self.is_named(metric) || self.options.margins.iter().any(|(m, _)| m == metric) {
            self.withhold(metric, why);
        }
    }

    /// Adds a metric; `why` says what is missing where it has no value.
    pub(super) fn add(
        &mut self,
        metric: &str,
        unit: &str,
        estimate: Option<Estimate>,
        what: &str,
        why: &str,
    ) -> Result<(), MeasureError> {
        match estimate {
            None => self.withhold(metric, why),
            Some(estimate) if self.wants(metric) => {
                let figure = self.figure(metric, unit, &estimate, what)?;
                self.figures.push(figure);
            }
            Some(_) => {}
        }
        Ok(())
    }

    /// The figure of an estimate, with its interval.
    pub(super) fn figure(
        &self,
        metric: &str,
        unit: &str,
        estimate: &Estimate,
        what: &str,
    ) -> Result<Figure, MeasureError> {
        let (interval, how) = self.told(estimate.interval(self.groups, LEVEL), estimate.rests_on());
        self.origin.figure(metric, unit, estimate.samples(), estimate.value(), interval, format!("{what}; {how}"))
    }

    /// The figure of an estimate of samples of which it is not known how independent they are.
    pub(super) fn bare(
        &self,
        metric: &str,
        unit: &str,
        estimate: &Estimate,
        what: &str,
    ) -> Result<Figure, MeasureError> {
        self.origin.figure(metric, unit, estimate.samples(), estimate.value(), None, what)
    }

    /// Adds how much worse the model is, and whether that is within the margin.
    pub(super) fn add_loss(
        &mut self,
        metric: &str,
        unit: &str,
        loss: Option<Loss>,
        what: &str,
    ) -> Result<(), MeasureError> {
        let Some(loss) = loss.filter(|_| self.wants(metric)) else { return Ok(()) };
        let (interval, mut how) = self.told(loss.interval(self.groups, LEVEL), loss.rests_on());
        let margins: Vec<f64> = self.options.margins.iter().filter(|(m, _)| m == metric).map(|m| m.1).collect();
        for margin in margins {
            let judged = loss.within(margin, self.groups, LEVEL);
            let (decision, needed) = judged.map_or((Decision::Inconclusive, None), |j| (j.decision, j.needed));
            how += &told_verdict(margin, decision, needed, self.groups.is_some());
            let by_group = self.groups.is_some();
            self.non_inferiority.push(NonInferiority { metric: metric.into(), margin, decision, needed, by_group });
        }
        let figure =
            self.origin.figure(metric, unit, loss.samples(), loss.value(), interval, format!("{what}; {how}"))?;
        self.figures.push(figure);
        Ok(())
    }

    /// Adds the endpoints that were asked for.
    pub(super) fn add_endpoints(
        &mut self,
        data: &dyn Samples,
        found: &Scores,
        reference: Option<&Scores>,
    ) -> Result<(), MeasureError> {
        for endpoint in &self.options.endpoints {
            let Some(reference) = reference else {
                let metrics = endpoint.limits.iter().map(|(statistic, _)| endpoint.metric(*statistic));
                self.withheld.extend(metrics.map(|metric| format!("{metric}: there is no baseline")));
                continue;
            };
            let (figures, shift) = endpoints::shift(endpoint, &self.origin, data, found, reference)?;
            self.figures.extend(figures);
            self.endpoints.push(shift);
        }
        Ok(())
    }

    /// An interval, and in words what it is of; `rests_on` says on how many samples.
    fn told(&self, interval: Result<[f64; 2], NoInterval>, rests_on: f64) -> (Option<[f64; 2]>, String) {
        let few = match rests_on {
            few if few < FEW_SAMPLES => format!(", which rests on about {few:.0} samples"),
            _ => String::new(),
        };
        match (interval, self.groups) {
            (Ok(interval), None) => (Some(interval), format!("interval of independent samples{few}")),
            (Ok(interval), Some(groups)) => {
                (Some(interval), format!("interval of {} groups (cluster-robust, Student t){few}", groups.len()))
            }
            (Err(why), _) => (None, format!("no interval: {why}")),
        }
    }
}

fn told_verdict(margin: f64, decision: Decision, needed: Option<u64>, by_group: bool) -> String {
    let unit = if by_group { "groups" } else { "samples" };
    match (decision, needed) {
        (Decision::Pass, _) => format!("; non-inferior within {margin}"),
        (Decision::Fail, _) => format!("; worse by more than {margin}"),
        (Decision::Inconclusive, Some(n)) => {
            format!(
                "; within {margin} or not is inconclusive: about {n} {unit} would settle it if the difference is as observed"
            )
        }
        (Decision::Inconclusive, None) => format!("; within {margin} or not is inconclusive"),
    }
}
