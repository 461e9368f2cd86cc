//! The waiting times that capacity is planned with, against simulations of queues: calls that come at random (Poisson), servers that take
//! them in their order.

use plimsoll_cost::queue::{Patience, Station, margin};
use plimsoll_stats::Random;

/// Calls of a simulation; the first tenth fills the queue.
const CALLS: usize = 200_000;

/// A distribution of service times with mean 1.
#[derive(Debug, Clone, Copy)]
enum Times {
    Constant,
    /// Sum of four exponentials: cv 0.5.
    Gamma,
    Exponential,
    /// Two exponentials with balanced means, of this cv.
    Hyperexponential(f64),
    LogNormal(f64),
}

impl Times {
    fn variation(self) -> f64 {
        match self {
            Self::Constant => 0.0,
            Self::Gamma => 0.5,
            Self::Exponential => 1.0,
            Self::Hyperexponential(cv) | Self::LogNormal(cv) => cv,
        }
    }

    fn draw(self, random: &mut Random) -> f64 {
        let mut exponential = || -(1.0 - random.unit()).ln();
        match self {
            Self::Constant => 1.0,
            Self::Gamma => (0..4).map(|_| exponential() / 4.0).sum(),
            Self::Exponential => exponential(),
            Self::Hyperexponential(cv) => {
                let p = 0.5 * (1.0 + ((cv * cv - 1.0) / (cv * cv + 1.0)).sqrt());
                let time = exponential();
                if random.unit() < p { time / (2.0 * p) } else { time / (2.0 * (1.0 - p)) }
            }
            Self::LogNormal(cv) => {
                let variance = (1.0 + cv * cv).ln();
                let radius = (2.0 * exponential()).sqrt();
                let normal = radius * (std::f64::consts::TAU * random.unit()).cos();
                (variance.sqrt() * normal - variance / 2.0).exp()
            }
        }
    }
}

/// Waiting times of the calls, sorted.
fn simulate(servers: usize, calls_a_second: f64, times: Times, seed: u64) -> Vec<f64> {
    let mut random = Random::new(seed);
    let mut free = vec![0.0_f64; servers];
    let mut now = 0.0;
    let mut waits = Vec::with_capacity(CALLS);
    for _ in 0..CALLS {
        now += -(1.0 - random.unit()).ln() / calls_a_second;
        let (first, _) = free.iter().enumerate().min_by(|a, b| a.1.total_cmp(b.1)).unwrap();
        let start = free[first].max(now);
        waits.push(start - now);
        free[first] = start + times.draw(&mut random);
    }
    waits.drain(..CALLS / 10);
    waits.sort_by(f64::total_cmp);
    waits
}

fn p99(sorted: &[f64]) -> f64 {
    sorted[sorted.len() * 99 / 100]
}

fn mean(waits: &[f64]) -> f64 {
    waits.iter().sum::<f64>() / waits.len() as f64
}

#[test]
fn waits_of_exponential_times_are_those_of_erlang() {
    // M/M/c is exact: what is left is the noise of the simulation.
    for (servers, used) in [(1, 0.5), (1, 0.7), (2, 0.6), (4, 0.7), (16, 0.8)] {
        let calls = used * servers as f64;
        let waits = simulate(servers, calls, Times::Exponential, 7);
        let station = Station { servers: servers as u64, service: 1.0, variation: 1.0 };
        let (expected, far) = (station.mean_wait(calls).unwrap(), station.wait(calls, 0.99).unwrap());
        assert!((mean(&waits) / expected - 1.0).abs() < 0.08, "{servers} {used}: {} {expected}", mean(&waits));
        assert!((p99(&waits) / far - 1.0).abs() < 0.1, "{servers} {used}: {} {far}", p99(&waits));
    }
}

#[test]
fn mean_waits_of_one_server_are_exact_for_any_times() {
    for times in [Times::Constant, Times::Gamma, Times::Hyperexponential(2.0), Times::LogNormal(1.0)] {
        let waits = simulate(1, 0.6, times, 11);
        let station = Station { servers: 1, service: 1.0, variation: times.variation() };
        let expected = station.mean_wait(0.6).unwrap();
        assert!((mean(&waits) / expected - 1.0).abs() < 0.1, "{times:?}: {} {expected}", mean(&waits));
    }
}

/// What clients are promised is kept at the load that is planned for, whatever the times are like.
#[test]
fn promised_waits_are_kept_in_simulation() {
    let all = [
        Times::Constant,
        Times::Gamma,
        Times::LogNormal(0.2),
        Times::Exponential,
        Times::LogNormal(1.0),
        Times::Hyperexponential(2.0),
        Times::LogNormal(2.0),
        Times::LogNormal(3.0),
    ];
    let mut wasted = Vec::new();
    for times in all {
        for (servers, seconds) in [(1, 2.0), (1, 12.0), (2, 3.0), (4, 2.0), (16, 1.0)] {
            let station = Station { servers, service: 1.0, variation: times.variation() };
            let patience = Patience { seconds, share: 0.99 };
            let calls = station.most_calls(0.95, Some(patience)).unwrap();
            let found = p99(&simulate(servers as usize, calls, times, 13));
            assert!(found <= seconds, "{times:?} on {servers}: 99 in 100 wait {found}, promised {seconds}");
            wasted.push(calls / servers as f64);
        }
    }
    // A plan that served nobody would keep every promise.
    assert!(wasted.iter().sum::<f64>() / wasted.len() as f64 > 0.3, "{wasted:?}");
}

/// How much longer than the approximation says 99 calls in 100 wait, at the most, by the coefficient of variation (`--nocapture` tells).
#[test]
#[expect(clippy::print_stdout, reason = "docs/capacity.md quotes what it prints")]
fn the_margin_covers_what_the_approximation_falls_short_by() {
    let groups: [(f64, &[Times]); 3] = [
        (1.0, &[Times::Constant, Times::Gamma, Times::LogNormal(0.2), Times::Exponential, Times::LogNormal(1.0)]),
        (2.0, &[Times::Hyperexponential(2.0), Times::LogNormal(2.0)]),
        (3.0, &[Times::Hyperexponential(3.0), Times::LogNormal(3.0)]),
    ];
    for (variation, all) in groups {
        let mut worst: f64 = 0.0;
        for times in all {
            for servers in [1, 2, 4, 16] {
                for used in [0.4, 0.6, 0.8] {
                    let station = Station { servers, service: 1.0, variation: times.variation() };
                    let calls = used * servers as f64;
                    let far = station.wait(calls, 0.99).unwrap();
                    let found = p99(&simulate(servers as usize, calls, *times, 17));
                    // Where hardly anybody waits, 99 in 100 do not.
                    if far > 0.0 {
                        worst = worst.max(found / far);
                    }
                }
            }
        }
        println!("cv up to {variation}: {worst:.2} times, margin {:.2}", margin(variation));
        assert!(worst <= margin(variation) && worst > 1.2, "{variation}: {worst}");
    }
}
