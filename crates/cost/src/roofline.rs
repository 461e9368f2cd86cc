//! The roofline: a lower bound of the time of one inference from plain hardware facts. An estimate, never a measurement: real
//! executors reach half of it on a good day.

/// Facts about hardware.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Roofline {
    /// Multiply-accumulates that one core completes in a cycle at its peak.
    pub macs_per_cycle: f64,
    /// Clock in Hz.
    pub clock_hertz: f64,
    /// Bandwidth to main memory in bytes a second.
    pub bytes_per_second: f64,
}

impl Roofline {
    /// Seconds that one core needs at least for so many multiply-accumulates and so many bytes of weights and activations:
    /// whichever of computing and moving takes longer. `None` where a fact is not above zero.
    pub fn seconds(&self, macs: u64, bytes: u64) -> Option<f64> {
        let facts = [self.macs_per_cycle, self.clock_hertz, self.bytes_per_second];
        if !facts.iter().all(|f| f.is_finite() && *f > 0.0) {
            return None;
        }
        let computing = macs as f64 / (self.macs_per_cycle * self.clock_hertz);
        let moving = bytes as f64 / self.bytes_per_second;
        Some(computing.max(moving))
    }

    /// Multiply-accumulates a byte above which computing takes longer than moving.
    pub fn balance(&self) -> f64 {
        self.macs_per_cycle * self.clock_hertz / self.bytes_per_second
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(macs: u64, bytes: u64, seconds: Option<f64>) {
        let core = Roofline { macs_per_cycle: 4.0, clock_hertz: 1e9, bytes_per_second: 2e9 };
        assert_eq!(core.seconds(macs, bytes), seconds);
    }

    #[test]
    fn the_slower_of_computing_and_moving_counts() {
        check(4_000_000, 1_000, Some(1e-3));
        check(4_000, 2_000_000, Some(1e-3));
        check(0, 0, Some(0.0));
    }

    #[test]
    fn absent_facts_are_no_estimate() {
        for clock_hertz in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let core = Roofline { macs_per_cycle: 4.0, clock_hertz, bytes_per_second: 2e9 };
            assert_eq!(core.seconds(1, 1), None);
        }
    }
}
