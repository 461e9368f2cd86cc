//! A rollout as it lies on disk, with the repository that it moves.

use std::{
    fs,
    path::{Path, PathBuf},
    time::SystemTime,
};

use plimsoll_profile::{Day, Policy};
use plimsoll_record::{ChannelPointer, Decision, RolloutState};
use plimsoll_release::{Actor, BETA, GENERAL, Placement, Promotion, Repository};
use plimsoll_rollout::{
    Pseudonyms,
    chain::{Chain, Link},
    course::Course,
    ingest::Rules,
    store::Store,
};
use plimsoll_trust::{
    atomic,
    dsse::{Envelope, IN_TOTO},
    sha256_hex,
};

use super::args::At;
use crate::{
    failure::Failure,
    manual::Code,
    places::{self, Home},
    repositories,
    secrets::Here,
    ui,
    world::{self, patiently},
};

/// A rollout and its repository.
pub(super) struct Place {
    pub(super) repository: Repository,
    pub(super) folder: PathBuf,
    pub(super) chain: Chain,
    given: Option<Day>,
}

impl Place {
    pub(super) fn open(at: &At) -> Result<Self, Failure> {
        let repository = match &at.repository.repository {
            Some(folder) => folder.clone(),
            None => Home::new(None).find_repository(at.repository.name.as_deref())?,
        };
        let keys = repositories::keys(&repository, at.repository.keys.as_deref())?;
        let folder = at.rollout.clone().unwrap_or_else(|| places::rollout_of(&repository));
        let repository = repositories::open(&repository, &keys, &Here)?;
        let signing = repository.signing_key()?.public_key().clone();
        let chain = Chain::read(&folder.join("decisions"), &[&signing])?;
        Ok(Self { repository, folder, chain, given: at.day })
    }

    /// The day that it is.
    pub(super) fn today(&self) -> Day {
        self.given.unwrap_or_else(world::today)
    }

    /// The last whole day.
    pub(super) fn last_whole_day(&self) -> Day {
        self.given.or_else(|| Day::of_number(world::today().number() - 1)).unwrap_or_else(world::today)
    }

    fn policy_path(&self) -> PathBuf {
        self.folder.join("policy.toml")
    }

    /// The frozen policy, with its digest.
    pub(super) fn policy(&self) -> Result<(Policy, String), Failure> {
        let path = self.policy_path();
        if !path.is_file() {
            return Err(Failure::new(Code::RolloutOrder, format!("no rollout has begun in {}", self.folder.display()))
                .help("`plimsoll rollout start --policy TOML` begins one"));
        }
        read_policy(&path)
    }

    /// Keeps a copy of the policy; whatever is begun with it holds to this text.
    pub(super) fn freeze(&self, policy: &Path) -> Result<(Policy, String), Failure> {
        let found = read_policy(policy)?;
        let bytes = fs::read(policy).map_err(|e| Failure::not_read(policy, &e))?;
        let path = self.policy_path();
        atomic::create_folders(&self.folder).map_err(|e| Failure::not_written(&self.folder, &e))?;
        atomic::write(&path, &bytes).map_err(|e| Failure::not_written(&path, &e))?;
        Ok(found)
    }

    pub(super) fn course<'c>(&'c self, policy: &'c Policy, sha256: &str) -> Result<Course<'c>, Failure> {
        Ok(Course::of(self.chain.links(), policy, sha256)?)
    }

    pub(super) fn store(&self) -> Result<Store, Failure> {
        atomic::create_folders(&self.folder).map_err(|e| Failure::not_written(&self.folder, &e))?;
        Ok(Store::open(&self.folder.join("telemetry.sqlite"))?)
    }

    pub(super) fn pseudonyms(&self) -> Result<Pseudonyms, Failure> {
        atomic::create_folders(&self.folder).map_err(|e| Failure::not_written(&self.folder, &e))?;
        let path = self.folder.join("pseudonym.key");
        // Under another key everybody would be somebody else: who was forgotten would come back, who was counted would count twice.
        if !path.exists() && self.store()?.knows_anybody()? {
            let message = format!("{} is gone, by which the store knows its devices", path.display());
            return Err(Failure::new(Code::BadData, message)
                .help("put it back from where it is kept; without it, begin anew with another --rollout folder"));
        }
        Ok(Pseudonyms::of_file(&path)?)
    }

    /// Both channels, as far as they are at something.
    pub(super) fn pointers(&self) -> Result<Vec<ChannelPointer>, Failure> {
        let mut found = Vec::new();
        for channel in [BETA, GENERAL] {
            found.extend(self.repository.pointer(channel)?);
        }
        Ok(found)
    }

    /// What telemetry is held against.
    pub(super) fn rules(&self, store: &Store, keep_text: bool) -> Result<Rules, Failure> {
        const DAYS: f64 = 400.0;
        let retention = self.policy().map_or(DAYS, |(policy, _)| policy.retention.0 / 86_400.0);
        let pointers = self.pointers()?;
        let of = |p: &ChannelPointer| {
            std::iter::once(p.target.release_digest.clone())
                .chain(p.previous.iter().map(|p| p.release_digest.clone()))
                .collect::<Vec<_>>()
        };
        let rolled = self.chain.links().iter().map(|l| &l.decision.rollout);
        let rolled = rolled.flat_map(|r| [&r.release, &r.previous].into_iter().chain(&r.previous_in_beta));
        let releases = pointers.iter().flat_map(of).chain(rolled.cloned()).collect();
        Ok(Rules {
            today: self.today().number(),
            retention: retention as i32,
            releases,
            pointers,
            enrolled: store.enrolled()?,
            forgotten: store.forgotten()?,
            keep_text,
            pseudonyms: self.pseudonyms()?,
        })
    }

    /// Signs a decision, puts it into the chain, and moves the channels as it says. Its text may be known before: nothing else is signed.
    /// Until they have moved, a file says so: whoever comes next moves them where this one did not get so far.
    pub(super) fn carry_out(&mut self, decision: Decision, holdback: f64) -> Result<Decision, Failure> {
        let pending = self.pending_path();
        atomic::create_folders(&self.folder).map_err(|e| Failure::not_written(&self.folder, &e))?;
        world::write(&pending, self.chain.next().to_string().as_bytes())?;
        let key = self.repository.signing_key()?;
        let link = self.chain.append(decision, &[key])?.clone();
        self.act(&link, holdback)?;
        Ok(link.decision)
    }

    /// Does what a decision says, and ticks it off.
    fn act(&mut self, link: &Link, holdback: f64) -> Result<(), Failure> {
        let d = &link.decision;
        // The repository's own log names the person too, and what their word was for.
        let person = d.by.clone().unwrap_or_else(|| "rollout".into());
        self.repository.act_as(Actor { person, reason: d.reasons.join("; ") });
        if d.kind == plimsoll_record::DecisionKind::Resolve {
            let meaning = format!(
                "{} {} goes on from stage {} though evidence does not decide it",
                d.rollout.name, d.rollout.version, d.stage.number
            );
            patiently(|| self.repository.note_override(&meaning, SystemTime::now()))?;
        }
        self.move_channels(link, holdback)?;
        self.moved()
    }

    /// In production the repository holds what let a release in.
    fn accept(&self, link: &Link, now: SystemTime) -> Result<(), Failure> {
        if !self.repository.is_trial() {
            let envelope = Envelope::sign(IN_TOTO, &link.payload, &[self.repository.signing_key()?])?;
            let envelope = world::json(&envelope)?;
            let (name, version) = (&link.decision.rollout.name, &link.decision.rollout.version);
            patiently(|| self.repository.accept_decision(name, version, envelope.as_bytes(), now))?;
        }
        Ok(())
    }

    fn pending_path(&self) -> PathBuf {
        self.folder.join("pending")
    }

    /// Whether a decision was written whose channels may not have moved.
    pub(super) fn is_pending(&self) -> bool {
        self.unmoved().is_some()
    }

    /// The last decision, where its channels may not have moved.
    fn unmoved(&self) -> Option<&Link> {
        let text = fs::read_to_string(self.pending_path()).ok()?;
        let sequence: u64 = text.trim().parse().ok()?;
        self.chain.last().filter(|link| link.decision.sequence == sequence)
    }

    fn moved(&self) -> Result<(), Failure> {
        let pending = self.pending_path();
        match fs::remove_file(&pending).and_then(|()| atomic::sync_folder(&self.folder)) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Failure::not_written(&pending, &e)),
            _ => Ok(()),
        }
    }

    /// Moves the channels as the last decision says, where whoever took it was interrupted before.
    pub(super) fn catch_up(&mut self) -> Result<(), Failure> {
        let Some(link) = self.unmoved().cloned() else { return self.moved() };
        ui::say(&format!("decision {} was interrupted: the channels are moved as it says", link.decision.sequence));
        self.act(&link, self.policy()?.0.holdback)
    }

    /// Moves the channels as a decision says. What has moved by it already stays as it is.
    fn move_channels(&self, link: &Link, holdback: f64) -> Result<(), Failure> {
        use plimsoll_record::DecisionKind as Kind;
        let (d, now) = (&link.decision, SystemTime::now());
        let decision = Some(link.sha256.clone());
        let placement = Placement {
            percent_bp: d.next.percent_bp,
            holdback_bp: (holdback * 1e4).round() as u16,
            not_before: None,
            decision_sha256: decision.clone(),
        };
        // Channels that the release is in. One that cannot be read is nothing to pass over: the release may be in it.
        let mut at = Vec::new();
        for channel in [GENERAL, BETA] {
            let pointer = self.repository.pointer(channel)?;
            at.extend(pointer.filter(|p| p.target.release_digest == d.rollout.release).map(|_| channel));
        }
        let advance = |channel: &str, placement: &Placement| -> Result<(), Failure> {
            let there = self.repository.pointer(channel)?.is_some_and(|p| p.decision_sha256 == decision);
            if !there {
                if channel == GENERAL {
                    self.accept(link, now)?;
                }
                patiently(|| self.repository.advance(channel, placement, now))?;
            }
            Ok(())
        };
        match d.kind {
            Kind::Start => advance(BETA, &placement)?,
            Kind::Close => {
                for channel in at {
                    advance(channel, &Placement { percent_bp: 10_000, holdback_bp: 0, ..placement.clone() })?;
                }
            }
            Kind::Advance | Kind::Resolve if d.state == RolloutState::Complete => {}
            Kind::Advance | Kind::Resolve if at.contains(&GENERAL) => advance(GENERAL, &placement)?,
            Kind::Advance | Kind::Resolve => {
                let (name, version) = (&d.rollout.name, &d.rollout.version);
                self.accept(link, now)?;
                let promotion = Promotion { name, version, channel: GENERAL, placement: &placement };
                patiently(|| self.repository.promote(&promotion, now))?;
            }
            Kind::Judgement if d.state != RolloutState::Halted => {}
            Kind::Judgement | Kind::Halt => {
                let reason = d.reasons.join("; ");
                let reason: String = reason.chars().take(400).collect();
                for channel in at {
                    patiently(|| self.repository.halt(channel, &reason, decision.clone(), now))?;
                }
            }
            Kind::Resume => {
                for channel in at {
                    patiently(|| self.repository.resume(channel, decision.clone(), now))?;
                }
            }
            Kind::RollBack => {
                for channel in at {
                    patiently(|| self.repository.rollback(channel, decision.clone(), now))?;
                }
            }
        }
        Ok(())
    }
}

/// A policy with its digest.
pub(super) fn read_policy(path: &Path) -> Result<(Policy, String), Failure> {
    let policy = Policy::read(path)?;
    let bytes = fs::read(path).map_err(|e| Failure::not_read(path, &e))?;
    Ok((policy, sha256_hex(&bytes)))
}
