//! The roofline: a lower bound of the time of one inference from plain hardware facts. An estimate, never a measurement: real
//! executors reach half of it on a good day.

/// Facts about hardware.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Roofline {
    /// Clock in Hz.
    pub clock_hertz: f64,
    /// Bandwidth to main memory in bytes a second.
    pub bytes_per_second: f64,
}

/// Multiply-accumulates of one type.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Work {
    /// How many.
    pub macs: f64,
    /// How many one core completes in a cycle at its peak.
    pub per_cycle: f64,
}

impl Roofline {
    /// Seconds that one core needs at least for work of several types, one after the other, and so many bytes of weights and
    /// activations: whichever of computing and moving takes longer. `None` where a fact is not above zero.
    pub fn seconds(&self, work: &[Work], bytes: f64) -> Option<f64> {
        let facts = [self.clock_hertz, self.bytes_per_second].into_iter().chain(work.iter().map(|w| w.per_cycle));
        if !facts.into_iter().all(|f| f.is_finite() && f > 0.0) {
            return None;
        }
        let computing: f64 = work.iter().map(|w| w.macs / (w.per_cycle * self.clock_hertz)).sum();
        let seconds = computing.max(bytes / self.bytes_per_second);
        seconds.is_finite().then_some(seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CORE: Roofline = Roofline { clock_hertz: 1e9, bytes_per_second: 2e9 };

    fn check(work: &[(f64, f64)], bytes: f64, seconds: Option<f64>) {
        let work: Vec<Work> = work.iter().map(|&(macs, per_cycle)| Work { macs, per_cycle }).collect();
        assert_eq!(CORE.seconds(&work, bytes), seconds);
    }

    #[test]
    fn the_slower_of_computing_and_moving_counts() {
        check(&[(4e6, 4.0)], 1e3, Some(1e-3));
        check(&[(4e3, 4.0)], 2e6, Some(1e-3));
        check(&[], 0.0, Some(0.0));
    }

    #[test]
    fn types_take_their_own_time_one_after_the_other() {
        check(&[(4e6, 4.0), (16e6, 16.0)], 0.0, Some(2e-3));
    }

    #[test]
    fn absent_facts_are_no_estimate() {
        for fact in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let core = Roofline { clock_hertz: fact, ..CORE };
            assert_eq!(core.seconds(&[], 1.0), None);
            check(&[(1.0, fact)], 1.0, None);
        }
        check(&[(f64::NAN, 4.0)], f64::NAN, None);
    }
}
