//! A fleet through three releases and a fourth that crashes, agents being processes on one machine: beta, stages, complete; halted, and
//! everybody back on the release before, no device ever without a model. python-tuf reads the same pointers where there is one.
//!
//! `PLIMSOLL_AGENTS=200 cargo test --release --locked --workspace --test fleet -- --nocapture` is the long form;
//! `PLIMSOLL_FLEET=FOLDER` keeps the repository for other clients to read (crates/device/tests/pointers.py).

#[path = "../../trust/tests/support/copied.rs"]
mod copied;
mod support;

use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    path::PathBuf,
    process::{Command, Stdio},
    thread,
    time::{Instant, SystemTime},
};

use copied::copy_tree;
use plimsoll_dataset::encode_arrays;
use plimsoll_device::Agent;
use plimsoll_onnx::Tensors;
use plimsoll_record::{ChannelPointer, DeviceDay, TelemetryRecord};
use plimsoll_release::Placement;
use support::{Team, crashing, image, model, version};

/// Agents of a fleet; a tenth of them is enrolled for the beta.
struct Fleet {
    team: Team,
    agents: Vec<(String, bool)>,
}

impl Fleet {
    fn new(size: usize) -> Self {
        let team = Team::new();
        let agents: Vec<(String, bool)> = (0..size).map(|n| (format!("device-{n:03}"), n % 10 == 0)).collect();
        let mut enrolment = "schema = 1\n".to_owned();
        for (id, beta) in &agents {
            let follow = if *beta { "follow = \"beta\"\nenrolment = \"enrolment.toml\"" } else { "" };
            let more = format!(
                "{follow}\n[budget]\nmemory = \"128MiB\"\nlatency = \"80ms\"\n[run]\nshadow = \"50%\"\nhealthy = 5\n"
            );
            fs::write(team.place(&format!("{id}.toml")), team.spec_text(id, &more)).unwrap();
            if *beta {
                enrolment += &format!("[[enrolled]]\ndevice = \"{id}\"\nconsent = \"2026-01-01\"\n");
            }
        }
        fs::write(team.place("enrolment.toml"), enrolment).unwrap();
        Self { team, agents }
    }

    /// Lets every agent do something, as many at once as the machine has cores.
    fn each(&self, act: impl Fn(&str) + Sync) {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        thread::scope(|scope| {
            for part in self.agents.chunks(self.agents.len().div_ceil(cores)) {
                scope.spawn(|| part.iter().for_each(|(id, _)| act(id)));
            }
        });
    }

    fn process(&self, verb: &str, id: &str, input: &[u8]) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_plimsoll-device"));
        command.arg(verb).arg(self.team.place(&format!("{id}.toml")));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let written = thread::scope(|scope| {
            let writer = scope.spawn(move || stdin.write_all(input));
            let output = child.wait_with_output().unwrap();
            writer.join().unwrap().map(|()| output)
        });
        let output = written.unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{id} {verb}: {said}");
        said
    }

    fn sync(&self) {
        self.each(|id| drop(self.process("sync", id, b"")));
        self.nobody_is_without_a_model();
    }

    /// Every agent runs images of these greys.
    fn run(&self, greys: &[f32]) {
        let input: Vec<u8> = greys.iter().flat_map(|g| encode_arrays(&image(*g)).unwrap()).collect();
        self.each(|id| drop(self.process("run", id, &input)));
        self.nobody_is_without_a_model();
    }

    fn agent(&self, id: &str) -> Agent {
        self.team.agent(id, "")
    }

    fn nobody_is_without_a_model(&self) {
        for (id, _) in &self.agents {
            let agent = self.agent(id);
            let (slot, _) = agent.state().active().unwrap().unwrap_or_else(|| panic!("{id} has no model"));
            assert!(agent.state().verify(slot).unwrap(), "{id} runs something that is not whole");
        }
    }

    /// How many agents run which version: enrolled ones, and the others.
    fn versions(&self) -> [BTreeMap<String, usize>; 2] {
        let mut all = [BTreeMap::new(), BTreeMap::new()];
        for (id, beta) in &self.agents {
            *all[usize::from(!beta)].entry(version(&self.agent(id))).or_default() += 1;
        }
        all
    }

    fn pointer(&self) -> ChannelPointer {
        self.team.repository.pointer("general").unwrap().unwrap()
    }

    /// Agents that are not enrolled and run a version are those whose bucket the pointer takes.
    fn check_share(&self, version_taken: &str) -> usize {
        let pointer = self.pointer();
        let general = self.agents.iter().filter(|(_, beta)| !beta);
        general
            .filter(|(id, _)| {
                let runs = version(&self.agent(id)) == version_taken;
                assert_eq!(runs, pointer.takes(pointer.bucket(id)), "{id} at {} bp", pointer.percent_bp);
                runs
            })
            .count()
    }

    fn advance(&self, percent_bp: u16, holdback_bp: u16) {
        let placement = Placement { percent_bp, holdback_bp, ..Placement::default() };
        self.team.repository.advance("general", &placement, SystemTime::now()).unwrap();
    }

    fn days(&self, id: &str) -> Vec<DeviceDay> {
        let agent = self.agent(id);
        let records = plimsoll_device::records(agent.state(), plimsoll_profile::Day::of(SystemTime::now()), true);
        let day = |r| if let TelemetryRecord::DeviceDay(d) = r { Some(d) } else { None };
        records.unwrap().into_iter().filter_map(day).collect()
    }
}

fn counts<const N: usize>(of: [(&str, usize); N]) -> BTreeMap<String, usize> {
    of.into_iter().filter(|(_, n)| *n > 0).map(|(v, n)| (v.to_owned(), n)).collect()
}

#[test]
#[expect(clippy::print_stdout, reason = "the long form is read by people")]
fn a_fleet_goes_through_three_releases_and_comes_back_from_the_one_that_crashes() {
    let size: usize = std::env::var("PLIMSOLL_AGENTS").map_or(20, |n| n.parse().unwrap());
    let began = Instant::now();
    let fleet = Fleet::new(size);
    let (enrolled, others) = (size.div_ceil(10), size - size.div_ceil(10));
    let team = &fleet.team;

    // The first release, for everybody from the start: nobody has anything yet.
    team.release("1.0.0", &model(), |_| {});
    team.promote(10_000, 0);
    fleet.sync();
    assert_eq!(fleet.versions(), [counts([("1.0.0", enrolled)]), counts([("1.0.0", others)])]);

    for (before, next) in [("1.0.0", "2.0.0"), ("2.0.0", "3.0.0")] {
        team.release(next, &model(), |_| {});
        fleet.sync();
        assert_eq!(fleet.versions(), [counts([(next, enrolled)]), counts([(before, others)])]);
        fleet.run(&[0.0, 4.0, 9.0]);
        team.promote(100, 1_000);
        let mut had = 0;
        for percent_bp in [100, 500, 2_000, 5_000, 10_000] {
            fleet.advance(percent_bp, 1_000);
            fleet.sync();
            let has = fleet.check_share(next);
            assert!(has >= had, "a device lost {next} as its share grew");
            had = has;
        }
        assert!(had < others || size < 100, "the holdback took {next}");
        fleet.advance(10_000, 0);
        fleet.sync();
        assert_eq!(fleet.versions(), [counts([(next, enrolled)]), counts([(next, others)])]);
    }

    // One that passes its self-test and crashes on what the field delivers.
    team.release("4.0.0", &crashing(&model()), |_| {});
    fleet.sync();
    team.promote(2_000, 1_000);
    fleet.sync();
    let has = fleet.check_share("4.0.0");
    fleet.run(&[4.0, 0.0, 9.0]);
    // By themselves, before anybody has decided anything.
    assert_eq!(fleet.versions(), [counts([("3.0.0", enrolled)]), counts([("3.0.0", others)])]);
    let days: Vec<DeviceDay> = fleet.agents.iter().flat_map(|(id, _)| fleet.days(id)).collect();
    let bad = team.repository.at("beta").unwrap().unwrap().release_digest;
    let crashed: Vec<&DeviceDay> = days.iter().filter(|d| d.release == bad).collect();
    assert_eq!(crashed.len(), enrolled + has);
    assert!(
        crashed.iter().all(|d| d.crashes == 3 && d.crash_loops == 1 && d.inferences == 1 && d.cohort == "treatment"),
        "{crashed:?}"
    );
    assert!(days.iter().filter(|d| d.release != bad).all(|d| d.crashes == 0));

    // Some who do not use it have it still: one key halts, and they go back, too.
    let idle = fleet.agents.iter().find(|(id, beta)| !beta && fleet.pointer().takes(fleet.pointer().bucket(id)));
    if let Some((id, _)) = idle {
        fleet.agent(id).forgive(&bad).unwrap();
        fleet.process("sync", id, b"");
        assert_eq!(version(&fleet.agent(id)), "4.0.0");
    }
    for channel in ["beta", "general"] {
        team.repository.halt(channel, "devices crash", None, SystemTime::now()).unwrap();
    }
    fleet.sync();
    assert_eq!(fleet.versions(), [counts([("3.0.0", enrolled)]), counts([("3.0.0", others)])]);
    fleet.run(&[0.0]);
    println!(
        "{size} agents, {has} of them with the crashing release in general, {enrolled} in beta: {:.0?}",
        began.elapsed()
    );

    if let Some(folder) = std::env::var_os("PLIMSOLL_FLEET").map(PathBuf::from) {
        fs::create_dir_all(&folder).unwrap();
        let written: Vec<_> = ["beta", "general"].map(|c| team.repository.pointer(c).unwrap().unwrap()).to_vec();
        fs::write(folder.join("pointers.json"), serde_json::to_vec(&written).unwrap()).unwrap();
        fs::copy(team.place("root.json"), folder.join("root.json")).unwrap();
        copy_tree(&team.place("repository"), &folder.join("repository"));
    }
}

#[test]
fn a_device_answers_in_the_order_it_was_asked() {
    let team = Team::new();
    team.release("1.0.0", &model(), |_| {});
    team.promote(10_000, 0);
    let agent = team.agent("d1", "");
    let executor = plimsoll_runtime::TractExecutor;
    agent.sync(&executor, SystemTime::now()).unwrap();
    let mut runner = plimsoll_device::Runner::start(&agent, &executor, SystemTime::now()).unwrap();
    let mut scores = |grey: f32| -> Tensors { runner.infer(None, &image(grey), SystemTime::now()).unwrap().outputs };
    let [dark, light] = [scores(1.0), scores(15.0)];
    assert_ne!(dark, light);
    assert_eq!((scores(1.0), scores(15.0)), (dark, light));
}
