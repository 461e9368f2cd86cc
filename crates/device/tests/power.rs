//! Power is lost, or the agent killed, at any point of an update: the device has a model that runs, whole, and the next look finishes
//! what was begun.
//!
//! `PLIMSOLL_KILLS=500 cargo test --release --locked --workspace --test power killed` is the long form; `PLIMSOLL_SEED` draws other points.

#[path = "../../trust/tests/support/forgetful.rs"]
mod forgetful;
mod support;

use std::{
    fs,
    process::{Command, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant, SystemTime},
};

use forgetful::ForgetfulDisk;
use plimsoll_device::Agent;
use plimsoll_record::DeviceAction;
use plimsoll_runtime::TractExecutor;
use support::{Team, model, version};

/// A version that neither slot holds, so that each update is a whole one: the releases take turns.
fn another(step: usize) -> String {
    format!("1.{}.0", step % 5 + 1)
}

/// The device runs one of two versions, whole.
fn check(agent: &Agent, among: [&str; 2], after: &str) {
    let (slot, installed) = agent.state().active().unwrap().unwrap_or_else(|| panic!("no model {after}"));
    assert!(among.contains(&installed.release.version.as_str()), "{} {after}", installed.release.version);
    assert!(agent.state().verify(slot).unwrap(), "{} is not whole {after}", installed.release.version);
}

#[test]
fn power_lost_at_any_write_of_an_update_leaves_a_model_that_runs() {
    let team = Team::new();
    team.release("1.0.0", &model(), |_| {});
    team.promote(10_000, 0);
    let disk = Arc::new(ForgetfulDisk::default());
    let agent = || Agent::on(team.spec("d1", ""), disk.clone()).unwrap();
    let sync = || agent().sync(&TractExecutor, SystemTime::now());
    assert_eq!(sync().unwrap().action, DeviceAction::Switched);
    let mut before = "1.0.0".to_owned();
    let mut cut = 0;
    for n in 0.. {
        let next = another(n);
        team.release(&next, &model(), |_| {});
        team.promote(10_000, 0);
        disk.lose_power_after(Some(n));
        let done = sync();
        disk.forget();
        let after = format!("after {n} calls ({done:?})");
        check(&agent(), [&before, &next], &after);
        if done.is_ok_and(|status| status.action == DeviceAction::Switched) {
            break;
        }
        cut += 1;
        assert_eq!(sync().unwrap().action, DeviceAction::Switched, "{after}");
        assert_eq!(version(&agent()), next);
        before = next;
    }
    assert!(cut > 20, "{cut}");
}

#[test]
fn power_lost_at_any_write_of_the_first_installation_is_made_good_by_the_next_look() {
    let team = Team::new();
    team.release("1.0.0", &model(), |_| {});
    team.promote(10_000, 0);
    for n in 0.. {
        let disk = Arc::new(ForgetfulDisk::default());
        let id = format!("d{n}");
        disk.lose_power_after(Some(n));
        let sync = || Agent::on(team.spec(&id, ""), disk.clone())?.sync(&TractExecutor, SystemTime::now());
        let done = sync();
        disk.forget();
        if done.is_ok_and(|status| status.action == DeviceAction::Switched) {
            assert!(n > 20, "{n}");
            break;
        }
        sync().unwrap();
        check(&team.agent(&id, ""), ["1.0.0"; 2], &format!("after {n} calls"));
    }
}

/// A number from 0 to 1 for each step of a fixed sequence.
fn drawn(step: u64) -> f64 {
    let seed = std::env::var("PLIMSOLL_SEED").unwrap_or_default();
    let digest = plimsoll_trust::sha256_hex(format!("kills {seed} {step}").as_bytes());
    f64::from(u32::from_str_radix(&digest[..8], 16).unwrap()) / f64::from(u32::MAX)
}

#[test]
#[expect(clippy::print_stdout, reason = "the long form is read by people")]
fn an_agent_killed_at_random_points_always_has_a_model() {
    let kills: u64 = std::env::var("PLIMSOLL_KILLS").map_or(25, |n| n.parse().unwrap());
    let team = Team::new();
    team.release("1.0.0", &model(), |_| {});
    team.promote(10_000, 0);
    fs::write(team.place("d1.toml"), team.spec_text("d1", "")).unwrap();
    let agent = || team.agent("d1", "");
    let start = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_plimsoll-device"));
        command.arg("sync").arg(team.place("d1.toml")).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().unwrap()
    };
    let began = Instant::now();
    assert!(start().wait().unwrap().success());
    let mut whole = began.elapsed();
    let (mut before, mut during, mut swapped) = ("1.0.0".to_owned(), 0u64, 0u64);
    let mut step = 0;
    while during < kills || swapped == 0 {
        let next = another(step as usize);
        team.release(&next, &model(), |_| {});
        team.promote(10_000, 0);
        let mut child = start();
        let began = Instant::now();
        let pause = whole.mul_f64(drawn(step) * 1.1);
        while began.elapsed() < pause && child.try_wait().unwrap().is_none() {
            thread::sleep(Duration::from_micros(200));
        }
        let ended = child.try_wait().unwrap().is_some();
        if !ended {
            child.kill().unwrap();
            during += 1;
        }
        child.wait().unwrap();
        check(&agent(), [&before, &next], &format!("after kill {during}"));
        let through = version(&agent()) == next;
        swapped += u64::from(through);
        // How long an update takes changes with what else the machine does: about as many kills are to come before the swap as after.
        whole = whole.mul_f64(if through { 0.9 } else { 1.1 });
        // Half of the time the next release comes upon what was left behind.
        if step % 2 == 0 {
            assert!(start().wait().unwrap().success());
        }
        before = version(&agent());
        check(&agent(), [&before, &before], &format!("after kill {during} was made good"));
        step += 1;
    }
    println!("{during} kills in {step} updates; {swapped} were through");
}
