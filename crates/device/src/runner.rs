//! Runs the active release; the other one in shadow, or for a share of the requests. Counts crashes in a row, and goes back.

use std::{
    fs,
    time::{Duration, Instant, SystemTime},
};

use plimsoll_onnx::{Tensor, Tensors};
use plimsoll_profile::{Day, DeviceSpec};
use plimsoll_record::{ChannelPointer, Distributions, PAYLOAD, PointerState};
use plimsoll_runtime::{ExecError, Executor, LoadOptions, Session};

use crate::{
    Agent, DeviceError,
    agent::{recover, roll_back},
    day::{Diary, Made, Whose, forget_old},
    decide::cohort,
    reference::Reference,
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

/// What a session was loaded for.
type Shapes = Vec<(String, Vec<usize>)>;

/// A release that is loaded.
struct Lane {
    slot: Slot,
    installed: Installed,
    model: Vec<u8>,
    distributions: Distributions,
    session: Option<(Shapes, Box<dyn Session>)>,
    diary: Option<Diary>,
}

impl Lane {
    fn open(state: &State, slot: Slot, installed: Installed) -> Result<Self, DeviceError> {
        let payload = state.slot(slot).join(PAYLOAD);
        let path = payload.join(&installed.model);
        let model = fs::read(&path).map_err(|source| DeviceError::Io { path, source })?;
        // What the self-test read; without it there is no drift.
        let distributions = Reference::read(&payload).ok().flatten().map(|r| r.distributions).unwrap_or_default();
        Ok(Self { slot, installed, model, distributions, session: None, diary: None })
    }

    fn run(&mut self, executor: &dyn Executor, inputs: &Tensors) -> Result<(Tensors, Duration), ExecError> {
        let shapes: Shapes = inputs.iter().map(|(name, t)| (name.clone(), t.shape().to_vec())).collect();
        if self.session.as_ref().is_none_or(|(loaded, _)| *loaded != shapes) {
            self.session = None;
            let session = executor.load(&self.model, &LoadOptions::for_inputs(inputs))?;
            self.session = Some((shapes, session));
        }
        let Some((_, session)) = &mut self.session else {
            return Err(ExecError::Failed { executor: executor.name().into(), reason: "nothing is loaded".into() });
        };
        let start = Instant::now();
        let outputs = session.run(inputs)?;
        Ok((outputs, start.elapsed()))
    }

    fn peak(&mut self) -> Option<u64> {
        self.session.as_mut().and_then(|(_, session)| session.peak_memory())
    }
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
            runner.go_back(&format!("{row} starts in a row did not end"), now)?;
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
        let different = |i: &Installed| i.release.release_digest != self.active.installed.release.release_digest;
        self.other = match self.state.installed(slot)?.filter(|i| wanted && different(i)) {
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
    fn go_back(&mut self, reason: &str, now: SystemTime) -> Result<bool, DeviceError> {
        self.save(true)?;
        if !roll_back(self.state, reason)? {
            return Ok(false);
        }
        self.note(now, false)?.gave_up();
        self.save(true)?;
        let (slot, installed) = self.state.active()?.ok_or(DeviceError::NoModel)?;
        self.take_over(slot, installed)?;
        Ok(true)
    }

    /// The diary of the day of the active release, or of the other one.
    fn note(&mut self, now: SystemTime, other: bool) -> Result<&mut Diary, DeviceError> {
        let (spec, state, pointer) = (self.spec, self.state, self.pointer.as_ref());
        let lane = match (other, &mut self.other) {
            (true, Some(lane)) => lane,
            _ => &mut self.active,
        };
        let release = lane.installed.release.release_digest.clone();
        let cohort = match spec.routes {
            true if pointer.is_some_and(|p| p.target.release_digest == release) => "treatment",
            // Requests are drawn, not the server: whatever does not go to the release is what it is compared with.
            true => "holdback",
            false => cohort(pointer, &spec.id, &release),
        };
        let channel = lane.installed.channel.clone();
        let whose = Whose { device: spec.id.clone(), channel, cohort: cohort.into(), release };
        let day = Day::of(now);
        if lane.diary.as_ref().is_none_or(|d| !d.is_of(day, &whose)) {
            if let Some(old) = &mut lane.diary {
                old.save(state, &lane.distributions, true)?;
            }
            lane.diary = None;
        }
        match &mut lane.diary {
            Some(diary) => Ok(diary),
            empty => Ok(empty.insert(Diary::open(state, day, &whose, spec.power.map(|p| p.0))?)),
        }
    }

    fn save(&mut self, now: bool) -> Result<(), DeviceError> {
        for lane in [Some(&mut self.active), self.other.as_mut()].into_iter().flatten() {
            if let Some(diary) = &mut lane.diary {
                diary.save(self.state, &lane.distributions, now)?;
            }
        }
        Ok(())
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
            && let Some(answer) = self.infer_other(inputs, now)?
        {
            return Ok(answer);
        }
        loop {
            match self.active.run(self.executor, inputs) {
                Ok((outputs, took)) => {
                    self.made(inputs, &outputs, took, now, false)?;
                    self.shadow(inputs, &outputs, now)?;
                    self.proven()?;
                    self.save(false)?;
                    let release = self.active.installed.release.release_digest.clone();
                    return Ok(Answer { outputs, release, took, went_back });
                }
                Err(e) if is_crash(&e) => {
                    self.active.session = None;
                    self.note(now, false)?.crashed();
                    self.health.row += 1;
                    self.good = 0;
                    self.state.set_health(&self.health)?;
                    self.save(true)?;
                    if self.health.row < self.spec.crashes {
                        continue;
                    }
                    let reason = format!("it crashed {} times in a row: {e}", self.health.row);
                    if !self.go_back(&reason, now)? {
                        return Err(e.into());
                    }
                    went_back = Some(reason);
                }
                Err(e) => return Err(e.into()),
            }
        }
    }

    /// An answer of the other release; `None` where it crashed, which is the active one's turn then.
    fn infer_other(&mut self, inputs: &Tensors, now: SystemTime) -> Result<Option<Answer>, DeviceError> {
        let Some(other) = &mut self.other else { return Ok(None) };
        let release = other.installed.release.release_digest.clone();
        match other.run(self.executor, inputs) {
            Ok((outputs, took)) => {
                self.made(inputs, &outputs, took, now, true)?;
                self.save(false)?;
                Ok(Some(Answer { outputs, release, took, went_back: None }))
            }
            Err(e) if is_crash(&e) => {
                other.session = None;
                self.note(now, true)?.crashed();
                self.save(true)?;
                Ok(None)
            }
            Err(e) => Err(e.into()),
        }
    }

    fn made(
        &mut self,
        inputs: &Tensors,
        outputs: &Tensors,
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
