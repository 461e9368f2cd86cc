//! A release that is loaded: its session, and what is counted of it.

use std::{
    fs,
    time::{Duration, Instant},
};

use plimsoll_onnx::Tensors;
use plimsoll_profile::{Day, DeviceSpec};
use plimsoll_record::{ChannelPointer, Distributions, PAYLOAD};
use plimsoll_runtime::{ExecError, Executor, LoadOptions, Session};

use crate::{
    DeviceError,
    day::{Diary, Whose},
    decide::{cohort, drawn},
    keys::{Keys, Tally},
    reference::Reference,
    state::{Installed, Slot, State},
};

/// What a session was loaded for.
type Shapes = Vec<(String, Vec<usize>)>;

/// A release that is loaded.
pub(crate) struct Lane {
    pub(crate) slot: Slot,
    pub(crate) installed: Installed,
    model: Vec<u8>,
    pub(crate) distributions: Distributions,
    pub(crate) session: Option<(Shapes, Box<dyn Session>)>,
    pub(crate) diary: Option<Diary>,
    /// On a server that routes.
    keys: Option<Keys>,
}

impl Lane {
    pub(crate) fn open(state: &State, slot: Slot, installed: Installed) -> Result<Self, DeviceError> {
        let payload = state.slot(slot).join(PAYLOAD);
        let path = payload.join(&installed.model);
        let model = fs::read(&path).map_err(|source| DeviceError::Io { path, source })?;
        // What the self-test read; without it there is no drift.
        let distributions = Reference::read(&payload).ok().flatten().map(|r| r.distributions).unwrap_or_default();
        Ok(Self { slot, installed, model, distributions, session: None, diary: None, keys: None })
    }

    pub(crate) fn run(&mut self, executor: &dyn Executor, inputs: &Tensors) -> Result<(Tensors, Duration), ExecError> {
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

    pub(crate) fn peak(&mut self) -> Option<u64> {
        self.session.as_mut().and_then(|(_, session)| session.peak_memory())
    }

    /// The diary of a day.
    pub(crate) fn diary(
        &mut self,
        day: Day,
        spec: &DeviceSpec,
        state: &State,
        pointer: Option<&ChannelPointer>,
    ) -> Result<&mut Diary, DeviceError> {
        let release = self.installed.release.release_digest.clone();
        let cohort = cohort(pointer, spec, &release).into();
        let whose = Whose { device: spec.id.clone(), channel: self.installed.channel.clone(), cohort, release };
        let diary = match self.diary.take() {
            Some(diary) if diary.is_of(day, &whose) => diary,
            old => {
                old.map_or(Ok(()), |mut old| old.save(state, &self.distributions, true))?;
                Diary::open(state, day, &whose, spec.power.map(|p| p.0))?
            }
        };
        Ok(self.diary.insert(diary))
    }

    /// What is counted of a request's key on a day, where it is one of those that are.
    pub(crate) fn tally(
        &mut self,
        key: &str,
        day: Day,
        spec: &DeviceSpec,
        state: &State,
        pointer: &ChannelPointer,
    ) -> Result<Option<&mut Tally>, DeviceError> {
        let Installed { release, channel, .. } = &self.installed;
        let keys = match self.keys.take() {
            Some(keys) if keys.is_of(day) => keys,
            old => {
                old.map_or(Ok(()), |mut old| old.save(state, true))?;
                Keys::open(state, day, &release.release_digest, channel, spec.power.map(|p| p.0))
            }
        };
        Ok(self.keys.insert(keys).of(key, drawn(pointer, key, &release.release_digest)))
    }

    /// Writes what was counted, where it is time to, or where `now` it is.
    pub(crate) fn save(&mut self, state: &State, now: bool) -> Result<(), DeviceError> {
        if let Some(diary) = &mut self.diary {
            diary.save(state, &self.distributions, now)?;
        }
        match &mut self.keys {
            Some(keys) => keys.save(state, now),
            None => Ok(()),
        }
    }
}
