//! Figures that are worked out of a model's own with the facts of a profile: estimates of time and energy, what a battery and a flash
//! hold, instances and what they cost.
//!
//! What rests on a measured time keeps its executor, machine and interval, so that the gate holds it to the same conditions: from another
//! kind of machine it settles nothing. The method of each figure is its calculation.

pub(crate) mod device;
pub(crate) mod estimate;
pub(crate) mod server;

use plimsoll_profile::{Metric, Profile, Unit};
use plimsoll_record::{Figure, TakenOver};

use crate::Assessed;

/// What a profile's facts make of a model's figures.
#[derive(Debug, Default)]
pub(crate) struct Derived {
    /// Of the model, from counts and times of this run.
    pub(crate) figures: Vec<Figure>,
    /// Of the model, from times of verified evidence.
    pub(crate) taken_over: Vec<TakenOver>,
    /// Of the baseline, from its counts.
    pub(crate) baseline: Vec<Figure>,
    /// What could not be worked out, as `metric: reason`.
    pub(crate) withheld: Vec<String>,
}

/// A measured time of one inference, with what goes with it.
#[derive(Clone, Copy)]
pub(crate) struct Time<'t> {
    /// `latency.mean`.
    pub(crate) mean: &'t Figure,
    /// `latency.cv` of the same runs.
    pub(crate) variation: Option<&'t Figure>,
    /// `peak-rss` of the same process.
    pub(crate) memory: Option<&'t Figure>,
}

impl<'t> Time<'t> {
    /// The times among some figures; a model may have been run in several executors.
    pub(crate) fn among(figures: impl Iterator<Item = &'t Figure> + Clone) -> Vec<Self> {
        let beside = |mean: &Figure, metric: &str| {
            let alike = |f: &&Figure| {
                f.metric == metric
                    && (&f.executor, &f.machine, &f.model_digest) == (&mean.executor, &mean.machine, &mean.model_digest)
            };
            figures.clone().find(alike)
        };
        let of = |mean: &'t Figure| Self {
            mean,
            variation: beside(mean, Metric::LatencyCv.figure()),
            memory: beside(mean, Metric::PeakMemory.figure()),
        };
        figures.clone().filter(|f| f.metric == Metric::LatencyMean.figure()).map(of).collect()
    }

    /// A figure that is worked out of it: the value, and those of the ends of the intervals, in whatever order.
    pub(crate) fn figure(self, metric: Metric, value: f64, ends: Option<[f64; 2]>, method: String) -> Option<Figure> {
        let interval = ends.map(|[a, b]| [a.min(b).min(value), a.max(b).max(value)]);
        let figure = Figure {
            metric: metric.name().into(),
            value,
            unit: metric.unit().name().into(),
            interval,
            method,
            ..self.mean.clone()
        };
        figure.checked().ok()
    }
}

/// A figure that is worked out of a count: exact, or an estimate.
pub(crate) fn counted(of: &Figure, metric: Metric, value: f64, method: String) -> Option<Figure> {
    let unit = metric.unit().name().into();
    Figure { metric: metric.name().into(), value, unit, method, ..of.clone() }.checked().ok()
}

/// Everything that a profile's facts say of a model.
pub(crate) fn derive(profile: &Profile, assessed: &Assessed) -> Derived {
    let mut derived = Derived::default();
    let counts = |figures: &[Figure]| {
        let mut found = estimate::estimates(profile, figures);
        found.extend(device::flash(profile, figures));
        found.extend(server::stored_and_sent(profile, figures));
        found
    };
    derived.figures = counts(&assessed.figures);
    derived.baseline = counts(&assessed.baseline);
    // What was measured here says nothing of where neither executor runs.
    if profile.executor.is_none() {
        return derived;
    }
    let of_time = |time: Time<'_>, withheld: &mut Vec<String>| {
        let mut found = device::of_time(profile, time);
        match server::of_time(profile, time, &assessed.figures) {
            Ok(figures) => found.extend(figures),
            Err(why) => {
                let rests = |m: &&Metric| m.rests_on().is_some();
                withheld.extend(Metric::ALL.iter().filter(rests).map(|m| format!("{m}: {why}")));
            }
        }
        found
    };
    for time in Time::among(assessed.figures.iter()) {
        let found = of_time(time, &mut derived.withheld);
        derived.figures.extend(found);
    }
    for over in &assessed.taken_over {
        let same = assessed.taken_over.iter().filter(|t| t.source == over.source).map(|t| &t.figure);
        for time in Time::among(same).into_iter().filter(|t| std::ptr::eq(t.mean, &over.figure)) {
            let found = of_time(time, &mut derived.withheld);
            derived
                .taken_over
                .extend(found.into_iter().map(|figure| TakenOver { figure, source: over.source.clone() }));
        }
    }
    derived
}

/// A time of a method's text.
pub(crate) fn time(seconds: f64) -> String {
    Unit::Seconds.show(seconds, None)
}

/// A number of a method's text, in as many digits as tell something.
pub(crate) fn plain(value: f64) -> String {
    if value == 0.0 || value.fract() == 0.0 && value.abs() < 1e15 {
        return grouped(value);
    }
    let digits = (3.0 - value.abs().log10().floor()).clamp(0.0, 12.0) as usize;
    let text = format!("{value:.digits$}");
    if digits == 0 { grouped(value.round()) } else { text.trim_end_matches('0').trim_end_matches('.').to_owned() }
}

/// A whole number with its thousands apart.
fn grouped(value: f64) -> String {
    let text = format!("{value:.0}");
    let (sign, digits) = text.split_at(usize::from(text.starts_with('-')));
    let mut apart = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i) % 3 == 0 {
            apart.push(',');
        }
        apart.push(c);
    }
    format!("{sign}{apart}")
}

#[cfg(test)]
mod page;
#[cfg(test)]
mod tests;
