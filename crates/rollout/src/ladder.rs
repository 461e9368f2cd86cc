//! The steps from beta to everybody, and how many devices each may count on.

use plimsoll_profile::{Policy, RolloutMetric};

/// Days of a duration, rounded up.
pub(crate) fn days(seconds: f64) -> u64 {
    (seconds / 86_400.0).ceil() as u64
}

/// A step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rung {
    /// Its number: 0 is the beta.
    pub number: usize,
    /// The release channel.
    pub channel: &'static str,
    /// Share of that channel's devices.
    pub share: f64,
    /// Days that it lasts at least.
    pub soak: u64,
    /// Devices that must have reported, at least.
    pub min_devices: u64,
}

impl Rung {
    /// The share in hundredths of a per cent.
    pub fn percent_bp(&self) -> u16 {
        (self.share * 10_000.0).round() as u16
    }

    /// As people say it.
    pub fn name(&self) -> String {
        if self.number == 0 { "beta".into() } else { format!("{} %", f64::from(self.percent_bp()) / 100.0) }
    }
}

/// A policy's steps.
#[derive(Debug, Clone, Copy)]
pub struct Ladder<'p>(&'p Policy);

impl<'p> Ladder<'p> {
    /// Of a policy.
    pub fn new(policy: &'p Policy) -> Self {
        Self(policy)
    }

    /// Number of steps.
    pub fn len(&self) -> usize {
        self.0.stages.len() + 1
    }

    /// Never: there is a beta.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// A step; `None` beyond the last.
    pub fn rung(&self, number: usize) -> Option<Rung> {
        let (channel, stage) = match number.checked_sub(1) {
            None => ("beta", &self.0.beta),
            Some(general) => ("general", self.0.stages.get(general)?),
        };
        let min_devices = stage.min_devices.unwrap_or(0);
        Some(Rung { number, channel, share: stage.share, soak: days(stage.soak.0), min_devices })
    }

    /// Units of both arms that a step is planned to bring for a metric; `None` where the policy has no plan.
    pub(crate) fn planned(&self, rung: &Rung, metric: RolloutMetric) -> Option<[u64; 2]> {
        let (policy, plan) = (self.0, self.0.plan.as_ref()?);
        let fleet = if rung.number == 0 { plan.enrolled } else { plan.fleet } as f64 * policy.min_reporting;
        let fleet = if metric == RolloutMetric::Rating { fleet * plan.responding_bp as f64 / 1e4 } else { fleet };
        let treated = rung.share.min(1.0 - policy.holdback);
        Some([(fleet * treated) as u64, (fleet * policy.holdback) as u64])
    }
}
