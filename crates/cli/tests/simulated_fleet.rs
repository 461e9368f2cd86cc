//! A rehearsal: a harmless, a harmful and a borderline release go through a whole rollout of a fleet, day by day, by the verbs alone. Some
//! of the devices are real agents, which install, run and report; the others are records of the same format.
//!
//! `cargo xtask simulate-fleet --devices 5000 --agents 20 --policy POLICY.toml --seed 1` is the long form.
#![cfg(feature = "rollout")]

#[path = "../../device/tests/support/mod.rs"]
mod support;

#[path = "../../rollout/tests/support/policy.rs"]
mod policy;

use std::{
    collections::BTreeSet,
    env,
    fmt::Write as _,
    fs,
    path::PathBuf,
    process::Command,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use plimsoll_device::{Agent, DeviceError, Runner, records};
use plimsoll_profile::{Day, DeviceSpec, Policy, RolloutMetric};
use plimsoll_record::{ChannelPointer, Decision, RolloutState, RolloutVerdict, TelemetryRecord};
use plimsoll_rollout::judge::is_for_a_person;
use plimsoll_runtime::TractExecutor;
use policy::policy;
use support::{Team, crashing, image, model, version};

/// With margins that a fleet of some hundreds can show.
fn usual() -> String {
    let metrics = "[metrics.over-budget]\nmargin = \"1pp\"\nmax = \"10%\"\nspread = \"1pp\"\n\
                   [metrics.crashed-devices]\nmargin = \"20pp\"\nbase = \"0.5%\"\n\
                   [metrics.agreement]\nmargin = \"5pp\"\nexpected = \"98%\"\nspread = \"2pp\"\n\
                   [metrics.energy]\nmargin = \"10%\"\nspread = \"5%\"\n";
    let steps = [("5%", 2), ("20%", 3), ("50%", 3), ("100%", 3)];
    policy([900, 300], "soak = \"8d\"\nmin-devices = 100", &steps, metrics)
}

/// Longest rehearsal, in days.
const LONGEST: i32 = 200;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// As good as the one before.
    Harmless,
    /// Passes its self-test and crashes on what the field delivers.
    Harmful,
    /// Over its time budget more often by the margin.
    Borderline,
}

struct Fleet {
    team: Team,
    kind: Kind,
    policy: Policy,
    seed: u64,
    /// Devices that are records alone, and those that are agents, with their channel.
    played: Vec<(String, &'static str)>,
    agents: Vec<(String, &'static str)>,
    exposed: BTreeSet<String>,
}

/// What a rehearsal came to.
struct End {
    state: RolloutState,
    stage: u16,
    days: i32,
    persons: u32,
    reasons: Vec<String>,
}

fn from_outside(name: &str, default: u64) -> u64 {
    env::var(name).map_or(default, |v| v.parse().unwrap())
}

/// Between 0 and 1, by SplitMix64 (Steele et al. 2014) of what it is drawn for.
fn unit(seed: u64, what: &[u64]) -> f64 {
    let mix = |z: u64| {
        let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    let all = what.iter().fold(seed, |s, w| mix(s.wrapping_add(0x9e37_79b9_7f4a_7c15).wrapping_add(*w)));
    (mix(all) >> 11) as f64 / (1_u64 << 53) as f64
}

/// About normal, with mean 0 and standard deviation 1.
fn bell(seed: u64, what: &[u64]) -> f64 {
    let one = |i: u64| unit(seed, &[what, &[i]].concat());
    ((0..4).map(one).sum::<f64>() - 2.0) * 3.0_f64.sqrt()
}

impl Fleet {
    fn new(kind: Kind) -> Self {
        let text = env::var("PLIMSOLL_POLICY").map_or_else(|_| usual(), |p| fs::read_to_string(p).unwrap());
        let policy = Policy::from_text("policy.toml", &text).unwrap_or_else(|e| panic!("{}", e.render()));
        let (team, seed) = (Team::new(), from_outside("PLIMSOLL_SEED", 1));
        fs::write(team.place("policy.toml"), text).unwrap();
        let general = from_outside("PLIMSOLL_DEVICES", 900);
        let enrolled = policy.plan.map_or(300, |p| p.enrolled);
        let named =
            |prefix: &str, n: u64, channel| (0..n).map(|i| (format!("{prefix}{i}"), channel)).collect::<Vec<_>>();
        let played = [named("beta-", enrolled, "beta"), named("general-", general, "general")].concat();
        let agents = from_outside("PLIMSOLL_AGENTS", 6);
        let half = agents.div_ceil(2);
        let agents = [named("tester-", half, "beta"), named("board-", agents - half, "general")].concat();
        let mut list = "schema = 1\n".to_owned();
        for (id, _) in agents.iter().filter(|(_, channel)| *channel == "beta") {
            writeln!(list, "[[enrolled]]\ndevice = \"{id}\"\nconsent = \"2026-01-01\"").unwrap();
        }
        fs::write(team.place("enrolment.toml"), list).unwrap();
        Self { team, kind, policy, seed, played, agents, exposed: BTreeSet::new() }
    }

    fn agent(&self, (id, channel): &(String, &str)) -> Agent {
        let follow = if *channel == "beta" { "follow = \"beta\"\nenrolment = \"enrolment.toml\"" } else { "" };
        let run = "[budget]\nlatency = \"1s\"\n[run]\nshadow = \"50%\"\nhealthy = 5\npower = \"2W\"\n";
        self.team.agent(id, &format!("{follow}\n{run}"))
    }

    /// All agents look at their channels; none is ever without a model.
    fn sync(&self) {
        for who in &self.agents {
            let agent = self.agent(who);
            agent.sync(&TractExecutor, SystemTime::now()).unwrap();
            let (slot, _) = agent.state().active().unwrap().unwrap_or_else(|| panic!("{} has no model", who.0));
            assert!(agent.state().verify(slot).unwrap(), "{} runs something that is not whole", who.0);
        }
    }

    /// All agents run for a day, and report.
    fn work(&self, day: i32, text: &mut String) {
        let noon = UNIX_EPOCH + Duration::from_secs(86_400 * u64::from(day.unsigned_abs()) + 43_200);
        for who in &self.agents {
            let agent = self.agent(who);
            let mut runner = Runner::start(&agent, &TractExecutor, noon).unwrap();
            for grey in [4.0, 0.0, 9.0, 12.0] {
                match runner.infer(None, &image(grey), noon) {
                    Ok(_) => {}
                    Err(e @ DeviceError::Exec(_)) => panic!("{} has nothing to go back to: {e}", who.0),
                    Err(e) => panic!("{}: {e}", who.0),
                }
            }
            runner.end().unwrap();
            let tomorrow = Day::of_number(day + 1).unwrap();
            for record in records(agent.state(), tomorrow, false).unwrap() {
                let TelemetryRecord::DeviceDay(d) = &record else { continue };
                if Day::parse(&d.day).map(Day::number) == Some(day) {
                    writeln!(text, "{}", serde_json::to_string(&record).unwrap()).unwrap();
                }
            }
        }
    }

    /// What one of the others reports of a day; nothing, now and then.
    fn record(&self, number: usize, pointer: Option<&ChannelPointer>, previous: &str, day: i32) -> Option<String> {
        let (id, channel) = self.played.get(number)?;
        let (n, d) = (number as u64, u64::from(day.unsigned_abs()));
        if unit(self.seed, &[1, n, d]) < 0.03 {
            return None;
        }
        let bucket = pointer.map(|p| p.bucket(id));
        let (cohort, release) = match (pointer, bucket) {
            (Some(p), _) if p.target.release_digest == previous => ("waiting", p.target.release_digest.as_str()),
            (Some(p), Some(b)) if p.takes(b) => ("treatment", p.target.release_digest.as_str()),
            (Some(p), Some(b)) if p.holds_back(b) => ("holdback", previous),
            _ => ("waiting", previous),
        };
        let treated = cohort == "treatment";
        let margin = |metric| self.policy.tolerances.iter().find(|t| t.metric == metric).map_or(0.01, |t| t.margin);
        let over = if treated && self.kind == Kind::Borderline { margin(RolloutMetric::OverBudget) } else { 0.0 };
        let over = 0.02 + 0.01 * bell(self.seed, &[2, n]) + 0.005 * bell(self.seed, &[3, n, d]) + over;
        let over = (2880.0 * over.clamp(0.0, 1.0)).round() as u64;
        // A third of the devices meets what the harmful release crashes on; each of them gives it up.
        let crashes = treated && self.kind == Kind::Harmful && unit(self.seed, &[4, n]) < 0.3;
        let [crashes, loops] = if crashes { [3, 1] } else { [0, 0] };
        let shadow = if treated {
            format!("[288,{}]", 288 - (10.0 * unit(self.seed, &[5, n, d])) as u64)
        } else {
            "null".into()
        };
        let energy = 40.0 * (1.0 + 3.0 * unit(self.seed, &[6, n])) * (1.0 + 0.02 * bell(self.seed, &[7, n, d]));
        let date = Day::of_number(day)?;
        Some(format!(
            r#"{{"kind":"device-day","schema":"plimsoll.telemetry/1","device":"{id}","day":"{date}","release":"{release}","cohort":"{cohort}","channel":"{channel}","inferences":2880,"over_budget":{over},"crashes":{crashes},"restarts":{crashes},"crash_loops":{loops},"shadow":{shadow},"input_drift":0.04,"energy_joules":{energy:.3}}}"#
        ))
    }

    fn pointers(&self) -> [Option<ChannelPointer>; 2] {
        ["beta", "general"].map(|c| self.team.repository.pointer(c).unwrap())
    }

    fn plimsoll(&self, codes: &[i32], args: &[&str]) -> Vec<u8> {
        let place = ["--repository", "repository", "--keys", "keys", "--rollout", "rollout", "--json"];
        let mut command = Command::new(env!("CARGO_BIN_EXE_plimsoll"));
        let output =
            command.arg("rollout").args(args).args(place).current_dir(self.team.folder.path()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(codes.contains(&output.status.code().unwrap_or(-1)), "{args:?}: {:?} {said}", output.status);
        output.stdout
    }

    /// The reports of a day into the store.
    fn report(&mut self, day: i32, previous: &str, agents: bool) {
        let mut text = String::new();
        if agents {
            self.work(day, &mut text);
        }
        let [beta, general] = self.pointers();
        for number in 0..self.played.len() {
            let pointer = if self.played[number].1 == "beta" { &beta } else { &general };
            if let Some(record) = self.record(number, pointer.as_ref(), previous, day) {
                writeln!(text, "{record}").unwrap();
            }
        }
        for line in text.lines().filter(|l| l.contains("\"cohort\":\"treatment\"")) {
            let TelemetryRecord::DeviceDay(d) = serde_json::from_str(line).unwrap() else { continue };
            if d.release != previous {
                self.exposed.insert(d.device);
            }
        }
        let (file, date) = (format!("{day}.jsonl"), Day::of_number(day).unwrap().to_string());
        fs::write(self.team.place(&file), text).unwrap();
        let done = self.plimsoll(&[0], &["ingest", &file, "--day", &date]);
        let done: plimsoll_record::Intake = serde_json::from_slice(&done).unwrap();
        assert!(done.taken > 0 && done.quarantined.is_empty(), "{done:?}");
    }

    fn play(&mut self) -> End {
        self.team.release("1.0.0", &model(), |_| {});
        self.team.promote(10_000, 0);
        let previous = self.team.repository.at("general").unwrap().unwrap().release_digest;
        self.sync();
        let next = if self.kind == Kind::Harmful { crashing(&model()) } else { model() };
        self.team.release("1.1.0", &next, |_| {});
        let first = Day::of(SystemTime::now()).number();
        let date = |day: i32| Day::of_number(day).unwrap().to_string();
        self.plimsoll(&[0], &["start", "--policy", "policy.toml", "--day", &date(first)]);
        self.before(first, &previous);
        self.sync();
        let mut persons = 0;
        for day in first..first + LONGEST {
            self.report(day, &previous, true);
            let judged = self.plimsoll(&[0, 100, 102], &["decide", "--day", &date(day)]);
            let judged: Decision = serde_json::from_slice(&judged).unwrap();
            let end = |d: &Decision, persons: u32| End {
                state: d.state,
                stage: if d.stage.number == 0 { 0 } else { d.stage.percent_bp },
                days: day - first + 1,
                persons,
                reasons: d.reasons.clone(),
            };
            let asked = judged.person && judged.missing.iter().all(|m| is_for_a_person(m));
            let moved = match judged.verdict {
                RolloutVerdict::Halt => {
                    self.sync();
                    return end(&judged, persons);
                }
                RolloutVerdict::Advance => self.plimsoll(&[0], &["advance", "--day", &date(day + 1)]),
                RolloutVerdict::Hold if asked => {
                    persons += 1;
                    self.plimsoll(&[0], &["resolve", "--reason", "a rehearsal", "--day", &date(day + 1)])
                }
                // Longer than a policy waits, a person decides, and nobody is here who would.
                RolloutVerdict::Hold if judged.person => return end(&judged, persons),
                RolloutVerdict::Hold => continue,
            };
            let moved: Decision = serde_json::from_slice(&moved).unwrap();
            self.sync();
            if moved.state == RolloutState::Complete {
                return end(&moved, persons);
            }
        }
        panic!("the rollout did not end in {LONGEST} days");
    }

    /// Two weeks with the release before.
    fn before(&self, first: i32, previous: &str) {
        let mut text = String::new();
        for (day, number) in (first - 14..first).flat_map(|day| (0..self.played.len()).map(move |n| (day, n))) {
            if let Some(record) = self.record(number, None, previous, day) {
                writeln!(text, "{record}").unwrap();
            }
        }
        fs::write(self.team.place("before.jsonl"), text).unwrap();
        self.plimsoll(&[0], &["ingest", "before.jsonl", "--day", &Day::of_number(first).unwrap().to_string()]);
    }
}

#[expect(clippy::print_stdout, reason = "what a rehearsal is for")]
fn rehearse(kind: Kind) -> (Fleet, End) {
    let began = Instant::now();
    let mut fleet = Fleet::new(kind);
    let end = fleet.play();
    let stage = if end.stage == 0 { "beta".into() } else { format!("{} %", f64::from(end.stage) / 100.0) };
    println!(
        "{kind:?}: {:?} on day {} at {stage}; {} of {} devices ({} of these are agents) had seen it; a person was asked {} times; {:.0?}\n    {}",
        end.state,
        end.days,
        fleet.exposed.len(),
        fleet.played.len() + fleet.agents.len(),
        fleet.agents.len(),
        end.persons,
        began.elapsed(),
        end.reasons.join("; ")
    );
    if let Some(folder) = env::var_os("PLIMSOLL_KEEP").map(PathBuf::from) {
        fs::create_dir_all(&folder).unwrap();
        let page = folder.join(format!("{kind:?}.html").to_lowercase());
        fleet.plimsoll(&[0], &["status", "--html", &page.display().to_string()]);
    }
    (fleet, end)
}

fn versions(fleet: &Fleet) -> BTreeSet<String> {
    fleet.agents.iter().map(|who| version(&fleet.agent(who))).collect()
}

#[test]
fn a_harmless_release_reaches_everybody() {
    let (fleet, end) = rehearse(Kind::Harmless);
    assert_eq!(end.state, RolloutState::Complete, "{:?}", end.reasons);
    let [beta, general] = fleet.pointers().map(Option::unwrap);
    for who in &fleet.agents {
        let pointer = if who.1 == "beta" { &beta } else { &general };
        let expected = if pointer.holds_back(pointer.bucket(&who.0)) { "1.0.0" } else { "1.1.0" };
        assert_eq!(version(&fleet.agent(who)), expected, "{}", who.0);
    }
}

#[test]
fn a_release_that_crashes_is_halted_in_the_beta_and_every_agent_is_back() {
    let (fleet, end) = rehearse(Kind::Harmful);
    assert_eq!((end.state, end.stage, end.days), (RolloutState::Halted, 0, 1), "{:?}", end.reasons);
    assert!(end.reasons.iter().any(|r| r.contains("crash loop")), "{:?}", end.reasons);
    assert_eq!(versions(&fleet), BTreeSet::from(["1.0.0".to_owned()]));
}

#[test]
fn a_release_at_the_margin_does_not_reach_everybody() {
    let (_, end) = rehearse(Kind::Borderline);
    assert_ne!(end.state, RolloutState::Complete, "harm at the margin was let pass");
}

#[test]
fn the_users_of_a_server_are_what_its_rollout_is_judged_by() {
    let fleet = Fleet::new(Kind::Harmless);
    let team = &fleet.team;
    team.release("1.0.0", &model(), |_| {});
    team.promote(10_000, 0);
    team.release("1.1.0", &model(), |_| {});
    let day = Day::of(SystemTime::now());
    fleet.plimsoll(&[0], &["start", "--policy", "policy.toml", "--day", &day.to_string()]);
    let list = "schema = 1\n[[enrolled]]\ndevice = \"server\"\nconsent = \"2026-01-01\"\n";
    fs::write(team.place("servers.toml"), list).unwrap();
    let spec = team.spec("server", "follow = \"beta\"\nenrolment = \"servers.toml\"");
    let agent = Agent::new(DeviceSpec { routes: true, ..spec }).unwrap();
    // A look for each slot.
    (0..2).for_each(|_| drop(agent.sync(&TractExecutor, SystemTime::now()).unwrap()));
    let noon = UNIX_EPOCH + Duration::from_secs(86_400 * u64::from(day.number().unsigned_abs()) + 43_200);
    let mut runner = Runner::start(&agent, &TractExecutor, noon).unwrap();
    for request in 0..600 {
        runner.infer(Some(&(request % 300).to_string()), &image(4.0), noon).unwrap();
    }
    runner.end().unwrap();
    let lines =
        records(agent.state(), day, true).unwrap().into_iter().map(|r| serde_json::to_string(&r).unwrap() + "\n");
    fs::write(team.place("server.jsonl"), lines.collect::<String>()).unwrap();
    let taken = fleet.plimsoll(&[0], &["ingest", "server.jsonl", "--day", &day.to_string()]);
    let taken: plimsoll_record::Intake = serde_json::from_slice(&taken).unwrap();
    // Of the server itself one of each release.
    assert!(taken.taken == 302 && taken.quarantined.is_empty(), "{taken:?}");
    let judged = fleet.plimsoll(&[102], &["decide", "--day", &day.to_string()]);
    let judged: Decision = serde_json::from_slice(&judged).unwrap();
    let evidence = judged.evidence.unwrap();
    assert!(evidence.treatment + evidence.holdback == 300 && evidence.holdback > 10, "{evidence:?}");
}
