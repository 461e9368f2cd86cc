//! Devices that follow a channel: what they take, what they refuse, and how they go back.

#[path = "../../trust/tests/support/copied.rs"]
mod copied;
#[path = "support/pipelines.rs"]
mod pipelines;
mod support;

use std::{
    fs,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use copied::copy_tree;
use plimsoll_device::{Agent, DeviceError, Runner, Slot, records};
use plimsoll_profile::Day;
use plimsoll_record::{DeviceAction, DeviceStatus, TelemetryRecord};
use plimsoll_runtime::{ExecError, Executor, LoadOptions, Session, TractExecutor};
use support::{Team, crashing, image, model, version};

fn sync(agent: &Agent) -> DeviceStatus {
    agent.sync(&TractExecutor, SystemTime::now()).unwrap()
}

/// A look at the channel ends so, says that, and leaves the device with a version.
fn check(agent: &Agent, action: DeviceAction, says: &str, runs: &str) {
    let status = sync(agent);
    assert_eq!(status.action, action, "{}", status.reason);
    assert!(status.reason.contains(says), "`{}` does not say `{says}`", status.reason);
    assert_eq!(version(agent), runs);
    if let Some((slot, _)) = agent.state().active().unwrap() {
        assert!(agent.state().verify(slot).unwrap());
    }
}

fn one_in_general() -> Team {
    let team = Team::new();
    team.release("1.0.0", &model(), |_| {});
    team.promote(10_000, 0);
    team
}

#[test]
fn a_device_takes_what_the_channel_is_at_and_keeps_the_old_one() {
    let team = one_in_general();
    let agent = team.agent("d1", "");
    check(&agent, DeviceAction::Switched, "4 runs on shipped reference inputs", "1.0.0");
    check(&agent, DeviceAction::None, "it runs what the channel is at", "1.0.0");
    team.release("2.0.0", &model(), |_| {});
    check(&agent, DeviceAction::None, "", "1.0.0");
    team.promote(10_000, 0);
    check(&agent, DeviceAction::Switched, "in the share", "2.0.0");
    let other = agent.state().installed(Slot::A).unwrap().unwrap();
    assert_eq!(other.release.version, "1.0.0");
    assert!(agent.state().verify(Slot::A).unwrap());
}

#[test]
fn a_halt_by_one_key_takes_devices_back_and_a_resumed_channel_forth_again() {
    let team = one_in_general();
    let agent = team.agent("d1", "");
    sync(&agent);
    team.release("2.0.0", &model(), |_| {});
    team.promote(10_000, 0);
    sync(&agent);
    team.repository.halt("general", "it wakes people", None, SystemTime::now()).unwrap();
    check(&agent, DeviceAction::WentBack, "2.0.0 is halted", "1.0.0");
    check(&agent, DeviceAction::None, "halted", "1.0.0");
    team.repository.resume("general", None, SystemTime::now()).unwrap();
    check(&agent, DeviceAction::Switched, "", "2.0.0");
    team.repository.rollback("general", None, SystemTime::now()).unwrap();
    check(&agent, DeviceAction::Switched, "", "1.0.0");
}

#[test]
fn a_halted_release_whose_fallback_is_not_in_the_slot_is_replaced_from_the_repository() {
    let team = one_in_general();
    team.release("2.0.0", &model(), |_| {});
    team.promote(10_000, 0);
    let agent = team.agent("d1", "");
    check(&agent, DeviceAction::Switched, "", "2.0.0");
    team.repository.halt("general", "it wakes people", None, SystemTime::now()).unwrap();
    check(&agent, DeviceAction::WentBack, "", "1.0.0");
    // A device that was made meanwhile takes the fallback at once.
    check(&team.agent("d2", ""), DeviceAction::WentBack, "", "1.0.0");
}

#[test]
fn beta_is_for_who_enrolled_and_leaving_takes_a_device_back() {
    let team = one_in_general();
    team.release("2.0.0", &model(), |_| {});
    let beta = "follow = \"beta\"\nenrolment = \"enrolment.toml\"";
    let enrol = |lines: &str| {
        let text = format!("schema = 1\n[[enrolled]]\ndevice = \"d1\"\nconsent = \"2026-01-01\"\n{lines}\n");
        fs::write(team.place("enrolment.toml"), text).unwrap();
    };
    enrol("");
    let [agent, stranger] = [team.agent("d1", beta), team.agent("d2", beta)];
    check(&agent, DeviceAction::Switched, "", "2.0.0");
    check(&stranger, DeviceAction::Switched, "", "1.0.0");
    enrol("left = \"2026-01-02\"");
    // General is at 1.0.0 for everybody.
    check(&agent, DeviceAction::Switched, "", "1.0.0");
    assert_eq!(sync(&agent).channel, "general");
}

#[test]
fn a_clock_of_1970_or_stale_metadata_install_nothing() {
    let team = one_in_general();
    let agent = team.agent("d1", "");
    sync(&agent);
    team.release("2.0.0", &model(), |_| {});
    team.promote(10_000, 0);
    for (now, says) in [
        (UNIX_EPOCH + Duration::from_secs(60), "it says 1970-01-01"),
        (UNIX_EPOCH, "the clock"),
        (SystemTime::now() - Duration::from_secs(3 * 86_400), "whether the metadata are fresh cannot be told"),
        (SystemTime::now() + Duration::from_secs(3 * 86_400), "expired at"),
        (SystemTime::now() + Duration::from_secs(73 * 365 * 86_400), "expired at"),
    ] {
        let status = agent.sync(&TractExecutor, now).unwrap();
        assert_eq!((status.action, version(&agent).as_str()), (DeviceAction::Held, "1.0.0"), "{}", status.reason);
        assert!(status.reason.contains(says), "{}", status.reason);
        let mut runner = Runner::start(&agent, &TractExecutor, now).unwrap();
        runner.infer(None, &image(5.0), now).unwrap();
        runner.end().unwrap();
    }
    // A device that has never seen the right time does not take 1970 for it either.
    let fresh = team.agent("d2", "");
    let status = fresh.sync(&TractExecutor, UNIX_EPOCH).unwrap();
    assert_eq!((status.action, version(&fresh).as_str()), (DeviceAction::Held, "none"));
    check(&agent, DeviceAction::Switched, "", "2.0.0");
}

#[test]
fn an_older_repository_is_refused_though_everything_in_it_is_signed() {
    let team = one_in_general();
    let agent = team.agent("d1", "");
    sync(&agent);
    let [now, old] = ["repository", "old"].map(|n| team.place(n));
    copy_tree(&now, &old);
    team.release("2.0.0", &model(), |_| {});
    team.promote(10_000, 0);
    sync(&agent);
    fs::remove_dir_all(&now).unwrap();
    copy_tree(&old, &now);
    check(&agent, DeviceAction::Held, "", "2.0.0");
}

#[test]
fn what_is_remembered_does_not_grow_with_the_history_of_a_channel() {
    let team = one_in_general();
    let agent = team.agent("d1", "");
    let remembered = |percent_bp| {
        let placement = plimsoll_release::Placement { percent_bp, ..Default::default() };
        team.repository.advance("general", &placement, SystemTime::now()).unwrap();
        sync(&agent);
        fs::metadata(agent.state().folder().join("memory.json")).unwrap().len()
    };
    let first = remembered(9_000);
    let most = (0..20).map(|n| remembered(9_001 + n)).max().unwrap();
    assert!(most < first + 200, "{first} bytes became {most}");
}

#[test]
fn a_pointer_of_a_lower_epoch_is_refused_whatever_the_metadata_say() {
    let team = one_in_general();
    let agent = team.agent("d1", "");
    team.release("2.0.0", &model(), |_| {});
    team.promote(10_000, 0);
    sync(&agent);
    // A repository of the same keys that begins anew: its own versions are new to the client, its epochs are not.
    fs::remove_dir_all(team.place("repository")).unwrap();
    fs::remove_dir_all(team.place("releases")).unwrap();
    let again = plimsoll_release::Repository::open_or_create_trial(
        &team.place("repository"),
        &team.place("keys"),
        SystemTime::now(),
    );
    drop(again.unwrap());
    team.release("1.0.0", &model(), |_| {});
    team.promote(10_000, 0);
    fs::copy(team.place("repository").join("metadata/1.root.json"), team.place("root.json")).unwrap();
    let path = agent.state().folder().join("memory.json");
    let mut memory: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    memory["metadata"] = serde_json::json!({});
    fs::write(&path, memory.to_string()).unwrap();
    check(&agent, DeviceAction::Held, "went back to epoch 1 from 2", "2.0.0");
}

#[test]
fn a_mix_of_releases_changed_content_and_another_model_are_refused() {
    let team = one_in_general();
    let agent = team.agent("d1", "");
    sync(&agent);
    team.release("2.0.0", &crashing(&model()), |_| {});
    team.promote(10_000, 0);
    // The model of 1.0.0 in the place of that of 2.0.0.
    let blob = |bytes: &[u8]| team.place("repository/blobs/sha256").join(plimsoll_trust::sha256_hex(bytes));
    let (old, new) = (blob(&model()), blob(&crashing(&model())));
    let genuine = fs::read(&new).unwrap();
    let mut same_length = fs::read(&old).unwrap();
    fs::write(&new, &same_length).unwrap();
    check(&agent, DeviceAction::Held, "bytes", "1.0.0");
    same_length.resize(genuine.len(), 0);
    fs::write(&new, &same_length).unwrap();
    check(&agent, DeviceAction::Held, "its SHA-256 is", "1.0.0");
    // Whoever judges the release hears of it.
    let days = records(agent.state(), Day::of(SystemTime::now()), true).unwrap();
    let [TelemetryRecord::DeviceDay(day)] = days.as_slice() else { panic!("{days:?}") };
    assert_eq!((day.signature_failures, day.inferences, day.cohort.as_str()), (1, 0, "treatment"));
    assert_eq!(day.release, team.repository.at("general").unwrap().unwrap().release_digest);
    fs::remove_file(&new).unwrap();
    check(&agent, DeviceAction::Held, "payload/model.onnx", "1.0.0");
    fs::write(&new, &genuine).unwrap();
    check(&agent, DeviceAction::Switched, "", "2.0.0");
    let other = team.spec("d3", "");
    let other = Agent::new(plimsoll_profile::DeviceSpec { name: "other".into(), ..other }).unwrap();
    check(&other, DeviceAction::Held, "this device runs other", "none");
}

#[test]
fn a_trial_repository_and_another_root_are_refused() {
    let team = one_in_general();
    let spec = team.spec("d1", "");
    let agent = Agent::new(plimsoll_profile::DeviceSpec { trial: false, ..spec }).unwrap();
    check(&agent, DeviceAction::Held, "marked `trial`", "none");
    let stranger = one_in_general();
    fs::copy(stranger.place("root.json"), team.place("root.json")).unwrap();
    check(&team.agent("d2", ""), DeviceAction::Held, "the repository", "none");
}

#[test]
fn what_does_not_suit_the_device_is_not_tried_again_until_told() {
    let team = one_in_general();
    let agent = team.agent("d1", "[budget]\nflash = \"400kB\"");
    sync(&agent);
    team.release("2.0.0", &model(), |input| {
        drop(input.extra.insert("ballast.bin".into(), vec![7; 300_000]));
    });
    team.promote(10_000, 0);
    check(&agent, DeviceAction::Unfit, "of flash", "1.0.0");
    check(&agent, DeviceAction::None, "not tried again", "1.0.0");
    let digest = team.repository.at("general").unwrap().unwrap().release_digest;
    assert!(agent.forgive(&digest).unwrap() && !agent.forgive(&digest).unwrap());
    check(&agent, DeviceAction::Unfit, "of flash", "1.0.0");

    let agent = team.agent("d2", "");
    sync(&agent);
    team.release("3.0.0", &model(), |input| input.minimum_client = "99.0.0".into());
    team.promote(10_000, 0);
    check(&agent, DeviceAction::Unfit, "it needs a client of version 99.0.0", "2.0.0");
    team.release("4.0.0", &model(), |input| {
        // Outputs of something else.
        let mut broken = input.extra[plimsoll_device::CASES].clone();
        let last = broken.len() - 2;
        broken[last] ^= 0x30;
        input.extra.insert(plimsoll_device::CASES.into(), broken);
    });
    team.promote(10_000, 0);
    check(&agent, DeviceAction::Unfit, "its self-test failed: case 3: the output `scores` is off", "2.0.0");
}

#[test]
fn without_reference_inputs_the_self_test_draws_its_own_and_says_so() {
    let team = Team::new();
    team.release("1.0.0", &model(), |input| input.extra.clear());
    team.promote(10_000, 0);
    check(&team.agent("d1", ""), DeviceAction::Switched, "since the release ships none", "1.0.0");
}

#[test]
fn a_swap_waits_for_a_recording_and_for_the_night_to_end() {
    let team = one_in_general();
    let agent = team.agent("d1", "[install]\nready = \"test ! -e recording\"");
    fs::write(team.place("recording"), "").unwrap();
    // Nothing runs that could be disturbed.
    check(&agent, DeviceAction::Switched, "", "1.0.0");
    team.release("2.0.0", &model(), |_| {});
    team.promote(10_000, 0);
    check(&agent, DeviceAction::Waiting, "test ! -e recording", "1.0.0");
    fs::remove_file(team.place("recording")).unwrap();
    check(&agent, DeviceAction::Switched, "", "2.0.0");
    let minute = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() / 60 % 1440;
    let clock = |m: u64| format!("{:02}:{:02}", m % 1440 / 60, m % 60);
    let quiet = format!("[install]\nquiet-hours = [\"{}\", \"{}\"]", clock(minute + 1430), clock(minute + 10));
    let agent = team.agent("d2", &quiet);
    sync(&agent);
    team.release("3.0.0", &model(), |_| {});
    team.promote(10_000, 0);
    check(&agent, DeviceAction::Waiting, "quiet hours", "2.0.0");
}

#[test]
fn a_release_that_crashes_in_the_field_is_left_by_itself_and_not_tried_again() {
    let team = one_in_general();
    let agent = team.agent("d1", "[run]\ncrashes = 3\nhealthy = 5\nshadow = \"50%\"\npower = \"2W\"");
    sync(&agent);
    team.release("2.0.0", &crashing(&model()), |_| {});
    team.promote(10_000, 0);
    sync(&agent);
    let now = SystemTime::now();
    let mut runner = Runner::start(&agent, &TractExecutor, now).unwrap();
    assert_eq!(runner.other().unwrap().release.version, "1.0.0");
    for grey in 1..=9u8 {
        let answer = runner.infer(None, &image(grey.into()), now).unwrap();
        assert_eq!(
            (answer.release.as_str(), answer.went_back),
            (runner.active().release.release_digest.as_str(), None)
        );
    }
    let answer = runner.infer(None, &image(0.0), now).unwrap();
    assert!(answer.went_back.unwrap().contains("crashed 3 times in a row"));
    assert_eq!(version(&agent), "1.0.0");
    runner.end().unwrap();
    check(&agent, DeviceAction::None, "not tried again: it crashed 3 times in a row", "1.0.0");

    let today = Day::of(now);
    assert_eq!(records(agent.state(), today, false).unwrap(), []);
    let days = records(agent.state(), today, true).unwrap();
    let day = |v: &str| {
        let find = |r: &TelemetryRecord| match r {
            TelemetryRecord::DeviceDay(day) => Some(day.clone()),
            TelemetryRecord::Review(_) => None,
        };
        let digest = [Slot::A, Slot::B]
            .iter()
            .find_map(|s| agent.state().installed(*s).unwrap().filter(|i| i.release.version == v));
        let digest = digest.unwrap().release.release_digest;
        days.iter().filter_map(find).find(|d| d.release == digest).unwrap()
    };
    let [old, new] = [day("1.0.0"), day("2.0.0")];
    assert_eq!((new.inferences, new.crashes, new.restarts, new.shadow), (9, 3, 1, Some([4, 4])));
    assert_eq!((old.inferences, old.crashes, old.cohort.as_str()), (1, 0, "waiting"));
    assert_eq!((new.cohort.as_str(), new.channel.as_str()), ("treatment", "general"));
    assert_eq!(new.latency_log2_us.unwrap().iter().sum::<u64>(), 9);
    assert!(new.energy_joules.unwrap() > 0.0 && new.input_drift.unwrap() > 0.0 && new.output_drift.unwrap() > 0.0);
}

#[test]
fn starts_that_do_not_end_are_a_row_until_the_release_has_proven_itself() {
    let team = one_in_general();
    let agent = team.agent("d1", "[run]\ncrashes = 3\nhealthy = 2");
    sync(&agent);
    team.release("2.0.0", &model(), |_| {});
    team.promote(10_000, 0);
    sync(&agent);
    let start = || Runner::start(&agent, &TractExecutor, SystemTime::now()).unwrap();
    // Each is dropped without its end, as a power cut does it.
    for _ in 0..3 {
        assert_eq!(start().active().release.version, "2.0.0");
    }
    assert_eq!(start().active().release.version, "1.0.0");
    let digest = team.repository.at("general").unwrap().unwrap().release_digest;
    agent.forgive(&digest).unwrap();
    sync(&agent);
    let mut runner = start();
    for _ in 0..2 {
        runner.infer(None, &image(5.0), SystemTime::now()).unwrap();
    }
    drop(runner);
    for _ in 0..5 {
        assert_eq!(start().active().release.version, "2.0.0");
    }
}

#[test]
fn the_only_model_is_kept_though_it_crashes() {
    let team = Team::new();
    team.release("1.0.0", &crashing(&model()), |_| {});
    team.promote(10_000, 0);
    let agent = team.agent("d1", "");
    sync(&agent);
    let now = SystemTime::now();
    let mut runner = Runner::start(&agent, &TractExecutor, now).unwrap();
    assert!(matches!(runner.infer(None, &image(0.0), now), Err(DeviceError::Exec(_))));
    runner.infer(None, &image(1.0), now).unwrap();
    assert_eq!(version(&agent), "1.0.0");
}

#[test]
fn an_executor_that_cannot_be_started_is_not_held_against_the_release() {
    struct Absent;
    impl Executor for Absent {
        fn name(&self) -> &str {
            "absent"
        }
        fn version(&self) -> String {
            String::new()
        }
        fn load(&self, _: &[u8], _: &LoadOptions) -> Result<Box<dyn Session>, ExecError> {
            Err(ExecError::Failed { executor: "absent".into(), reason: "its program is gone".into() })
        }
    }
    let team = one_in_general();
    let agent = team.agent("d1", "");
    let status = agent.sync(&Absent, SystemTime::now()).unwrap();
    assert_eq!((status.action, status.active), (DeviceAction::Held, None), "{}", status.reason);
    assert!(status.reason.contains("its program is gone"));
    check(&agent, DeviceAction::Switched, "", "1.0.0");
}

#[test]
fn two_agents_on_one_state_exclude_each_other() {
    let team = one_in_general();
    let agent = team.agent("d1", "");
    let held = fs::File::create(agent.state().folder().join("lock")).unwrap();
    held.lock().unwrap();
    assert!(matches!(agent.sync(&TractExecutor, SystemTime::now()), Err(DeviceError::Busy { .. })));
    drop(held);
    check(&agent, DeviceAction::Switched, "", "1.0.0");
}
