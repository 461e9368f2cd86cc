//! What serving a load takes and costs in a month: plain arithmetic on stated facts. It must not know how a service time was found.

use crate::queue::{Patience, Station};

/// Seconds of a day.
pub const DAY: f64 = 86_400.0;
/// Hours of a month as clouds bill it: 365 × 24 / 12.
pub const HOURS_A_MONTH: f64 = 730.0;
/// Days of such a month.
pub const DAYS_A_MONTH: f64 = 365.0 / 12.0;
/// Bytes that prices call a gigabyte.
pub const GIGABYTE: f64 = 1e9;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Load {
    /// Calls a day.
    pub calls_a_day: f64,
    /// The busiest second over the mean one.
    pub peak_to_mean: f64,
}

impl Load {
    /// Calls of the busiest second.
    pub fn peak(&self) -> f64 {
        self.calls_a_day / DAY * self.peak_to_mean
    }
}

/// What an instance may be asked for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// Share of its time that may be used, below 1.
    pub ceiling: f64,
    /// How long calls may wait.
    pub patience: Option<Patience>,
}

/// Instances that carry a load: each is a station of its own, and whoever spreads the calls knows nothing of their queues (a random or
/// hashed spread, so that each sees Poisson arrivals). Balancers that know the queues need no more. `None` where facts are no numbers.
pub fn instances(load: Load, station: Station, limits: Limits) -> Option<f64> {
    let needed = load.peak() / station.most_calls(limits.ceiling, limits.patience)?;
    // The last digits of a division do not order another instance.
    let whole = (needed * (1.0 - 1e-12)).ceil().max(1.0);
    (needed.is_finite() && needed >= 0.0).then_some(whole)
}

/// Calls a day that so many instances carry.
pub fn capacity(instances: f64, peak_to_mean: f64, station: Station, limits: Limits) -> Option<f64> {
    let calls = instances * station.most_calls(limits.ceiling, limits.patience)? * DAY / peak_to_mean;
    calls.is_finite().then_some(calls)
}

/// What is paid in a month, in one currency.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Month {
    /// For instances.
    pub compute: f64,
    /// For bytes that are kept.
    pub storage: f64,
    /// For bytes that are sent to devices.
    pub transfer: f64,
}

impl Month {
    /// Instances at a price an hour, bytes kept at a price for a gigabyte and month, bytes sent at a price for a gigabyte.
    pub fn of(instances: f64, price: f64, kept: f64, price_kept: f64, sent: f64, price_sent: f64) -> Self {
        Self {
            compute: instances * price * HOURS_A_MONTH,
            storage: kept / GIGABYTE * price_kept,
            transfer: sent / GIGABYTE * price_sent,
        }
    }

    /// All of it.
    pub fn total(&self) -> f64 {
        self.compute + self.storage + self.transfer
    }

    /// Of a million calls, at so many a day.
    pub fn per_million(&self, calls_a_day: f64) -> f64 {
        self.total() / (calls_a_day * DAYS_A_MONTH) * 1e6
    }
}

/// Bytes that are kept: versions of a model, and what is stored of each call for some seconds.
pub fn kept(model: f64, versions: f64, a_call: f64, calls_a_day: f64, seconds: f64) -> f64 {
    model * versions + a_call * calls_a_day * seconds / DAY
}

/// Months until a load that grows by a share a month, compounding, is `times` what it is; `None` where it never is.
pub fn months_until(times: f64, growth: f64) -> Option<f64> {
    let ordered = times.is_finite() && times >= 1.0 && growth.is_finite() && growth > 0.0;
    ordered.then(|| times.ln() / growth.ln_1p())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOAD: Load = Load { calls_a_day: 2_880_000.0, peak_to_mean: 3.0 };

    fn check(service: f64, patience: Option<Patience>, expected: f64) {
        let station = Station { servers: 1, service, variation: 1.0 };
        assert_eq!(instances(LOAD, station, Limits { ceiling: 0.6, patience }), Some(expected));
    }

    #[test]
    fn an_instance_is_ordered_when_the_ceiling_is_passed_and_not_before() {
        // 100 calls a second: 6 ms fill one core to 60 %.
        check(0.006, None, 1.0);
        check(0.006_001, None, 2.0);
        check(0.060, None, 10.0);
        check(1e-9, None, 1.0);
    }

    #[test]
    fn impatient_clients_need_more_than_the_ceiling_does() {
        check(0.006, Some(Patience { seconds: 1.0, share: 0.99 }), 1.0);
        // As long as a service, with a margin of 1.4: ln(100 ρ) ≤ (1 − ρ) / 1.4 holds up to ρ = 2.01 %, and 0.6 erlang are 29.8 times that.
        check(0.006, Some(Patience { seconds: 0.006, share: 0.99 }), 30.0);
    }

    #[test]
    fn zero_devices_nan_and_overflow_are_no_instances() {
        let station = Station { servers: 1, service: 0.006, variation: 1.0 };
        let limits = Limits { ceiling: 0.6, patience: None };
        for calls_a_day in [f64::NAN, f64::INFINITY, -1.0] {
            assert_eq!(instances(Load { calls_a_day, peak_to_mean: 3.0 }, station, limits), None);
        }
        assert_eq!(instances(Load { calls_a_day: 0.0, peak_to_mean: 3.0 }, station, limits), Some(1.0));
        assert_eq!(instances(Load { calls_a_day: 1e308, peak_to_mean: 1e300 }, station, limits), None);
        assert_eq!(capacity(f64::MAX, 1e-300, station, limits), None);
    }

    #[test]
    fn what_instances_carry_needs_these_instances() {
        let station = Station { servers: 4, service: 0.004, variation: 0.8 };
        let limits = Limits { ceiling: 0.7, patience: Some(Patience { seconds: 0.005, share: 0.99 }) };
        for n in [1.0, 2.0, 7.0] {
            let calls_a_day = capacity(n, 3.0, station, limits).unwrap();
            assert_eq!(instances(Load { calls_a_day, peak_to_mean: 3.0 }, station, limits), Some(n));
            let more = Load { calls_a_day: calls_a_day * 1.001, peak_to_mean: 3.0 };
            assert_eq!(instances(more, station, limits), Some(n + 1.0));
        }
    }

    #[test]
    fn a_month_is_the_sum_of_its_parts() {
        let month = Month::of(2.0, 0.1, 3e9, 0.02, 5e9, 0.09);
        assert!((month.total() - (146.0 + 0.06 + 0.45)).abs() < 1e-12);
        assert!((month.per_million(1e6) - month.total() / 30.416_666_666_666_668).abs() < 1e-12);
    }

    #[test]
    fn what_does_not_grow_never_doubles() {
        assert_eq!(months_until(2.0, 0.0), None);
        assert_eq!(months_until(0.5, 0.1), None);
        assert_eq!(months_until(f64::NAN, 0.1), None);
        assert!((months_until(1.21, 0.1).unwrap() - 2.0).abs() < 1e-12);
    }
}
