//! Power is lost, or the agent killed, at any point of an update: the device has a model that runs, whole, and the next look finishes
//! what was begun.
//!
//! `PLIMSOLL_KILLS=500 cargo test --release --locked --workspace --test power killed` is the long form; `PLIMSOLL_SEED` draws other points.

mod support;

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant, SystemTime},
};

use plimsoll_device::{Agent, Disk, RealDisk};
use plimsoll_record::DeviceAction;
use plimsoll_runtime::TractExecutor;
use support::{Team, model, version};

/// A file system that forgets, when power is lost, every byte and every name that was not synced.
#[derive(Default)]
struct ForgetfulDisk {
    inner: Mutex<Forgetful>,
}

#[derive(Default)]
struct Forgetful {
    /// Calls until power is lost; `None` for never.
    left: Option<usize>,
    /// How to take back what is not synced, the latest last: in which folder, and what to do.
    undo: Vec<(PathBuf, Undo)>,
    /// Files whose bytes are not synced.
    unsynced: Vec<PathBuf>,
}

enum Undo {
    Remove(PathBuf),
    Restore(PathBuf, Vec<u8>),
    RestoreTree(BTreeMap<PathBuf, Vec<u8>>),
}

fn files(folder: &Path, into: &mut BTreeMap<PathBuf, Vec<u8>>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() { files(&path, into) } else { drop(into.insert(path.clone(), fs::read(&path).unwrap())) }
    }
}

fn put_back(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

impl ForgetfulDisk {
    fn lose_power_after(&self, calls: Option<usize>) {
        self.inner.lock().unwrap().left = calls;
    }

    /// One call: nothing more happens once power is lost.
    fn call<T>(&self, act: impl FnOnce(&mut Forgetful) -> io::Result<T>) -> io::Result<T> {
        let mut inner = self.inner.lock().unwrap();
        match &mut inner.left {
            Some(0) => return Err(io::Error::other("power is lost")),
            Some(left) => *left -= 1,
            None => {}
        }
        act(&mut inner)
    }

    /// What is left after the power cut.
    fn forget(&self) {
        let mut inner = self.inner.lock().unwrap();
        // A name may have lasted without its bytes.
        for path in std::mem::take(&mut inner.unsynced) {
            if path.is_file() {
                fs::write(&path, "").unwrap();
            }
        }
        while let Some((_, undo)) = inner.undo.pop() {
            match undo {
                Undo::Remove(path) if path.is_dir() => drop(fs::remove_dir_all(path)),
                Undo::Remove(path) => drop(fs::remove_file(path)),
                Undo::Restore(path, bytes) => put_back(&path, &bytes),
                Undo::RestoreTree(files) => files.iter().for_each(|(path, bytes)| put_back(path, bytes)),
            }
        }
        inner.left = None;
    }
}

impl Disk for ForgetfulDisk {
    fn make_folder(&self, path: &Path) -> io::Result<()> {
        self.call(|inner| {
            if !path.is_dir() {
                inner.undo.push((path.parent().unwrap().to_owned(), Undo::Remove(path.to_owned())));
            }
            RealDisk.make_folder(path)
        })
    }

    fn write(&self, path: &Path, content: &mut dyn Read) -> io::Result<()> {
        self.call(|inner| {
            inner.undo.push((path.parent().unwrap().to_owned(), Undo::Remove(path.to_owned())));
            inner.unsynced.push(path.to_owned());
            RealDisk.write(path, content)
        })
    }

    fn sync(&self, path: &Path) -> io::Result<()> {
        self.call(|inner| {
            inner.unsynced.retain(|p| p != path);
            Ok(())
        })
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        self.call(|inner| {
            inner.undo.retain(|(folder, _)| folder != path);
            Ok(())
        })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.call(|inner| {
            let folder = to.parent().unwrap().to_owned();
            let undo = match fs::read(to) {
                Ok(bytes) => Undo::Restore(to.to_owned(), bytes),
                Err(_) => Undo::Remove(to.to_owned()),
            };
            inner.undo.push((folder, undo));
            if inner.unsynced.iter().any(|p| p == from) {
                inner.unsynced.push(to.to_owned());
            }
            RealDisk.rename(from, to)
        })
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.call(|inner| {
            if let Ok(bytes) = fs::read(path) {
                inner.undo.push((path.parent().unwrap().to_owned(), Undo::Restore(path.to_owned(), bytes)));
            }
            RealDisk.remove(path)
        })
    }

    fn remove_folder(&self, path: &Path) -> io::Result<()> {
        self.call(|inner| {
            let mut held = BTreeMap::new();
            files(path, &mut held);
            inner.undo.push((path.parent().unwrap().to_owned(), Undo::RestoreTree(held)));
            RealDisk.remove_folder(path)
        })
    }
}

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
