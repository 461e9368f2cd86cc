//! What happens to a rollout: hostile telemetry, a kill between a decision and its move, people who join and leave, gateways, and harm
//! after everybody has the release.
#![cfg(feature = "rollout")]

mod common;

use std::{
    fmt::Write as _,
    fs,
    io::{BufRead, BufReader, Seek, SeekFrom, Write},
    path::Path,
    process::{Command, Stdio},
    sync::LazyLock,
    thread,
    time::{Duration, Instant},
};

use common::{
    error, expect,
    fleet::{begin, pointer, telemetry},
    json, plimsoll_in, release_digits,
};
use plimsoll_record::{
    AuditAction, AuditEntry, Decision, Intake, PointerState, ProblemRecord, RolloutState, RolloutStatus,
};
use plimsoll_trust::{FileKey, KeySource, dsse::Envelope};

/// A rollout that has begun; each test has a copy of its own.
static BEGUN: LazyLock<tempfile::TempDir> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    begin(folder.path());
    folder
});

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let place = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &place);
        } else {
            fs::copy(entry.path(), &place).unwrap();
        }
    }
}

fn begun() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    copy(BEGUN.path(), folder.path());
    folder
}

const ROLLOUT: &str = ".plimsoll/rollout/digits";

fn decided(f: &Path, code: i32, day: &str) -> Decision {
    serde_json::from_value(json(f, code, &["rollout", "decide", "--day", day, "--json", "--dry-run"])).unwrap()
}

fn taken(f: &Path, args: &[&str]) -> Intake {
    let args = [&["rollout", "ingest", "--day", "2026-12-30", "--json"], args].concat();
    let intake: Intake = serde_json::from_value(json(f, 0, &args)).unwrap();
    assert_eq!(intake.schema, Intake::SCHEMA);
    intake
}

/// One record of a device with the release.
fn record(f: &Path, device: &str, day: &str) -> String {
    let release = pointer(f, "beta").target.release_digest;
    format!(
        r#"{{"kind":"device-day","schema":"plimsoll.telemetry/1","device":"{device}","day":"{day}","release":"{release}","cohort":"treatment","channel":"beta","inferences":1000,"over_budget":20,"crashes":0,"restarts":0}}"#
    )
}

/// A device of the beta that has the release, or that is held back.
fn device(f: &Path, prefix: &str, held: bool) -> String {
    let p = pointer(f, "beta");
    (0..).map(|i| format!("{prefix}{i}")).find(|id| p.holds_back(p.bucket(id)) == held).unwrap()
}

#[test]
fn hostile_telemetry_all_at_once_is_quarantined_counted_and_changes_no_decision() {
    let folder = begun();
    let f = folder.path();
    telemetry(f, "beta.jsonl", "beta", "2026-11-01", 8, 0);
    let before = decided(f, 0, "2026-11-08");

    let (good, day) = (device(f, "x", false), "2026-11-05");
    let own = record(f, &good, day);
    let mut lines = vec![
        own.replace(day, "1970-01-01"),
        own.replace(day, "2099-12-31"),
        own.replace("\"over_budget\":20", "\"over_budget\":NaN"),
        own.replace("\"crashes\":0", "\"crashes\":-1"),
        own.replace("\"crashes\":0", "\"crashes\":1e400"),
        own.replace("\"inferences\":1000", "\"inferences\":18446744073709551615"),
        own.replace(&pointer(f, "beta").target.release_digest, &"e".repeat(64)),
        // A device that the draw holds back says that it has the release, crashes all day, and that others should go back.
        record(f, &device(f, "y", true), day).replace("\"crashes\":0", "\"crashes\":9,\"crash_loops\":9"),
        "[".repeat(60_000),
        "\u{1b}[2J\u{0}".into(),
    ];
    // Devices that have reported report again: the same once more, and something else.
    let known = device(f, "d", false);
    let again = fs::read_to_string(f.join("beta.jsonl")).unwrap();
    let again = again.lines().find(|l| l.contains(&format!("\"{known}\"")) && l.contains(day)).unwrap();
    lines.push(again.into());
    lines.push(again.replace("\"crashes\":0", "\"crashes\":700"));
    fs::create_dir(f.join("hostile")).unwrap();
    let mut file = fs::File::create(f.join("hostile/all.jsonl")).unwrap();
    file.write_all((lines.join("\n") + "\n").as_bytes()).unwrap();
    // A line of a gibibyte, most of it a hole in the file; what comes after it is read.
    file.seek(SeekFrom::Current(1 << 30)).unwrap();
    file.write_all(format!("\n{}\n", own.replace(day, "no day")).as_bytes()).unwrap();
    fs::write(
        f.join("hostile/rows.csv"),
        "device,day,release,cohort,channel,inferences,over_budget,crashes,restarts\nz,2026-11-05,x,treatment,beta,NaN,-1,0,0\n",
    )
    .unwrap();

    // With less address space than the line is long.
    let command = format!(
        "ulimit -v 900000; exec '{}' rollout ingest hostile --day 2026-12-30 --json",
        env!("CARGO_BIN_EXE_plimsoll")
    );
    let output = Command::new("sh").arg("-c").arg(command).current_dir(f).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let intake: Intake = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((intake.files, intake.rows, intake.taken, intake.repeated), (2, 15, 0, 1), "{intake:?}");
    let expected = [
        ("a cohort that its bucket contradicts", 1),
        ("a day from before the retention", 1),
        ("a day that has not come yet", 1),
        ("a release that was not rolled out", 1),
        ("contradicts an earlier record of the same day", 1),
        ("longer than a record may be", 1),
        ("no day", 1),
        ("no record of telemetry", 6),
        ("numbers that cannot be", 1),
    ];
    let found: Vec<(&str, u64)> = intake.quarantined.iter().map(|(r, n)| (r.as_str(), *n)).collect();
    assert_eq!(found, expected);
    let status: RolloutStatus = serde_json::from_value(json(f, 0, &["rollout", "status", "--json"])).unwrap();
    assert_eq!(status.quarantined.values().sum::<u64>(), 14);

    let after = decided(f, 0, "2026-11-08");
    assert_eq!((after.verdict, &after.metrics), (before.verdict, &before.metrics));
    // Three files of one text are taken once.
    fs::copy(f.join("hostile/all.jsonl"), f.join("hostile/again.jsonl")).unwrap();
    assert_eq!(taken(f, &["hostile"]).known_files, 3);
}

#[test]
fn a_decision_that_was_killed_before_it_moved_the_channel_is_carried_out_by_the_next_run() {
    let folder = begun();
    let f = folder.path();
    telemetry(f, "beta.jsonl", "beta", "2026-11-01", 8, 0);
    expect(f, 0, &["rollout", "decide", "--day", "2026-11-08"]);

    // Somebody else has the repository: the decision is written, and its move waits.
    let lock = fs::File::create(f.join(".plimsoll/repository/digits/.lock")).unwrap();
    lock.lock().unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_plimsoll"))
        .args(["rollout", "advance", "--day", "2026-11-09"])
        .current_dir(f)
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let written = f.join(ROLLOUT).join("decisions/000003.dsse.json");
    let start = Instant::now();
    while !written.exists() {
        assert!(start.elapsed() < Duration::from_secs(60), "no decision was written");
        thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    drop(lock);

    let status: RolloutStatus = serde_json::from_value(json(f, 0, &["rollout", "status", "--json"])).unwrap();
    assert!(status.pending && status.decisions == 3, "a look changes nothing");
    assert_eq!(pointer(f, "general").target.version, "1.0.0");
    let args = ["rollout", "decide", "--day", "2026-11-09"];
    let said = plimsoll_in(f, &args);
    assert!(String::from_utf8_lossy(&said.stderr).contains("decision 3 was interrupted"), "{said:?}");
    let general = pointer(f, "general");
    assert_eq!((general.percent_bp, general.target.version.as_str()), (2_000, "1.1.0"));
    let status: RolloutStatus = serde_json::from_value(json(f, 0, &["rollout", "status", "--json"])).unwrap();
    assert!(!status.pending && status.anchored && status.decisions == 4);

    // Killed after the move and before it was ticked off: nothing moves twice.
    fs::write(f.join(ROLLOUT).join("pending"), "4").unwrap();
    expect(f, 0, &["rollout", "halt", "--reason", "a look at it", "--day", "2026-11-10"]);
    fs::write(f.join(ROLLOUT).join("pending"), "5").unwrap();
    expect(f, 0, &["rollout", "resume", "--reason", "it was the sensor", "--day", "2026-11-10"]);
    let resumed = pointer(f, "general");
    fs::write(f.join(ROLLOUT).join("pending"), "6").unwrap();
    plimsoll_in(f, &args);
    assert_eq!(pointer(f, "general"), resumed);
    assert_eq!((resumed.state, resumed.percent_bp), (PointerState::Active, 2_000));
}

#[test]
fn a_halt_that_cannot_read_a_channel_is_not_done() {
    let folder = begun();
    let f = folder.path();
    telemetry(f, "beta.jsonl", "beta", "2026-11-01", 8, 0);
    expect(f, 0, &["rollout", "decide", "--day", "2026-11-08"]);
    expect(f, 0, &["rollout", "advance", "--day", "2026-11-09"]);
    let targets = f.join(".plimsoll/repository/digits/targets");
    let names = |entry: &fs::DirEntry| entry.file_name().to_string_lossy().ends_with("channel.general.json");
    let places: Vec<_> = fs::read_dir(&targets).unwrap().map(Result::unwrap).filter(names).map(|e| e.path()).collect();
    let kept: Vec<_> = places.iter().map(|p| fs::read(p).unwrap()).collect();
    places.iter().for_each(|p| fs::write(p, b"a disk that fails").unwrap());
    let halt = ["rollout", "halt", "--reason", "devices smoke", "--day", "2026-11-10"];
    let said = plimsoll_in(f, &halt);
    assert!(!said.status.success(), "{said:?}");
    places.iter().zip(&kept).for_each(|(p, bytes)| fs::write(p, bytes).unwrap());

    // The decision stands, and whoever comes next carries it out.
    let status: RolloutStatus = serde_json::from_value(json(f, 0, &["rollout", "status", "--json"])).unwrap();
    assert_eq!((status.state, status.pending), (RolloutState::Halted, true));
    plimsoll_in(f, &["rollout", "decide", "--day", "2026-11-10"]);
    assert_eq!(["beta", "general"].map(|c| pointer(f, c).state), [PointerState::Halted; 2]);
}

#[test]
fn a_person_who_sets_the_evidence_aside_is_in_the_audit_log() {
    let folder = begun();
    let f = folder.path();
    let resolve = ["rollout", "resolve", "--day", "2027-01-11", "--by", "anna", "--reason", "the ward waits"];
    assert!(error(f, 97, &resolve).contains("`plimsoll rollout decide` judges it"));
    expect(f, 102, &["rollout", "decide", "--day", "2026-11-20"]);
    assert!(error(f, 97, &resolve).contains("evidence will decide"));
    let overrides = || {
        let log = expect(f, 0, &["audit", "export"]);
        let lines = log.lines().map(|l| serde_json::from_str::<AuditEntry>(l).unwrap());
        lines.filter(|e| e.action == AuditAction::Override).collect::<Vec<_>>()
    };
    assert_eq!(overrides(), []);

    // Nobody has reported for longer than the policy waits for evidence.
    let held = json(f, 102, &["rollout", "decide", "--day", "2027-01-10", "--json"]);
    assert!(held["reasons"].to_string().contains("a person decides"), "{held}");
    json(f, 0, &[&resolve[..], &["--dry-run", "--json"]].concat());
    assert_eq!(overrides(), [], "a dry run writes nothing");
    expect(f, 0, &resolve);
    let [line] = overrides().try_into().unwrap();
    assert_eq!((line.person.as_str(), line.reason.as_str()), ("anna", "the ward waits"));
    assert!(line.meaning.starts_with("digits 1.1.0 goes on from stage 0 though evidence"), "{}", line.meaning);
    assert!(!line.keys.is_empty());
    expect(f, 0, &["audit", "verify"]);
    let general = pointer(f, "general");
    assert_eq!((general.percent_bp, general.target.version.as_str()), (2_000, "1.1.0"));
}

#[test]
fn who_enrols_leaves_or_asks_to_be_forgotten_is_heeded() {
    let folder = begun();
    let f = folder.path();
    fs::write(f.join("list.csv"), "device,consented,left\nd1,2026-11-01,\nd2,2026-11-01,2026-11-03\n").unwrap();
    expect(f, 0, &["rollout", "enrol", "list.csv"]);
    let p = pointer(f, "beta");
    let mut text = String::new();
    for id in ["d1", "d2", "d3"] {
        let own = record(f, id, "2026-11-04");
        let own = if p.holds_back(p.bucket(id)) {
            own.replace("treatment", "holdback")
                .replace(&p.target.release_digest, &p.previous.as_ref().unwrap().release_digest)
        } else {
            own
        };
        writeln!(text, "{own}").unwrap();
    }
    fs::write(f.join("three.jsonl"), &text).unwrap();
    let intake = taken(f, &["three.jsonl"]);
    assert_eq!((intake.taken, intake.quarantined.get("on beta without being enrolled")), (1, Some(&2)));

    assert!(error(f, 0, &["rollout", "forget", "d1"]).contains("1 rows are deleted"));
    fs::write(f.join("late.jsonl"), text.replace("2026-11-04", "2026-11-05")).unwrap();
    let intake = taken(f, &["late.jsonl"]);
    assert_eq!((intake.taken, intake.quarantined.get("a device that asked to be forgotten")), (0, Some(&1)));
    // Without the key they would all be strangers.
    let key = f.join(ROLLOUT).join("pseudonym.key");
    fs::rename(&key, f.join("kept")).unwrap();
    assert!(error(f, 96, &["rollout", "ingest", "late.jsonl"]).contains("pseudonym.key is gone"));
    assert!(error(f, 96, &["rollout", "forget", "d2"]).contains("put it back"));
    fs::rename(f.join("kept"), &key).unwrap();
    fs::write(f.join("list.csv"), "device,consented,left\nd1,yesterday,\n").unwrap();
    assert!(error(f, 96, &["rollout", "enrol", "list.csv"]).contains("line 2 of list.csv has no day of consent"));
}

#[test]
fn only_batches_that_a_gateway_signed_are_taken_where_its_key_is_given() {
    let folder = begun();
    let f = folder.path();
    let key = FileKey::read_or_create(&f.join("gateway.pem")).unwrap();
    fs::write(f.join("gateway.pub.pem"), key.public_key().pem()).unwrap();
    let sign = |file: &str| {
        let digest = plimsoll_trust::sha256_hex(&fs::read(f.join(file)).unwrap());
        let payload = format!("{{\"sha256\":\"{digest}\"}}");
        let envelope =
            Envelope::sign("application/vnd.plimsoll.batch+json", payload.as_bytes(), &[&key as &dyn KeySource]);
        fs::write(f.join(format!("{file}.dsse.json")), serde_json::to_vec(&envelope.unwrap()).unwrap()).unwrap();
    };
    fs::write(f.join("one.jsonl"), record(f, &device(f, "d", false), "2026-11-04")).unwrap();
    let args = ["rollout", "ingest", "one.jsonl", "--gateway-key", "gateway.pub.pem", "--day", "2026-12-30"];
    assert!(error(f, 98, &args).contains("not signed by a gateway: there is no one.jsonl.dsse.json"));
    sign("one.jsonl");
    assert_eq!(taken(f, &["one.jsonl", "--gateway-key", "gateway.pub.pem"]).taken, 1);
    // What was changed on its way, and what another gateway signed.
    fs::write(f.join("two.jsonl"), record(f, &device(f, "d", false), "2026-11-05")).unwrap();
    sign("two.jsonl");
    fs::write(f.join("two.jsonl"), record(f, &device(f, "d", false), "2026-11-06")).unwrap();
    let args = ["rollout", "ingest", "two.jsonl", "--gateway-key", "gateway.pub.pem", "--day", "2026-12-30"];
    assert!(error(f, 98, &args).contains("not those that were signed"));
    sign("two.jsonl");
    let other = FileKey::read_or_create(&f.join("other.pem")).unwrap();
    fs::write(f.join("gateway.pub.pem"), other.public_key().pem()).unwrap();
    error(f, 98, &args);
}

#[test]
fn who_is_held_back_in_a_beta_after_a_beta_is_compared_with() {
    let folder = tempfile::tempdir().unwrap();
    let f = folder.path();
    begin(f);
    // 1.1.0 never got further than the beta; devices that are held back from 1.2.0 there run it.
    release_digits(f, "1.2.0");
    let start = ["rollout", "start", "--policy", "policy.toml", "--day", "2026-11-01", "--rollout", "next"];
    let started: Decision = serde_json::from_value(json(f, 0, &[&start[..], &["--json"]].concat())).unwrap();
    let beta = pointer(f, "beta").previous.unwrap();
    assert_eq!((beta.version.as_str(), started.rollout.previous_in_beta), ("1.1.0", Some(beta.release_digest)));
    assert_eq!(started.rollout.previous, pointer(f, "general").target.release_digest);
    telemetry(f, "beta.jsonl", "beta", "2026-11-01", 8, 0);
    fs::copy(f.join("beta.jsonl"), f.join("next.jsonl")).unwrap();
    expect(f, 0, &["rollout", "ingest", "next.jsonl", "--rollout", "next", "--day", "2026-12-30"]);
    let judged = json(f, 0, &["rollout", "decide", "--day", "2026-11-08", "--rollout", "next", "--json"]);
    assert!(judged["evidence"]["holdback"].as_u64() > Some(30), "{}", judged["evidence"]);
    assert_eq!(judged["metrics"][0]["standing"], "non-inferior");
    expect(f, 0, &["rollout", "replay", "--rollout", "next"]);
}

#[test]
fn a_status_that_is_watched_is_shown_again() {
    let folder = begun();
    let f = folder.path();
    let mut child = Command::new(env!("CARGO_BIN_EXE_plimsoll"))
        .args(["rollout", "status", "--watch", "1"])
        .current_dir(f)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let rounds = lines.filter(|l| l.starts_with("digits 1.1.0 · running · beta since 2026-11-01")).take(2).count();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(rounds, 2);
}

#[test]
fn a_release_at_everybody_is_watched_and_halted_or_the_holdback_gets_it() {
    let folder = begun();
    let f = folder.path();
    assert!(error(f, 97, &["rollout", "watch"]).contains("not at everybody"));
    telemetry(f, "beta.jsonl", "beta", "2026-11-01", 8, 0);
    for (decide, advance, next) in
        [("2026-11-08", "2026-11-09", 3), ("2026-11-11", "2026-11-12", 3), ("2026-11-14", "2026-11-15", 0)]
    {
        expect(f, 0, &["rollout", "decide", "--day", decide]);
        expect(f, 0, &["rollout", "advance", "--day", advance, "--by", "anna"]);
        if next > 0 {
            telemetry(f, &format!("{advance}.jsonl"), "general", advance, next, 0);
        }
    }
    let general = pointer(f, "general");
    assert_eq!((general.percent_bp, general.holdback_bp), (10_000, 1_000));
    expect(f, 0, &["rollout", "watch", "--day", "2026-11-14"]);

    // One way on: nothing was seen, and the holdback gets it, too.
    let other = tempfile::tempdir().unwrap();
    copy(f, other.path());
    let o = other.path();
    expect(o, 0, &["rollout", "advance", "--day", "2027-01-15"]);
    assert_eq!(["beta", "general"].map(|c| (pointer(o, c).percent_bp, pointer(o, c).holdback_bp)), [(10_000, 0); 2]);
    let status: RolloutStatus = serde_json::from_value(json(o, 0, &["rollout", "status", "--json"])).unwrap();
    assert_eq!(status.state, RolloutState::Closed);
    assert!(error(o, 97, &["rollout", "watch"]).contains("nothing is left to compare with"));
    assert!(error(o, 97, &["rollout", "advance"]).contains("at everybody"));

    // The other: harm that comes late.
    telemetry(f, "late.jsonl", "general", "2026-11-15", 3, 60);
    expect(f, 100, &["rollout", "watch", "--day", "2026-11-17"]);
    assert_eq!(["beta", "general"].map(|c| pointer(f, c).state), [PointerState::Halted; 2]);
    let records: Vec<_> = fs::read_dir(f.join(ROLLOUT))
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| p.file_name().is_some_and(|n| n.to_string_lossy().starts_with("problem-")))
        .collect();
    let problem: ProblemRecord = serde_json::from_slice(&fs::read(&records[0]).unwrap()).unwrap();
    assert_eq!((records.len(), problem.opened.as_str()), (1, "2026-11-17"));
    assert!(problem.schema == ProblemRecord::SCHEMA && problem.reasons[0].contains("over-budget"), "{problem:?}");
}
