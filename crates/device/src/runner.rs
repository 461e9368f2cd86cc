//! Runs the active release; the other one in shadow, or for a share of the requests. Counts crashes in a row, and goes back.

use std::time::{Duration, Instant, SystemTime};

use plimsoll_onnx::{Tensor, Tensors};
use plimsoll_profile::{Day, DeviceSpec};
use plimsoll_record::{ChannelPointer, PointerState};
use plimsoll_runtime::{ExecError, Executor};

use crate::{
    Agent, DeviceError,
    agent::{recover, roll_back},
    day::{Diary, Made, forget_old},
    keys::Tally,
    lane::Lane,
    state::{Health, Installed, Slot, State},
};

/// How often the agent's other half is asked whether it swapped.
const LOOK: Duration = Duration::from_secs(1);
/// Two numbers that are no scores agree within this share of the larger one.
const NEAR: f64 = 0.05;

/// What an inference came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The outputs.
    pub outputs: Tensors,
    /// Digest of the release that made them.
    pub release: String,
    /// How long that took.
    pub took: Duration,
    /// It went back to another release first, and why.
    pub went_back: Option<String>,
}

/// Runs what the agent installed.
pub struct Runner<'r> {
    spec: &'r DeviceSpec,
    state: &'r State,
    executor: &'r dyn Executor,
    active: Lane,
    other: Option<Lane>,
    pointer: Option<ChannelPointer>,
    health: Health,
    good: u64,
    /// Grows by the share at each inference; at one, the shadow runs.
    due: f64,
    looked: Instant,
}

impl std::fmt::Debug for Runner<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runner").field("active", &self.active.installed).field("health", &self.health).finish()
    }
}

impl<'r> Runner<'r> {
    /// Starts to run the active release. A run that was not ended counts as a crash while the release has not proven itself.
    pub fn start(agent: &'r Agent, executor: &'r dyn Executor, now: SystemTime) -> Result<Self, DeviceError> {
        let (spec, state) = (agent.spec(), agent.state());
        {
            // A sync that is at work brings its own things to an end.
            match state.lock() {
                Ok(_lock) => recover(state)?,
                Err(DeviceError::Busy { .. }) => {}
                Err(e) => return Err(e),
            }
        }
        let (slot, installed) = state.active()?.ok_or(DeviceError::NoModel)?;
        let mut health = state.health()?;
        if health.release != installed.release.release_digest {
            health = Health { release: installed.release.release_digest.clone(), ..Health::default() };
        }
        if health.running && !health.proven {
            health.row += 1;
        }
        health.running = true;
        let active = Lane::open(state, slot, installed)?;
        let pointer = state.memory()?.pointer;
        let mut runner = Self {
            spec,
            state,
            executor,
            active,
            other: None,
            pointer,
            health,
            good: 0,
            due: 0.0,
            looked: Instant::now(),
        };
        runner.state.set_health(&runner.health)?;
        forget_old(runner.state)?;
        if runner.health.row >= runner.spec.crashes {
            let row = runner.health.row;
            runner.go_back(&format!("{row} starts in a row did not end"), None, now)?;
        }
        runner.open_other()?;
        runner.note(now, false)?.restarted();
        runner.save(true)?;
        Ok(runner)
    }

    /// The release that runs.
    pub fn active(&self) -> &Installed {
        &self.active.installed
    }

    /// The release that is compared with, or that a share of the requests goes to.
    pub fn other(&self) -> Option<&Installed> {
        self.other.as_ref().map(|lane| &lane.installed)
    }

    fn open_other(&mut self) -> Result<(), DeviceError> {
        let slot = self.active.slot.other();
        let wanted = self.spec.routes || self.spec.shadow > 0.0;
        let refused = self.state.memory()?.refused;
        // Neither the same once more, nor what was given up.
        let stands = |i: &Installed| {
            i.release.release_digest != self.active.installed.release.release_digest
                && !refused.contains_key(&i.release.release_digest)
        };
        self.other = match self.state.installed(slot)?.filter(|i| wanted && stands(i)) {
            // Its files may be on their way out: the agent is at work there.
            Some(installed) => Lane::open(self.state, slot, installed).ok(),
            None => None,
        };
        Ok(())
    }

    /// Takes a swap in that the agent has made meanwhile.
    fn look(&mut self) -> Result<(), DeviceError> {
        if self.looked.elapsed() < LOOK {
            return Ok(());
        }
        self.looked = Instant::now();
        let Some((slot, installed)) = self.state.active()? else { return Ok(()) };
        let changed = installed.release != self.active.installed.release;
        self.pointer = self.state.memory()?.pointer;
        if changed {
            self.save(true)?;
            self.take_over(slot, installed)?;
        } else if self.state.installed(slot.other())?.map(|i| i.release)
            != self.other.as_ref().map(|l| l.installed.release.clone())
        {
            self.open_other()?;
        }
        Ok(())
    }

    fn take_over(&mut self, slot: Slot, installed: Installed) -> Result<(), DeviceError> {
        self.health = Health { release: installed.release.release_digest.clone(), running: true, ..Health::default() };
        self.state.set_health(&self.health)?;
        self.active = Lane::open(self.state, slot, installed)?;
        self.good = 0;
        self.open_other()
    }

    /// Goes back to the other slot. Whether there was something to go back to.
    fn go_back(&mut self, reason: &str, key: Option<&str>, now: SystemTime) -> Result<bool, DeviceError> {
        self.save(true)?;
        if !roll_back(self.state, reason)? {
            return Ok(false);
        }
        self.note(now, false)?.gave_up();
        if let Some(tally) = self.tally(key, now, false)? {
            tally.gave_up();
        }
        self.save(true)?;
        let (slot, installed) = self.state.active()?.ok_or(DeviceError::NoModel)?;
        self.take_over(slot, installed)?;
        Ok(true)
    }

    /// The diary of the day of the active release, or of the other one.
    fn note(&mut self, now: SystemTime, other: bool) -> Result<&mut Diary, DeviceError> {
        let (spec, state, pointer) = (self.spec, self.state, self.pointer.as_ref());
        chosen(&mut self.active, &mut self.other, other).diary(Day::of(now), spec, state, pointer)
    }

    /// What a server counts of a request's key; nothing where none is drawn by.
    fn tally(&mut self, key: Option<&str>, now: SystemTime, other: bool) -> Result<Option<&mut Tally>, DeviceError> {
        let (spec, state) = (self.spec, self.state);
        let (Some(key), Some(pointer), true) = (key, self.pointer.as_ref(), spec.routes) else { return Ok(None) };
        chosen(&mut self.active, &mut self.other, other).tally(key, Day::of(now), spec, state, pointer)
    }

    fn save(&mut self, now: bool) -> Result<(), DeviceError> {
        [Some(&mut self.active), self.other.as_mut()].into_iter().flatten().try_for_each(|l| l.save(self.state, now))
    }

    /// Whether a request goes to the other release, by the channel's pointer and the request's key.
    fn goes_to_other(&self, key: Option<&str>) -> bool {
        let (Some(key), Some(other), Some(pointer), true) = (key, &self.other, &self.pointer, self.spec.routes) else {
            return false;
        };
        let is_target = |i: &Installed| i.release.release_digest == pointer.target.release_digest;
        let takes = pointer.state == PointerState::Active && pointer.takes(pointer.bucket(key));
        match (is_target(&self.active.installed), is_target(&other.installed)) {
            (true, false) => !takes,
            (false, true) => takes,
            _ => false,
        }
    }

    /// Runs once. `key` is what a server draws the release by, such as a user's pseudonym. A crash is answered by another try, and a
    /// row of them by the previous release.
    pub fn infer(&mut self, key: Option<&str>, inputs: &Tensors, now: SystemTime) -> Result<Answer, DeviceError> {
        self.look()?;
        let mut went_back = None;
        if self.goes_to_other(key)
            && let Some(answer) = self.infer_other(key, inputs, now)?
        {
            return Ok(answer);
        }
        loop {
            match self.active.run(self.executor, inputs) {
                Ok((outputs, took)) => {
                    self.made(key, (inputs, &outputs), took, now, false)?;
                    self.shadow(inputs, &outputs, now)?;
                    self.proven()?;
                    self.save(false)?;
                    let release = self.active.installed.release.release_digest.clone();
                    return Ok(Answer { outputs, release, took, went_back });
                }
                Err(e) if is_crash(&e) => {
                    self.active.session = None;
                    self.crashed(key, now, false)?;
                    self.health.row += 1;
                    self.good = 0;
                    self.state.set_health(&self.health)?;
                    self.save(true)?;
                    if self.health.row < self.spec.crashes {
                        continue;
                    }
                    let reason = format!("it crashed {} times in a row: {e}", self.health.row);
                    if !self.go_back(&reason, key, now)? {
                        return Err(e.into());
                    }
                    went_back = Some(reason);
                }
                Err(e) => return Err(e.into()),
            }
        }
    }

    /// An answer of the other release; `None` where it crashed, which is the active one's turn then.
    fn infer_other(
        &mut self,
        key: Option<&str>,
        inputs: &Tensors,
        now: SystemTime,
    ) -> Result<Option<Answer>, DeviceError> {
        let Some(other) = &mut self.other else { return Ok(None) };
        let release = other.installed.release.release_digest.clone();
        match other.run(self.executor, inputs) {
            Ok((outputs, took)) => {
                self.made(key, (inputs, &outputs), took, now, true)?;
                self.save(false)?;
                Ok(Some(Answer { outputs, release, took, went_back: None }))
            }
            Err(e) if is_crash(&e) => {
                other.session = None;
                self.crashed(key, now, true)?;
                self.save(true)?;
                Ok(None)
            }
            Err(e) => Err(e.into()),
        }
    }

    fn crashed(&mut self, key: Option<&str>, now: SystemTime, other: bool) -> Result<(), DeviceError> {
        self.note(now, other)?.crashed();
        if let Some(tally) = self.tally(key, now, other)? {
            tally.crashed();
        }
        Ok(())
    }

    fn made(
        &mut self,
        key: Option<&str>,
        (inputs, outputs): (&Tensors, &Tensors),
        took: Duration,
        now: SystemTime,
        other: bool,
    ) -> Result<(), DeviceError> {
        let over_budget = self.spec.latency.is_some_and(|most| took.as_secs_f64() > most.0);
        self.note(now, other)?;
        let lane = if other { self.other.as_mut() } else { Some(&mut self.active) };
        if let Some(Lane { diary: Some(diary), distributions, .. }) = lane {
            diary.inference(&Made { inputs, outputs, took, over_budget }, distributions);
        }
        if let Some(tally) = self.tally(key, now, other)? {
            tally.inference(took, over_budget);
        }
        Ok(())
    }

    /// Lets the other release make a sampled inference, too, as far as memory and energy allow it.
    fn shadow(&mut self, inputs: &Tensors, outputs: &Tensors, now: SystemTime) -> Result<(), DeviceError> {
        self.due += if self.spec.routes { 0.0 } else { self.spec.shadow };
        if self.due < 1.0 || self.other.is_none() {
            return Ok(());
        }
        self.due -= 1.0;
        let spent = self.note(now, false)?.shadow_joules();
        if self.spec.shadow_energy.is_some_and(|most| spent >= most.0) {
            return Ok(());
        }
        let Some(other) = &mut self.other else { return Ok(()) };
        match other.run(self.executor, inputs) {
            Ok((shadow, took)) => {
                let agreed = agrees(outputs, &shadow);
                self.note(now, false)?.shadow(agreed, took);
                let peak = self.other.as_mut().and_then(Lane::peak);
                // Both in one process, which must keep the budget of one.
                if self.spec.memory.is_some_and(|most| peak.is_some_and(|p| p > most.0)) {
                    self.other = None;
                }
            }
            // The shadow's crash is not the release's; it takes the process along, which is started again.
            Err(_) => {
                self.other = None;
                self.active.session = None;
            }
        }
        Ok(())
    }

    /// Enough inferences without a crash end the row.
    fn proven(&mut self) -> Result<(), DeviceError> {
        self.good += 1;
        if self.good >= self.spec.healthy && (self.health.row > 0 || !self.health.proven) {
            (self.health.row, self.health.proven) = (0, true);
            self.state.set_health(&self.health)?;
        }
        Ok(())
    }

    /// Ends the run in order.
    pub fn end(mut self) -> Result<(), DeviceError> {
        self.health.running = false;
        self.state.set_health(&self.health)?;
        self.save(true)
    }
}

/// The other lane where it is asked for and there, else the active one.
fn chosen<'l>(active: &'l mut Lane, other: &'l mut Option<Lane>, wanted: bool) -> &'l mut Lane {
    match (wanted, other) {
        (true, Some(lane)) => lane,
        _ => active,
    }
}

fn is_crash(error: &ExecError) -> bool {
    matches!(error, ExecError::Crash { .. } | ExecError::TimeLimit { .. } | ExecError::MemoryLimit { .. })
}

/// Whether two releases say the same: of scores the same class in each row, of other numbers nearly the same one.
fn agrees(here: &Tensors, there: &Tensors) -> bool {
    here.iter().all(|(name, a)| there.get(name).is_some_and(|b| same(a, b)))
}

fn same(a: &Tensor, b: &Tensor) -> bool {
    let (Ok(x), Ok(y)) = (a.to_f64(), b.to_f64()) else { return false };
    if a.shape() != b.shape() {
        return false;
    }
    match a.shape().last() {
        Some(&classes) if classes > 1 && a.shape().len() > 1 => {
            let best = |row: &[f64]| row.iter().enumerate().max_by(|p, q| p.1.total_cmp(q.1)).map(|(i, _)| i);
            x.chunks(classes).zip(y.chunks(classes)).all(|(p, q)| best(p) == best(q))
        }
        _ => x.iter().zip(&y).all(|(p, q)| (p - q).abs() <= NEAR * p.abs().max(q.abs())),
    }
}
