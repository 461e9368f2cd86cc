//! Moves of a channel that carry no new release: its share grows, it halts, goes on, or goes back.
//!
//! Asymmetric: any one key of those who may advance halts; everything else takes the channel's own keys and threshold.

use std::time::SystemTime;

use plimsoll_record::{AuditAction, ChannelPointer, Halt, PointerState};
use plimsoll_trust::tuf::{self, Editor};

use super::{Placement, Published, Repository, check_channel, encode};
use crate::{
    ReleaseError,
    audit::{self, Event},
    catalogue,
    names::halt_target,
    roles::{HALT, ROLES},
};

impl Repository {
    /// Where a channel is, as devices see it: halted where a halt file says so. Nothing where it is at nothing yet.
    pub fn pointer(&self, channel: &str) -> Result<Option<ChannelPointer>, ReleaseError> {
        check_channel(channel)?;
        let client = catalogue::open(&self.place)?;
        catalogue::pointer(&client, channel)?.map(|p| catalogue::under_halt(&client, p)).transpose()
    }

    /// Gives the release that a channel is at to another share of devices, under another epoch.
    pub fn advance(&self, channel: &str, placement: &Placement, now: SystemTime) -> Result<Published, ReleaseError> {
        self.noting(now, || {
            let (editor, current) = self.current(channel)?;
            let manifest = self.whole(editor.client(), &current.target)?;
            let decision_sha256 = placement.decision_sha256.clone().or(current.decision_sha256);
            // More devices take it by a decision; fewer do at any time.
            if self.asks_for_decisions(channel) && placement.percent_bp > current.percent_bp {
                self.held(editor.client(), channel, &manifest, decision_sha256.as_deref())?;
            }
            let placement = Placement { decision_sha256, ..placement.clone() };
            let next = self.next(editor.client(), channel, current.target, &placement)?;
            let what = format!("{channel} goes to {} of 10000 devices at epoch {}", next.0.percent_bp, next.0.epoch);
            self.point(editor, next, &[Event::new(AuditAction::Advance, what)], now)
        })
    }

    /// Nobody new takes the release; who has it keeps it.
    pub fn pause(&self, channel: &str, decision: Option<String>, now: SystemTime) -> Result<Published, ReleaseError> {
        self.noting(now, || {
            let (editor, current) = self.current(channel)?;
            if current.state == PointerState::Halted {
                return Err(ReleaseError::Halted { channel: channel.into() });
            }
            let decision_sha256 = self.behind(&current, decision);
            let paused = ChannelPointer { state: PointerState::Paused, decision_sha256, ..current };
            self.replace(editor, paused, AuditAction::Pause, now)
        })
    }

    /// Halts a channel as it is, by any one key that may: devices go back to the fallback that its pointer names. Halting again
    /// changes the reason.
    pub fn halt(
        &self,
        channel: &str,
        reason: &str,
        decision: Option<String>,
        now: SystemTime,
    ) -> Result<Published, ReleaseError> {
        self.noting(now, || {
            let (mut editor, current) = self.current(channel)?;
            let halt = Halt {
                schema: Halt::SCHEMA.into(),
                channel: channel.into(),
                trial: self.trial,
                epoch: current.epoch,
                reason: reason.into(),
                utc: tuf::utc(now)?,
                decision_sha256: decision,
            };
            halt.check(channel).map_err(ReleaseError::Inconsistent)?;
            let moved = current.state != PointerState::Halted;
            let name = halt_target(channel);
            editor.set_target(HALT, &name, encode(&name, &halt)?)?;
            let what =
                format!("{channel} is halted at epoch {}, {}: {reason}", current.epoch, super::named(&current.target));
            audit::append(&mut editor, &[Event::new(AuditAction::Halt, what)], &self.actor, &self.keys, now)?;
            editor.commit(&self.keys, now)?;
            Ok(Published { repository: self.folder().into(), pointer: current.under(Some(&halt)), moved })
        })
    }

    /// Ends a halt or a pause with the same release: a new epoch, signed by the channel's own keys. The release is all there, and the
    /// decision that let it in holds.
    pub fn resume(&self, channel: &str, decision: Option<String>, now: SystemTime) -> Result<Published, ReleaseError> {
        self.noting(now, || {
            let (editor, current) = self.current(channel)?;
            if current.state == PointerState::Active {
                return Ok(Published { repository: self.folder().into(), pointer: current, moved: false });
            }
            let manifest = self.whole(editor.client(), &current.target)?;
            let decision_sha256 = self.behind(&current, decision);
            // A channel that went back to an older release names no decision.
            if let (true, Some(sha256)) = (self.asks_for_decisions(channel), &decision_sha256) {
                self.held(editor.client(), channel, &manifest, Some(sha256))?;
            }
            let resumed = ChannelPointer { state: PointerState::Active, decision_sha256, ..current };
            self.replace(editor, resumed, AuditAction::Resume, now)
        })
    }

    /// Points a channel at its fallback, for every device: a higher epoch at the older release.
    pub fn rollback(
        &self,
        channel: &str,
        decision: Option<String>,
        now: SystemTime,
    ) -> Result<Published, ReleaseError> {
        self.noting(now, || {
            let (editor, current) = self.current(channel)?;
            let no_fallback = || ReleaseError::NoFallback { channel: channel.into() };
            let target = current.previous.clone().ok_or_else(no_fallback)?;
            // Devices must find it whole.
            self.whole(editor.client(), &target)?;
            let back = ChannelPointer {
                salt: super::salt(channel, &target),
                target,
                // What is left behind is nothing to fall back on.
                previous: None,
                percent_bp: 10_000,
                holdback_bp: 0,
                state: PointerState::Active,
                not_before: None,
                decision_sha256: decision.filter(|_| !self.asks_for_decisions(channel)),
                ..current
            };
            self.replace(editor, back, AuditAction::Rollback, now)
        })
    }

    /// The decision that a pointer names while its release stays: in production that which let it in, which alone the repository holds.
    fn behind(&self, current: &ChannelPointer, decision: Option<String>) -> Option<String> {
        match self.asks_for_decisions(&current.channel) {
            true => current.decision_sha256.clone(),
            false => decision,
        }
    }

    /// The repository under its lock, with where a channel is.
    fn current(&self, channel: &str) -> Result<(Editor<'_>, ChannelPointer), ReleaseError> {
        check_channel(channel)?;
        let editor = Editor::open(self.store.as_ref(), ROLES)?;
        let current = catalogue::pointer(editor.client(), channel)?;
        let current = current.ok_or_else(|| ReleaseError::AtNothing { channel: channel.into() })?;
        let current = catalogue::under_halt(editor.client(), current)?;
        Ok((editor, current))
    }

    /// Signs a pointer under the next epoch.
    fn replace(
        &self,
        editor: Editor<'_>,
        pointer: ChannelPointer,
        action: AuditAction,
        now: SystemTime,
    ) -> Result<Published, ReleaseError> {
        let epoch = super::next_epoch(&pointer.channel, pointer.epoch)?;
        let what = format!(
            "{} is at {}, {:?}, at epoch {epoch}",
            pointer.channel,
            super::named(&pointer.target),
            pointer.state
        );
        self.point(editor, (ChannelPointer { epoch, ..pointer }, true), &[Event::new(action, what)], now)
    }
}
