//! A rollout of 600 devices on disk, with a key that signs its decisions.

#![allow(dead_code, reason = "each test file uses its part")]

mod policy;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
};

use plimsoll_profile::{Day, Policy};
use plimsoll_record::{ChannelPointer, Decision, PointedRelease, PointerState, RolledOut};
use plimsoll_rollout::{
    Pseudonyms,
    chain::Chain,
    course::{self, Course},
    ingest::{Receipt, Rules, ingest},
    judge::Judge,
    replay::Past,
    store::Store,
};
use plimsoll_trust::{FileKey, KeySource, sha256_hex};
use policy::policy;

/// The policy that they are under.
pub(crate) fn usual() -> String {
    let metrics = "[metrics.over-budget]\nmargin = \"1pp\"\nmax = \"10%\"\nspread = \"1pp\"\n\
                   [metrics.crashed-devices]\nmargin = \"20pp\"\nbase = \"1%\"\n";
    policy([600, 600], "soak = \"8d\"\nmin-devices = 100", &[("100%", 7)], metrics)
}

pub(crate) fn digest(letter: char) -> String {
    letter.to_string().repeat(64)
}

pub(crate) fn day(text: &str) -> Day {
    Day::parse(text).unwrap()
}

pub(crate) fn pointer(holdback_bp: u16) -> ChannelPointer {
    let release = |letter| PointedRelease {
        release: "m".into(),
        version: "1".into(),
        manifest_sha256: digest('0'),
        release_digest: digest(letter),
    };
    ChannelPointer {
        schema: ChannelPointer::SCHEMA.into(),
        channel: "beta".into(),
        trial: true,
        epoch: 1,
        target: release('b'),
        previous: Some(release('a')),
        percent_bp: 10_000,
        salt: "salt".into(),
        holdback_bp,
        state: PointerState::Active,
        not_before: None,
        decision_sha256: None,
    }
}

pub(crate) fn rules(today: &str) -> Rules {
    Rules {
        today: day(today).number(),
        retention: 400,
        releases: BTreeSet::from([digest('a'), digest('b')]),
        pointers: vec![pointer(1_000)],
        enrolled: None,
        forgotten: BTreeSet::new(),
        keep_text: false,
        pseudonyms: Pseudonyms::new(&[7; 32]),
    }
}

/// One line of a device on a day, in its cohort; `over` of a thousand inferences are over budget.
pub(crate) fn line(device: u32, number: i32, over: u32) -> String {
    let held = pointer(1_000).holds_back(pointer(1_000).bucket(&format!("d{device}")));
    let (cohort, release) = if held { ("holdback", digest('a')) } else { ("treatment", digest('b')) };
    let day = Day::of_number(number).unwrap();
    format!(
        r#"{{"kind":"device-day","schema":"plimsoll.telemetry/1","device":"d{device}","day":"{day}","release":"{release}","cohort":"{cohort}","channel":"beta","inferences":1000,"over_budget":{},"crashes":0,"restarts":0}}"#,
        if held { 20 + device % 5 } else { over + device % 5 }
    )
}

/// Days of a fleet.
pub(crate) fn fleet(from: &str, days: i32, over: u32) -> String {
    let first = day(from).number();
    let mut text = String::new();
    for number in first..first + days {
        (0..600).for_each(|device| writeln!(text, "{}", line(device, number, over)).unwrap());
    }
    text
}

pub(crate) struct World {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) key: FileKey,
    pub(crate) policy: Policy,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::under(&usual())
    }

    /// Under a policy.
    pub(crate) fn under(policy: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = FileKey::read_or_create(&folder.path().join("key.pem")).unwrap();
        Self { folder, key, policy: Policy::from_text("p.toml", policy).unwrap() }
    }

    pub(crate) fn store(&self) -> Store {
        Store::open(&self.folder.path().join("t.sqlite")).unwrap()
    }

    /// What its judgements rested on: the store alone.
    pub(crate) fn past(&self) -> Past {
        Past { store: self.store(), outcomes: BTreeMap::new() }
    }

    pub(crate) fn take(&self, name: &str, content: impl AsRef<[u8]>, rules: &Rules) -> Receipt {
        let path = self.folder.path().join(name);
        fs::write(&path, content).unwrap();
        ingest(&mut self.store(), &path, rules).unwrap()
    }

    pub(crate) fn chain(&self) -> Chain {
        Chain::read(&self.folder.path().join("decisions"), &[self.key.public_key()]).unwrap()
    }

    pub(crate) fn sha256(&self) -> String {
        sha256_hex(usual().as_bytes())
    }

    pub(crate) fn append(&self, next: impl FnOnce(&Course<'_>) -> Decision) -> Decision {
        let mut chain = self.chain();
        let decision = next(&Course::of(chain.links(), &self.policy, &self.sha256()).unwrap());
        chain.append(decision, &[&self.key as &dyn KeySource]).unwrap().decision.clone()
    }

    pub(crate) fn start(&self) {
        let rollout = RolledOut {
            name: "m".into(),
            version: "1".into(),
            release: digest('b'),
            previous: digest('a'),
            previous_in_beta: None,
        };
        let first = course::start(&self.policy, &self.sha256(), rollout, day("2026-11-01"), "a").unwrap();
        self.chain().append(first, &[&self.key as &dyn KeySource]).unwrap();
    }

    pub(crate) fn judge(&self, on: &str) -> Decision {
        let (store, judge) = (self.store(), Judge::new(&self.policy));
        self.append(|course| {
            let batch = store.last_batch().unwrap();
            let kept = store.evidence(&course.query(day(on), batch).unwrap()).unwrap();
            course.judgement(&judge, day(on), &kept, Some(batch)).unwrap()
        })
    }
}
