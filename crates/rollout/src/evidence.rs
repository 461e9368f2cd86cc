//! What two arms showed, summed over their devices.

use plimsoll_stats::anytime::{betting::Bounded, proportion::Events};

use crate::{
    moments::Moments,
    outcome::{Cohort, Outcome},
};

/// Sums over the devices of one arm.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Arm {
    pub(crate) devices: u64,
    pub(crate) over_budget: Moments,
    pub(crate) missing: Moments,
    pub(crate) crashed: Events,
    pub(crate) agreement: Bounded,
    pub(crate) ratings: Bounded,
    /// In parts of [`MOST_ENERGY`].
    pub(crate) energy: Moments,
    pub(crate) input_drift: Moments,
    pub(crate) output_drift: Moments,
    pub(crate) crash_loops: Events,
    pub(crate) signature_failures: Events,
}

/// An inference that takes more than so many times the energy that it took before counts as one that takes so much.
pub(crate) const MOST_ENERGY: f64 = 4.0;

impl Arm {
    /// Devices that reported.
    pub fn devices(&self) -> u64 {
        self.devices
    }

    fn take(&mut self, o: &Outcome, span: Span) {
        let share = |part: u64, of: u64| (of > 0).then(|| part as f64 / of as f64);
        let mean = |[sum, n]: [u64; 2]| share(sum, n);
        let absent = |days: u64, of: u64| share(of.saturating_sub(days), of);
        self.devices += 1;
        self.crashed.units += 1;
        self.crashed.events += u64::from(o.crashes > 0);
        for (events, count) in
            [(&mut self.crash_loops, o.crash_loops), (&mut self.signature_failures, o.signature_failures)]
        {
            events.units += 1;
            events.events += u64::from(count > 0);
        }
        if let (Some(energy), Some(before)) = (mean(o.energy), mean(o.pre_energy).filter(|e| *e > 0.0)) {
            self.energy.push(energy / before / MOST_ENERGY, None);
        }
        for (moments, drift) in [(&mut self.input_drift, o.input_drift), (&mut self.output_drift, o.output_drift)] {
            if let Some(drift) = mean(drift) {
                moments.push(drift / 1e6, None);
            }
        }
        if let Some(over) = share(o.over_budget, o.inferences) {
            self.over_budget.push(over, share(o.pre_over_budget, o.pre_inferences));
        }
        if let Some(missing) = absent(o.days, span.days) {
            // A device that was not there before has no habit to be compared with.
            let before = (o.pre_days > 0).then(|| absent(o.pre_days, span.pre_days)).flatten();
            self.missing.push(missing, before);
        }
        if let Some(agreed) = share(o.shadow_agreed, o.shadow_runs) {
            self.agreement.push(agreed);
        }
        for (points, users) in (0_u8..).zip(o.ratings) {
            (0..users).for_each(|_| self.ratings.push(f64::from(points) / 4.0));
        }
    }
}

/// Days that outcomes are counted over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Of the stage, so far.
    pub days: u64,
    /// Before the release.
    pub pre_days: u64,
}

/// What both arms showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    span: Span,
    pub(crate) treatment: Arm,
    pub(crate) holdback: Arm,
    pub(crate) both: u64,
    pub(crate) silent: u64,
}

impl Evidence {
    /// Of nothing, over a span.
    pub fn new(span: Span) -> Self {
        Self { span, treatment: Arm::default(), holdback: Arm::default(), both: 0, silent: 0 }
    }

    /// Counts a device.
    pub fn take(&mut self, outcome: &Outcome) {
        match outcome.cohort {
            Cohort::Treatment => self.treatment.take(outcome, self.span),
            Cohort::Holdback => self.holdback.take(outcome, self.span),
            Cohort::Both => self.both += 1,
            Cohort::Silent => self.silent += 1,
            Cohort::Neither => {}
        }
    }

    /// Devices with the release.
    pub fn treatment(&self) -> &Arm {
        &self.treatment
    }

    /// Devices kept from it.
    pub fn holdback(&self) -> &Arm {
        &self.holdback
    }

    /// Devices that reported as one and as the other, and those that ceased to report.
    pub fn left_out(&self) -> [u64; 2] {
        [self.both, self.silent]
    }
}
