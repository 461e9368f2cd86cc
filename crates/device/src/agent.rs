//! One look at the channel: believe, decide, install, test, swap. Whatever fails, what runs goes on running.

use std::{
    process::{Command, Stdio},
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use plimsoll_profile::{Day, DeviceSpec};
use plimsoll_record::{DeviceAction, DeviceStatus, Distributions, PointedRelease};
use plimsoll_runtime::Executor;

use crate::{
    DeviceError,
    channel::{self, View},
    day::{Diary, Whose},
    decide::{Facts, Step, cohort, decide},
    disk::{Disk, RealDisk},
    install::Installation,
    state::{Installed, Memory, Slot, State},
};

/// The agent of a device.
#[derive(Debug)]
pub struct Agent {
    spec: DeviceSpec,
    state: State,
}

impl Agent {
    /// The agent of a device, on its file system.
    pub fn new(spec: DeviceSpec) -> Result<Self, DeviceError> {
        Self::on(spec, Arc::new(RealDisk))
    }

    /// The agent of a device, on another file system.
    pub fn on(spec: DeviceSpec, disk: Arc<dyn Disk>) -> Result<Self, DeviceError> {
        let state = State::open(&spec.state.path, disk)?;
        Ok(Self { spec, state })
    }

    /// What people wrote for it.
    pub fn spec(&self) -> &DeviceSpec {
        &self.spec
    }

    /// What it keeps.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Looks at the channel and follows it. The status says what came of it; an error means that nothing could be done or told.
    pub fn sync(&self, executor: &dyn Executor, now: SystemTime) -> Result<DeviceStatus, DeviceError> {
        let _lock = self.state.lock()?;
        recover(&self.state)?;
        let channel = channel::followed(&self.spec, now)?;
        let mut memory = self.state.memory()?;
        let done = match self.follow(executor, channel, &mut memory, now) {
            // Of what people wrote, and of the disk, they must hear.
            Err(
                e @ (DeviceError::Config(_)
                | DeviceError::Address { .. }
                | DeviceError::Io { .. }
                | DeviceError::Damaged { .. }),
            ) => return Err(e),
            Err(e @ DeviceError::Unfit { .. }) => (DeviceAction::Unfit, e.to_string()),
            Err(e) => (DeviceAction::Held, e.to_string()),
            Ok(done) => done,
        };
        self.status(channel, done)
    }

    /// What runs, without a look at the channel.
    pub fn standing(&self, now: SystemTime) -> Result<DeviceStatus, DeviceError> {
        let channel = channel::followed(&self.spec, now)?;
        self.status(channel, (DeviceAction::None, "the channel was not asked".into()))
    }

    fn status(&self, channel: &str, (action, reason): (DeviceAction, String)) -> Result<DeviceStatus, DeviceError> {
        let active = self.state.active()?;
        let other = active.as_ref().map(|(slot, _)| self.state.installed(slot.other())).transpose()?.flatten();
        Ok(DeviceStatus {
            schema: DeviceStatus::SCHEMA.into(),
            device: self.spec.id.clone(),
            channel: channel.into(),
            action,
            reason,
            active: active.map(|(_, installed)| installed.release),
            other: other.map(|installed| installed.release),
            epoch: self.state.memory()?.epochs.get(channel).copied(),
        })
    }

    fn follow(
        &self,
        executor: &dyn Executor,
        channel: &str,
        memory: &mut Memory,
        now: SystemTime,
    ) -> Result<(DeviceAction, String), DeviceError> {
        let view = View::load(&self.spec, &self.state, memory, now)?;
        let Some(pointer) = view.pointer(&self.spec, channel, memory)? else {
            return Ok((DeviceAction::None, format!("the channel {channel} is at nothing yet")));
        };
        // What was seen is remembered before anything is done about it.
        self.state.remember(memory)?;
        let active = self.state.active()?;
        let facts = Facts {
            id: &self.spec.id,
            running: active.as_ref().map(|(_, installed)| installed),
            refused: &memory.refused,
            routes: self.spec.routes,
            now,
        };
        let (release, reason, action) = match decide(&pointer, &facts) {
            Step::Keep(reason) => (None, reason, DeviceAction::None),
            Step::Take(release, reason) => (Some(release), reason, DeviceAction::Switched),
            Step::GoBack(release, reason) => (Some(release), reason, DeviceAction::WentBack),
        };
        let Some(release) = release else {
            // A server that routes keeps what it would fall back on ready.
            if let (true, Some(previous), Some((slot, _))) = (self.spec.routes, &pointer.previous, &active) {
                self.prepare((executor, now), &view, previous, channel, slot.other(), memory)?;
            }
            return Ok((action, reason));
        };
        let slot = active.as_ref().map_or(Slot::A, |(slot, _)| slot.other());
        let installed = self.prepare((executor, now), &view, &release, channel, slot, memory)?;
        if active.is_some()
            && let Some(wait) = self.disturbs(now)
        {
            return Ok((
                DeviceAction::Waiting,
                format!("{} {} is installed; {wait}", release.release, release.version),
            ));
        }
        self.state.activate(slot)?;
        Ok((action, format!("{reason}; {}", installed.self_test)))
    }

    /// Sees to it that a slot holds a release, tested. One that does not suit is remembered by its digest.
    fn prepare(
        &self,
        (executor, now): (&dyn Executor, SystemTime),
        view: &View,
        release: &PointedRelease,
        channel: &str,
        slot: Slot,
        memory: &mut Memory,
    ) -> Result<Installed, DeviceError> {
        // It is there already where a swap has waited, or where it ran before.
        if let Some(installed) = self.state.installed(slot)?.filter(|i| i.release == *release)
            && self.state.verify(slot)?
        {
            if installed.channel == channel {
                return Ok(installed);
            }
            let installed = Installed { channel: channel.into(), ..installed };
            self.state.finish(slot, &installed)?;
            return Ok(installed);
        }
        let manifest = view.manifest(release)?;
        let (spec, state) = (&self.spec, &self.state);
        let source = view.source();
        let filled = Installation { spec, state, executor, release, manifest: &manifest, channel, source }.fill(slot);
        match &filled {
            Err(DeviceError::Unfit { reason, .. }) => {
                memory.refused.insert(release.release_digest.clone(), reason.clone());
                self.state.remember(memory)?;
            }
            Err(DeviceError::Refused { forged: true, .. }) => self.report_forged(release, channel, memory, now)?,
            _ => {}
        }
        filled
    }

    /// Whoever judges the release must hear that its files were not what was signed.
    fn report_forged(
        &self,
        release: &PointedRelease,
        channel: &str,
        memory: &Memory,
        now: SystemTime,
    ) -> Result<(), DeviceError> {
        let (spec, release) = (&self.spec, release.release_digest.clone());
        let cohort = cohort(memory.pointer.as_ref(), spec, &release).into();
        let whose = Whose { device: spec.id.clone(), channel: channel.into(), cohort, release };
        let mut diary = Diary::open(&self.state, Day::of(now), &whose, spec.power.map(|p| p.0))?;
        diary.forged();
        diary.save(&self.state, &Distributions::default(), true)
    }

    /// Why the model is not to be swapped now.
    fn disturbs(&self, now: SystemTime) -> Option<String> {
        let minutes = now.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs() / 60 % 1440);
        if self.spec.is_quiet(minutes as u16) {
            return Some("the swap waits for the end of the quiet hours".into());
        }
        let command = self.spec.ready.as_deref()?;
        let folder = self.spec.source.folder();
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(command).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        if !folder.as_os_str().is_empty() {
            shell.current_dir(folder);
        }
        match shell.status() {
            Ok(status) if status.success() => None,
            Ok(_) => Some(format!("the swap waits until `{command}` says that nobody is disturbed")),
            Err(e) => Some(format!("the swap waits: `{command}` cannot be run: {e}")),
        }
    }

    /// Lets a digest be tried again that did not suit, or crashed. Whether it was held back.
    pub fn forgive(&self, release_digest: &str) -> Result<bool, DeviceError> {
        let _lock = self.state.lock()?;
        let mut memory = self.state.memory()?;
        let held = memory.refused.remove(release_digest).is_some();
        self.state.remember(&memory)?;
        Ok(held)
    }
}

/// Brings to an end what a killed agent began: a device that has a model in a slot runs one, and none that crashed in a row.
pub(crate) fn recover(state: &State) -> Result<(), DeviceError> {
    let refused = state.memory()?.refused;
    let stands = |i: &Installed| !refused.contains_key(&i.release.release_digest);
    match state.active()? {
        Some((_, installed)) if stands(&installed) => Ok(()),
        Some((slot, _)) => match state.installed(slot.other())? {
            Some(other) if stands(&other) => state.activate(slot.other()),
            _ => Ok(()),
        },
        None => {
            for slot in [Slot::A, Slot::B] {
                if state.installed(slot)?.is_some_and(|i| stands(&i)) && state.verify(slot)? {
                    return state.activate(slot);
                }
            }
            Ok(())
        }
    }
}

/// Takes the device back to the other slot, and its digest out of use. Whether there was something to go back to.
pub(crate) fn roll_back(state: &State, reason: &str) -> Result<bool, DeviceError> {
    let _lock = state.lock()?;
    let Some((slot, installed)) = state.active()? else { return Ok(false) };
    let mut memory = state.memory()?;
    let other = state.installed(slot.other())?;
    let Some(other) = other.filter(|o| !memory.refused.contains_key(&o.release.release_digest)) else {
        return Ok(false);
    };
    if other.release.release_digest == installed.release.release_digest || !state.verify(slot.other())? {
        return Ok(false);
    }
    // First remembered, then done: after a power cut in between, `recover` does it.
    memory.refused.insert(installed.release.release_digest, reason.into());
    state.remember(&memory)?;
    state.activate(slot.other())?;
    Ok(true)
}
