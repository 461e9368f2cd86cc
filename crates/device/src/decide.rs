//! Which release a device is to run, from a pointer and what runs: a pure function.

use std::{collections::BTreeMap, time::SystemTime};

use jiff::Timestamp;
use plimsoll_profile::DeviceSpec;
use plimsoll_record::{ChannelPointer, PointedRelease, PointerState};

use crate::state::Installed;

/// What is known of the device.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts<'f> {
    pub(crate) id: &'f str,
    pub(crate) running: Option<&'f Installed>,
    /// Digests that are not tried again.
    pub(crate) refused: &'f BTreeMap<String, String>,
    /// It keeps both releases, and draws each request's by its key.
    pub(crate) routes: bool,
    pub(crate) now: SystemTime,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// Run what runs.
    Keep(String),
    /// Run this release.
    Take(PointedRelease, String),
    /// Run this release again, which came before.
    GoBack(PointedRelease, String),
}

pub(crate) fn decide(pointer: &ChannelPointer, facts: &Facts<'_>) -> Step {
    let target = &pointer.target;
    let runs =
        |release: &PointedRelease| facts.running.is_some_and(|r| r.release.release_digest == release.release_digest);
    let refused = |release: &PointedRelease| facts.refused.get(&release.release_digest);
    // What a device falls back on where it may not, or not yet, run the target.
    let fallback = |why: &str| match &pointer.previous {
        Some(previous) if refused(previous).is_none() && !runs(previous) => {
            Step::GoBack(previous.clone(), format!("{why}: back to {} {}", previous.release, previous.version))
        }
        _ => Step::Keep(format!("{why}, and there is nothing else to run")),
    };
    let without = |why: String| match facts.running {
        Some(_) => Step::Keep(why),
        None => fallback(&why),
    };
    match pointer.state {
        PointerState::Halted if runs(target) || facts.running.is_none() => {
            return fallback(&format!("{} {} is halted", target.release, target.version));
        }
        PointerState::Halted => return Step::Keep(format!("{} {} is halted", target.release, target.version)),
        _ => {}
    }
    if runs(target) {
        return Step::Keep("it runs what the channel is at".into());
    }
    if let Some(reason) = refused(target) {
        return without(format!("{} {} is not tried again: {reason}", target.release, target.version));
    }
    if pointer.state == PointerState::Paused {
        return without("the channel is paused: nobody new takes the release".into());
    }
    if let Some(wait) = waits(pointer, facts.now) {
        return without(wait);
    }
    let bucket = pointer.bucket(facts.id);
    if facts.routes || pointer.takes(bucket) {
        return Step::Take(target.clone(), format!("bucket {bucket} is in the share of {} bp", pointer.percent_bp));
    }
    let why = match pointer.holds_back(bucket) {
        true => format!("bucket {bucket} is held back, to compare with"),
        false => format!("bucket {bucket} is not yet in the share of {} bp", pointer.percent_bp),
    };
    // What came by another channel, and is nothing that this one knows: its user has left the beta.
    let elsewhere =
        facts.running.is_some_and(|r| r.channel != pointer.channel) && !pointer.previous.as_ref().is_some_and(&runs);
    if elsewhere { fallback(&why) } else { without(why) }
}

/// Why the pointer does not hold yet.
fn waits(pointer: &ChannelPointer, now: SystemTime) -> Option<String> {
    let not_before = pointer.not_before.as_ref()?;
    let holds = match (not_before.parse::<Timestamp>(), Timestamp::try_from(now)) {
        (Ok(from), Ok(now)) => now >= from,
        // A time that nobody can read has not come.
        _ => false,
    };
    (!holds).then(|| format!("the channel's release waits until {not_before}"))
}

/// What the device counts as, from the pointer that it saw last. A server that routes is of neither arm: its requests are, by their keys.
pub(crate) fn cohort(pointer: Option<&ChannelPointer>, spec: &DeviceSpec, release_digest: &str) -> &'static str {
    match pointer {
        _ if spec.routes => "waiting",
        Some(p) if p.target.release_digest == release_digest => "treatment",
        Some(p) if p.holds_back(p.bucket(&spec.id)) => "holdback",
        _ => "waiting",
    }
}

/// What the key of a request counts as that a release answered: of an arm only where it was drawn for it.
pub(crate) fn drawn(pointer: &ChannelPointer, key: &str, release_digest: &str) -> &'static str {
    let bucket = pointer.bucket(key);
    match pointer.target.release_digest == release_digest {
        true if pointer.takes(bucket) => "treatment",
        false if pointer.holds_back(bucket) => "holdback",
        _ => "waiting",
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn release(version: &str) -> PointedRelease {
        let digest = plimsoll_trust::sha256_hex(version.as_bytes());
        PointedRelease {
            release: "m".into(),
            version: version.into(),
            manifest_sha256: digest.clone(),
            release_digest: digest,
        }
    }

    fn pointer() -> ChannelPointer {
        ChannelPointer {
            schema: ChannelPointer::SCHEMA.into(),
            channel: "general".into(),
            trial: true,
            epoch: 1,
            target: release("2.0.0"),
            previous: Some(release("1.0.0")),
            percent_bp: 10_000,
            salt: "salt".into(),
            holdback_bp: 0,
            state: PointerState::Active,
            not_before: None,
            decision_sha256: None,
        }
    }

    fn installed(version: &str, channel: &str) -> Installed {
        Installed {
            release: release(version),
            channel: channel.into(),
            bytes: 0,
            model: "model.onnx".into(),
            self_test: String::new(),
        }
    }

    /// What a device does that runs a version, by name of the step and the version it takes.
    fn check(change: impl Fn(&mut ChannelPointer), running: Option<Installed>, refused: &[&str]) -> String {
        let mut pointer = pointer();
        change(&mut pointer);
        let refused = refused.iter().map(|v| (release(v).release_digest, "it crashed".to_owned())).collect();
        let now = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let facts = Facts { id: "device-1", running: running.as_ref(), refused: &refused, routes: false, now };
        match decide(&pointer, &facts) {
            Step::Keep(_) => "keep".into(),
            Step::Take(r, _) => format!("take {}", r.version),
            Step::GoBack(r, _) => format!("back to {}", r.version),
        }
    }

    #[test]
    fn the_share_decides_and_who_waits_keeps_what_it_has() {
        let one = || Some(installed("1.0.0", "general"));
        assert_eq!(check(|_| {}, one(), &[]), "take 2.0.0");
        assert_eq!(check(|_| {}, Some(installed("2.0.0", "general")), &[]), "keep");
        // Its bucket is 7112.
        assert_eq!(check(|p| p.percent_bp = 7112, one(), &[]), "keep");
        assert_eq!(check(|p| p.percent_bp = 7113, one(), &[]), "take 2.0.0");
        assert_eq!(check(|p| p.holdback_bp = 2888, one(), &[]), "keep");
        assert_eq!(check(|p| p.holdback_bp = 2887, one(), &[]), "take 2.0.0");
        assert_eq!(check(|p| p.state = PointerState::Paused, one(), &[]), "keep");
        // Who has it keeps it when the share shrinks.
        assert_eq!(check(|p| p.percent_bp = 0, Some(installed("2.0.0", "general")), &[]), "keep");
    }

    #[test]
    fn no_device_is_left_without_a_model() {
        assert_eq!(check(|p| p.percent_bp = 0, None, &[]), "back to 1.0.0");
        assert_eq!(check(|p| p.state = PointerState::Halted, None, &[]), "back to 1.0.0");
        assert_eq!(check(|p| p.state = PointerState::Paused, None, &[]), "back to 1.0.0");
        assert_eq!(check(|_| {}, None, &["2.0.0"]), "back to 1.0.0");
        assert_eq!(check(|_| {}, None, &[]), "take 2.0.0");
    }

    #[test]
    fn a_halt_takes_back_who_has_it_and_nobody_else() {
        let halted = |p: &mut ChannelPointer| p.state = PointerState::Halted;
        assert_eq!(check(halted, Some(installed("2.0.0", "general")), &[]), "back to 1.0.0");
        assert_eq!(check(halted, Some(installed("1.0.0", "general")), &[]), "keep");
        assert_eq!(check(halted, Some(installed("0.9.0", "general")), &[]), "keep");
        let alone = |p: &mut ChannelPointer| (p.state, p.previous) = (PointerState::Halted, None);
        assert_eq!(check(alone, Some(installed("2.0.0", "general")), &[]), "keep");
    }

    #[test]
    fn a_digest_that_failed_is_not_tried_again() {
        assert_eq!(check(|_| {}, Some(installed("1.0.0", "general")), &["2.0.0"]), "keep");
        let halted = |p: &mut ChannelPointer| p.state = PointerState::Halted;
        assert_eq!(check(halted, Some(installed("2.0.0", "general")), &["1.0.0"]), "keep");
    }

    #[test]
    fn nothing_is_taken_before_its_time_or_at_a_time_that_cannot_be_read() {
        let one = || Some(installed("1.0.0", "general"));
        assert_eq!(check(|p| p.not_before = Some("2027-01-15T07:59:59Z".into()), one(), &[]), "take 2.0.0");
        assert_eq!(check(|p| p.not_before = Some("2027-01-15T08:00:01Z".into()), one(), &[]), "keep");
        assert_eq!(check(|p| p.not_before = Some("soon".into()), one(), &[]), "keep");
    }

    #[test]
    fn who_leaves_the_beta_goes_back_to_what_everybody_has() {
        let beta = || Some(installed("3.0.0", "beta"));
        assert_eq!(check(|p| p.percent_bp = 0, beta(), &[]), "back to 1.0.0");
        assert_eq!(check(|_| {}, beta(), &[]), "take 2.0.0");
        assert_eq!(check(|p| p.percent_bp = 0, Some(installed("1.0.0", "beta")), &[]), "keep");
    }
}
