//! What an inference takes of a device: time of a hop, energy, and how long a battery lasts. Plain arithmetic on stated facts; whether
//! the time is measured or estimated is not for it to know.

/// What a device draws, inference apart, and how often it infers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Day {
    /// Watts while it waits for the next hop.
    pub idle: f64,
    /// Seconds from one inference to the next.
    pub hop: f64,
}

impl Day {
    /// Mean watts, where an inference takes `extra` joules more than idling would.
    pub fn mean_power(&self, extra: f64) -> f64 {
        self.idle + extra / self.hop
    }

    /// Share of all energy that is the inferences'.
    pub fn share(&self, extra: f64) -> Option<f64> {
        let share = extra / self.hop / self.mean_power(extra);
        share.is_finite().then_some(share)
    }

    /// Seconds that a battery of so many joules lasts.
    pub fn battery_life(&self, joules: f64, extra: f64) -> Option<f64> {
        let seconds = joules / self.mean_power(extra);
        (seconds.is_finite() && seconds >= 0.0).then_some(seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Day = Day { idle: 0.1, hop: 10.0 };

    #[test]
    fn a_battery_lasts_as_long_as_the_mean_power_lets_it() {
        // 1 W for a second every ten, over 0.1 W: 0.09 W more.
        let extra = (1.0 - 0.1) * 1.0;
        assert!((DAY.mean_power(extra) - 0.19).abs() < 1e-12);
        assert!((DAY.battery_life(3600.0, extra).unwrap() - 3600.0 / 0.19).abs() < 1e-6);
        assert!((DAY.share(extra).unwrap() - 0.09 / 0.19).abs() < 1e-12);
    }

    #[test]
    fn a_device_that_draws_nothing_has_no_life_to_tell() {
        let none = Day { idle: 0.0, hop: 10.0 };
        assert_eq!(none.battery_life(3600.0, 0.0), None);
        assert_eq!(none.share(0.0), None);
        assert_eq!(DAY.battery_life(f64::NAN, 1.0), None);
        assert_eq!(DAY.battery_life(3600.0, f64::NAN), None);
    }
}
