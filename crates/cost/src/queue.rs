//! How long calls wait for a server that is busy: Poisson arrivals, any distribution of service times, several servers behind one
//! queue, first come, first served (M/G/c).
//!
//! The chance to wait is that of M/M/c (Erlang 1917, "Erlang C"); the mean wait is that of M/M/c times (1 + cv²) / 2, where cv is the
//! coefficient of variation of the service time (Allen 1990 after Lee and Longton 1959, the Allen–Cunneen approximation; exact for one
//! server, where it is the Pollaczek–Khinchine formula, and for cv = 1). The wait of those who wait is taken as exponential, which is
//! exact for M/M/c. Far out in the tail both fall short of what a simulation finds, the more the less even the times are: what is
//! promised to clients takes a margin on top ([`margin`]), which `crates/measure/tests/waiting.rs` holds against simulations.
//!
//! It must not know what is served, nor what a server costs.

/// Servers of one station at most: nobody runs more cores behind one queue.
const MOST_SERVERS: u64 = 4096;

/// Servers behind one queue.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Station {
    /// Calls that are served at once.
    pub servers: u64,
    /// Mean time of service in seconds.
    pub service: f64,
    /// Standard deviation of the time of service over its mean.
    pub variation: f64,
}

/// How long a share of the calls may wait.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Patience {
    /// Seconds.
    pub seconds: f64,
    /// Share of calls that wait no longer, such as 0.99.
    pub share: f64,
}

/// What the wait of 99 calls in 100 is multiplied by where it is promised. In simulations with constant, gamma, exponential,
/// hyperexponential and log-normal times 1.36 was needed up to cv = 1, 1.47 at cv = 2 and 1.57 at cv = 3.
pub fn margin(variation: f64) -> f64 {
    1.4 * variation.max(1.0).sqrt()
}

/// The chance that a call waits in M/M/c; `None` without servers, and where they are offered as much work as they can do, or more.
/// `offered` is in erlang: calls a second times seconds of service.
pub fn erlang_c(servers: u64, offered: f64) -> Option<f64> {
    let room = offered.is_finite() && offered >= 0.0 && offered < servers as f64;
    if !room || servers > MOST_SERVERS {
        return None;
    }
    // Erlang B by its recursion in the number of servers, which neither overflows nor cancels.
    let blocked = (1..=servers).fold(1.0, |b, n| offered * b / (n as f64 + offered * b));
    let busy = offered / servers as f64;
    Some(blocked / (1.0 - busy * (1.0 - blocked)))
}

impl Station {
    fn is_sound(&self) -> bool {
        let Self { servers, service, variation } = *self;
        (1..=MOST_SERVERS).contains(&servers)
            && service.is_finite()
            && service > 0.0
            && variation.is_finite()
            && variation >= 0.0
    }

    /// Share of the servers' time that so many calls a second take; above 1 the queue grows without end.
    pub fn utilization(&self, calls: f64) -> f64 {
        calls * self.service / self.servers as f64
    }

    /// Mean seconds that a call waits; `None` where the queue grows without end.
    pub fn mean_wait(&self, calls: f64) -> Option<f64> {
        Some(self.waits(calls)? * self.wait_of_those(calls))
    }

    /// Seconds that a share of the calls do not exceed; 0 where that many find a free server.
    pub fn wait(&self, calls: f64, share: f64) -> Option<f64> {
        if !(0.0..1.0).contains(&share) {
            return None;
        }
        let waits = self.waits(calls)?;
        Some(if waits <= 1.0 - share { 0.0 } else { self.wait_of_those(calls) * (waits / (1.0 - share)).ln() })
    }

    /// The same with a margin, for promises.
    pub fn safe_wait(&self, calls: f64, share: f64) -> Option<f64> {
        Some(self.wait(calls, share)? * margin(self.variation))
    }

    /// Calls a second at which the station is used up to `ceiling`, a share below 1, and patience holds with a margin.
    pub fn most_calls(&self, ceiling: f64, patience: Option<Patience>) -> Option<f64> {
        if !(self.is_sound() && ceiling > 0.0 && ceiling < 1.0) {
            return None;
        }
        let full = ceiling * self.servers as f64 / self.service;
        let Some(Patience { seconds, share }) = patience else { return Some(full) };
        if !(seconds.is_finite() && seconds > 0.0) {
            return None;
        }
        let holds = |calls: f64| self.safe_wait(calls, share).map(|w| w <= seconds);
        if holds(full)? {
            return Some(full);
        }
        // Waiting grows with the calls: halve until no digit is left.
        let (mut low, mut high) = (0.0, full);
        for _ in 0..64 {
            let middle = 0.5 * (low + high);
            if holds(middle)? { low = middle } else { high = middle }
        }
        Some(low)
    }

    fn waits(&self, calls: f64) -> Option<f64> {
        if !self.is_sound() {
            return None;
        }
        erlang_c(self.servers, calls * self.service)
    }

    /// Mean seconds of those who wait.
    fn wait_of_those(&self, calls: f64) -> f64 {
        let left = self.servers as f64 * (1.0 - self.utilization(calls));
        self.service * (1.0 + self.variation * self.variation) / 2.0 / left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(found: Option<f64>, expected: f64) {
        let found = found.unwrap();
        assert!((found - expected).abs() < 1e-9 * expected.abs().max(1.0), "{found} is not {expected}");
    }

    #[test]
    fn erlang_c_is_what_its_closed_form_says() {
        // One server: the utilization. Three of them with two erlang: 4/9. Two with one: 1/3.
        near(erlang_c(1, 0.7), 0.7);
        near(erlang_c(3, 2.0), 4.0 / 9.0);
        near(erlang_c(2, 1.0), 1.0 / 3.0);
        near(erlang_c(5, 0.0), 0.0);
        assert!((0.0..=1.0).contains(&erlang_c(4096, 4095.5).unwrap()));
    }

    #[test]
    fn utilization_of_one_and_above_is_no_wait_but_none_that_ends() {
        for offered in [3.0, 3.5, f64::NAN, f64::INFINITY, -1.0] {
            assert_eq!(erlang_c(3, offered), None, "{offered}");
        }
        assert_eq!(erlang_c(0, 0.0), None);
        assert_eq!(erlang_c(u64::MAX, 1.0), None);
        let station = Station { servers: 2, service: 0.01, variation: 1.0 };
        assert_eq!(station.mean_wait(200.0), None);
        assert_eq!(station.wait(250.0, 0.99), None);
    }

    #[test]
    fn one_server_follows_pollaczek_and_khinchine() {
        // λ E[S²] / (2 (1 − ρ)), with E[S²] = s² (1 + cv²).
        let (calls, service) = (60.0, 0.01);
        for variation in [0.0, 0.5, 1.0, 2.0] {
            let station = Station { servers: 1, service, variation };
            let square = service * service * (1.0 + variation * variation);
            near(station.mean_wait(calls), calls * square / (2.0 * (1.0 - 0.6)));
        }
    }

    #[test]
    fn the_most_calls_keep_both_limits_and_one_more_breaks_one() {
        let station = Station { servers: 2, service: 0.01, variation: 0.3 };
        near(station.most_calls(0.6, None), 120.0);
        let patience = Patience { seconds: 0.002, share: 0.99 };
        let most = station.most_calls(0.6, Some(patience)).unwrap();
        assert!(most < 120.0);
        assert!(station.safe_wait(most, 0.99).unwrap() <= 0.002);
        assert!(station.safe_wait(most * 1.0001, 0.99).unwrap() > 0.002);
        // Whoever is patient enough is limited by the ceiling alone.
        near(station.most_calls(0.6, Some(Patience { seconds: 1.0, share: 0.99 })), 120.0);
    }

    #[test]
    fn nan_zero_and_endless_service_are_no_capacity() {
        for service in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(Station { servers: 1, service, variation: 1.0 }.most_calls(0.5, None), None);
        }
        for variation in [f64::NAN, f64::INFINITY, -0.1] {
            assert_eq!(Station { servers: 1, service: 1.0, variation }.most_calls(0.5, None), None);
        }
        let station = Station { servers: 1, service: 1.0, variation: 1.0 };
        for ceiling in [0.0, 1.0, 1.5, f64::NAN] {
            assert_eq!(station.most_calls(ceiling, None), None);
        }
        for seconds in [0.0, -1.0, f64::NAN] {
            assert_eq!(station.most_calls(0.5, Some(Patience { seconds, share: 0.99 })), None);
        }
        assert_eq!(station.wait(0.5, 1.0), None);
    }
}
