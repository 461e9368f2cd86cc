//! Fleets that do not exist, through a whole rollout: how often a policy stops what is harmless, and lets pass what is not.
//!
//! Devices are played by what they would report in sum, so that a rollout of 50,000 takes a tenth of a second. Each device has habits
//! of its own: the share of inferences over budget, that of shadow runs that disagree, that of days on which it is not heard of, and
//! whether the release makes it crash, soon after it got it. Now and then a device gives up whatever it runs, or gets damaged files. The
//! release's harm is added to all of this. Nothing here knows the rules.

use plimsoll_profile::{Policy, RolloutMetric};
use plimsoll_record::RolloutVerdict;
use plimsoll_stats::Random;

use crate::{
    evidence::{Evidence, Span},
    judge::{Detail, Judge, When, is_for_a_person},
    ladder::{Ladder, Rung, days},
    outcome::{Cohort, Outcome},
};

/// What devices are like with the release before.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct World {
    /// Mean share over budget, and its standard deviation between devices.
    pub over_budget: [f64; 2],
    /// Standard deviation of one device's share from day to day.
    pub day_to_day: f64,
    /// Mean share of shadow runs that disagree; devices differ by three quarters of it.
    pub disagreement: f64,
    /// Mean share of days without a report; devices differ by three quarters of it.
    pub missing: f64,
    /// Share of devices that crash in a stage.
    pub crashing: f64,
    /// Standard deviation of a device's energy for an inference, relative to its own before.
    pub energy: f64,
    /// Mean drift of inputs, and of outputs; devices differ by three quarters of it.
    pub drift: f64,
    /// Share of devices that report a crash loop in a stage with any release, and the same of a bad signature.
    pub incidents: f64,
    /// Mean rating of the five points, of users that rate a fifth of the devices; standard deviation about 0.9.
    pub rating: f64,
}

impl Default for World {
    fn default() -> Self {
        Self {
            over_budget: [0.02, 0.01],
            day_to_day: 0.01,
            disagreement: 0.02,
            missing: 0.04,
            crashing: 0.005,
            energy: 0.05,
            drift: 0.04,
            incidents: 1e-4,
            rating: 4.2,
        }
    }
}

/// What a release does to devices.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Harm {
    /// How much worse it makes each metric; metrics that are not named are as before.
    pub metrics: Vec<(RolloutMetric, f64)>,
    /// Share of devices on which it crashes until it is given up.
    pub crash_loops: f64,
    /// Share of devices that get other files than were signed.
    pub signature_failures: f64,
}

impl Harm {
    fn of(&self, metric: RolloutMetric) -> f64 {
        self.metrics.iter().filter(|(m, _)| *m == metric).map(|(_, h)| h).sum()
    }
}

/// How a rollout ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    /// It reached everybody.
    Complete,
    /// It was halted.
    Halted,
    /// A person had to decide.
    Person,
    /// It was held for longer than the policy waits.
    Held,
}

/// A rollout that was played.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Played {
    /// How it ended.
    pub end: End,
    /// At which stage: 0 is the beta.
    pub stage: usize,
    /// On which day, from 1.
    pub day: u64,
    /// Devices that had the release then.
    pub exposed: u64,
}

/// A device's habits.
#[derive(Debug, Clone, Copy)]
struct Habit {
    over: f64,
    before: f64,
    missing: f64,
    missing_before: f64,
    disagreement: f64,
    crashes_by_itself: bool,
    /// The release makes it crash where this is below the harm.
    fragility: f64,
    opinion: f64,
    rates: bool,
    /// Energy of an inference, relative to before, and drift of inputs and outputs.
    energy: f64,
    drift: [f64; 2],
}

/// Sums of a device in a stage.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    over: f64,
    days: u64,
    crashes: u64,
    /// Crash loops, bad signatures.
    incidents: [u64; 2],
}

const INFERENCES: u64 = 2_880;
const SHADOW_RUNS: u64 = 288;

impl Habit {
    /// What was played before there was energy and drift is played alike: these are drawn from a row of their own.
    fn draw(world: &World, pre_days: u64, random: &mut Random, apart: &mut Random) -> Self {
        // Skewed to the right, with a standard deviation of three quarters of the mean.
        let skewed = |random: &mut Random, mean: f64| mean * (0.25 - 0.75 * (1.0 - random.unit()).ln());
        let over = (world.over_budget[0] + world.over_budget[1] * bell(random)).max(0.0);
        let past = world.day_to_day / (pre_days.max(1) as f64).sqrt();
        let missing = skewed(random, world.missing).min(0.9);
        let gone = (0..pre_days).filter(|_| random.unit() < missing).count() as f64;
        Self {
            over,
            before: (over + past * bell(random)).max(0.0),
            missing,
            missing_before: gone / pre_days.max(1) as f64,
            disagreement: skewed(random, world.disagreement).min(1.0),
            crashes_by_itself: random.unit() < world.crashing,
            fragility: random.unit(),
            opinion: world.rating + 0.9 * bell(random),
            rates: random.unit() < 0.2,
            energy: 1.0 + world.energy * bell(apart),
            drift: [(); 2].map(|()| skewed(apart, world.drift).min(1.0)),
        }
    }
}

/// Nearly normal, with mean 0 and standard deviation 1: enough for sums of many.
fn bell(random: &mut Random) -> f64 {
    (0..4).map(|_| random.unit()).sum::<f64>() * 3.0_f64.sqrt() - 2.0 * 3.0_f64.sqrt()
}

/// A device of a stage.
struct Device {
    habit: Habit,
    treated: bool,
    sums: Sums,
    /// Days until it crashes, where it does.
    crashes_in: Option<u64>,
    /// Days until it reports a crash loop, and a bad signature.
    incidents_in: [Option<u64>; 2],
}

/// Plays one rollout of a release with such harm through a policy, whose plan says how many devices there are.
pub fn play(judge: &Judge<'_>, policy: &Policy, world: &World, harm: &Harm, seed: u64) -> Played {
    let (ladder, mut random) = (Ladder::new(policy), Random::new(seed));
    let (fleet, enrolled) = policy.plan.map_or((0, 0), |p| (p.fleet, p.enrolled));
    let pre_days = days(policy.pre_period.0);
    let mut apart = Random::new(seed ^ 0x5eed_0f0e_4e26_79d2);
    let mut draw = |n: u64| (0..n).map(|_| Habit::draw(world, pre_days, &mut random, &mut apart)).collect::<Vec<_>>();
    let (beta, general) = (draw(enrolled), draw(fleet));
    let (mut day, mut stage) = (0, 0);
    while let Some(rung) = ladder.rung(stage) {
        let pool = if stage == 0 { &beta } else { &general };
        let mut devices = enter(pool, &rung, policy.holdback, (world, harm), [&mut random, &mut apart]);
        let exposed = devices.iter().filter(|d| d.treated).count() as u64;
        let mut of_stage = 0;
        loop {
            (day, of_stage) = (day + 1, of_stage + 1);
            let span = Span { days: of_stage, pre_days };
            let mut evidence = Evidence::new(span);
            for device in &mut devices {
                device.live(
                    world,
                    of_stage,
                    [RolloutMetric::OverBudget, RolloutMetric::MissingDevices].map(|m| harm.of(m)),
                    &mut random,
                );
                evidence.take(&device.outcome(pre_days, harm));
            }
            let when = When { of_rollout: day, of_stage };
            let judgement = judge.judge(&rung, when, &evidence, Detail::Verdict);
            let end = match judgement.verdict {
                RolloutVerdict::Advance => break,
                RolloutVerdict::Halt => Some(End::Halted),
                // What a person is asked for is decided when all else is there.
                RolloutVerdict::Hold if of_stage > days(policy.person_after.0) => Some(End::Held),
                RolloutVerdict::Hold if judgement.person && judgement.missing.iter().all(|m| is_for_a_person(m)) => {
                    Some(End::Person)
                }
                RolloutVerdict::Hold => None,
            };
            if let Some(end) = end {
                return Played { end, stage, day, exposed };
            }
        }
        stage += 1;
    }
    Played { end: End::Complete, stage: stage - 1, day, exposed: fleet }
}

/// The devices of a stage: the first ones of the channel have the release, the last ones are the holdback.
fn enter(
    pool: &[Habit],
    rung: &Rung,
    holdback: f64,
    (world, harm): (&World, &Harm),
    [random, apart]: [&mut Random; 2],
) -> Vec<Device> {
    let n = pool.len() as f64;
    let held = pool.len() - (n * holdback).round() as usize;
    let treated = ((n * rung.share).round() as usize).min(held);
    let crash_harm = harm.of(RolloutMetric::CrashedDevices);
    let device = |(i, habit): (usize, &Habit)| {
        let treated = i < treated;
        let crashes = habit.crashes_by_itself || (treated && habit.fragility < crash_harm);
        // Half of those that crash do so on the first day, half of the others on the second, and so on.
        let crashes_in = crashes.then(|| 1 + (-(1.0 - random.unit()).log2()) as u64);
        let incidents_in = [harm.crash_loops, harm.signature_failures].map(|harm| {
            let by_itself = (apart.unit() < world.incidents).then(|| 1 + (apart.unit() * rung.soak as f64) as u64);
            // What the release does shows on the first day.
            if treated && habit.fragility < harm { Some(1) } else { by_itself }
        });
        Device { habit: *habit, treated, sums: Sums::default(), crashes_in, incidents_in }
    };
    pool.iter().enumerate().filter(|(i, _)| *i < treated || *i >= held).map(device).collect()
}

impl Device {
    fn live(&mut self, world: &World, day: u64, [over, missing]: [f64; 2], random: &mut Random) {
        let (over, missing) = if self.treated { (over, missing) } else { (0.0, 0.0) };
        if random.unit() < self.habit.missing + missing {
            return;
        }
        self.sums.days += 1;
        self.sums.over += (self.habit.over + over + world.day_to_day * bell(random)).max(0.0);
        self.sums.crashes += u64::from(self.crashes_in.is_some_and(|d| d <= day));
        for (count, incident) in self.sums.incidents.iter_mut().zip(self.incidents_in) {
            *count += u64::from(incident.is_some_and(|d| d <= day));
        }
    }

    fn outcome(&self, pre_days: u64, harm: &Harm) -> Outcome {
        let (habit, sums) = (&self.habit, &self.sums);
        let of = |metric| if self.treated { harm.of(metric) } else { 0.0 };
        let [crash_loops, signature_failures] = sums.incidents;
        let (disagreement, displeasure) = (of(RolloutMetric::Agreement), of(RolloutMetric::Rating));
        // A hundred units an inference before the release.
        let energy = |relative: f64, inferences: u64| (100.0 * relative.max(0.0) * inferences as f64).round() as u64;
        let drift =
            |own: f64, metric| [(1e6 * (own + of(metric)).min(1.0) * sums.days as f64).round() as u64, sums.days];
        let count = |share: f64, of: u64| (share.min(1.0) * of as f64).round() as u64;
        let inferences = sums.days * INFERENCES;
        let runs = if self.treated { sums.days * SHADOW_RUNS } else { 0 };
        let mut ratings = [0; 5];
        if habit.rates && sums.days > 0 {
            let rating = (habit.opinion - displeasure).round().clamp(1.0, 5.0) as usize;
            if let Some(count) = ratings.get_mut(rating - 1) {
                *count = 1;
            }
        }
        let cohort = match (sums.days, self.treated) {
            (0, _) => Cohort::Silent,
            (_, true) => Cohort::Treatment,
            (_, false) => Cohort::Holdback,
        };
        Outcome {
            cohort,
            days: sums.days,
            inferences,
            over_budget: (sums.over * INFERENCES as f64).round() as u64,
            crashes: sums.crashes,
            shadow_runs: runs,
            shadow_agreed: runs - count(habit.disagreement + disagreement, runs),
            crash_loops,
            signature_failures,
            energy: [energy(habit.energy + of(RolloutMetric::Energy), inferences), inferences],
            input_drift: drift(habit.drift[0], RolloutMetric::InputDrift),
            output_drift: drift(habit.drift[1], RolloutMetric::OutputDrift),
            pre_energy: [energy(1.0, pre_days * INFERENCES), pre_days * INFERENCES],
            pre_inferences: pre_days * INFERENCES,
            pre_over_budget: count(habit.before, pre_days * INFERENCES),
            pre_days: pre_days - count(habit.missing_before, pre_days),
            ratings,
        }
    }
}
