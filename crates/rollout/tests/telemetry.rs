//! What devices report beside counts: incidents, latency, energy, drift; out of JSON, Parquet and a store of an earlier version.

mod support;

use std::{fs, io::Write, sync::Arc};

use parquet::{
    data_type::{ByteArray, ByteArrayType, DoubleType, Int32Type, Int64Type},
    file::writer::SerializedFileWriter,
    schema::parser::parse_message_type,
};
use plimsoll_profile::Day;
use plimsoll_record::{Decision, MetricStanding, RolloutVerdict};
use plimsoll_rollout::{
    course::Course,
    evidence::{Evidence, Span},
    observed::observed,
    store::{Kept, StageQuery},
    warehouse,
};
use support::{World, day, digest, fleet, line, pointer, rules, usual};

/// The first devices that are held back, or that are not.
fn devices(held: bool, n: usize) -> Vec<u32> {
    let p = pointer(1_000);
    (0..600).filter(|d| p.holds_back(p.bucket(&format!("d{d}"))) == held).take(n).collect()
}

/// The first day of a beta in which so many devices of both arms report an incident.
fn first_day(incident: &str, treated: usize, held: usize) -> Decision {
    let world = World::new();
    world.start();
    let mut text = fleet("2026-11-01", 1, 20);
    for device in [devices(false, treated), devices(true, held)].concat() {
        let own = line(device, day("2026-11-01").number(), 20);
        text = text.replace(&own, &own.replace("\"restarts\":0", &format!("\"restarts\":0,\"{incident}\":1")));
    }
    world.take("one.jsonl", text, &rules("2026-11-20"));
    world.judge("2026-11-01")
}

#[test]
fn crash_loops_and_bad_signatures_halt_on_the_first_day() {
    for incident in ["crash_loops", "signature_failures"] {
        let halt = first_day(incident, 3, 0);
        assert_eq!(halt.verdict, RolloutVerdict::Halt, "{incident}");
        assert!(halt.reasons[0].contains("halts at once"), "{:?}", halt.reasons);
        assert_eq!(
            first_day(incident, 2, 0).verdict,
            RolloutVerdict::Hold,
            "two devices may have defects of their own"
        );
        // The release before does it as often: it is not the release.
        assert_eq!(first_day(incident, 3, 40).verdict, RolloutVerdict::Hold, "{incident}");
    }
}

const WATCHED: &str =
    "[metrics.energy]\nmargin = \"10%\"\nmax = \"150%\"\nspread = \"5%\"\n[metrics.input-drift]\nmargin = \"5pp\"\n";

/// Eight days of a beta after ten days with the release before: energy of an inference and drift of inputs are those of the release.
fn with_energy(policy: &str, joules: f64, drift: f64) -> World {
    let world = World::under(policy);
    world.start();
    let start = day("2026-11-01").number();
    let mut text = String::new();
    for number in start - 10..start + 8 {
        for device in 0..600 {
            let own = line(device, number, 20);
            let held = own.contains("holdback");
            let (joules, drift) = if held || number < start { (50.0, 0.05) } else { (joules, drift) };
            // Devices differ by far more than the release does.
            let joules = joules * f64::from(1 + device % 7);
            let own = if number < start {
                own.replace("treatment", "waiting").replace(&digest('b'), &digest('a'))
            } else {
                own
            };
            let more = format!(
                "\"restarts\":0,\"energy_joules\":{joules},\"input_drift\":{drift},\"latency_log2_us\":[0,0,0,900,90,10]"
            );
            text += &(own.replace("\"restarts\":0", &more) + "\n");
        }
    }
    let receipt = world.take("one.jsonl", text, &rules("2026-11-20"));
    assert_eq!(receipt.taken, 600 * 18, "{receipt:?}");
    world
}

#[track_caller]
fn check(joules: f64, drift: f64, verdict: RolloutVerdict, standings: [MetricStanding; 2]) {
    let world = with_energy(&format!("{}{WATCHED}", usual()), joules, drift);
    // The policy of the world is another one than that of the digest; what is judged is what it says.
    let judged = world.judge("2026-11-08");
    let of = |name: &str| judged.metrics.iter().find(|m| m.metric == name).unwrap();
    assert_eq!([of("energy").standing, of("input-drift").standing], standings, "{:?}", judged.metrics);
    assert_eq!(judged.verdict, verdict, "{:?}", judged.missing);
    let found = of("energy").treatment.unwrap().value;
    assert!((found - (joules / 50.0)).abs() < 0.001, "{found} of what it took before");
}

#[test]
fn energy_and_drift_are_judged_where_the_policy_names_them() {
    use MetricStanding::{Harmful, NonInferior, OverLimit};
    check(51.0, 0.06, RolloutVerdict::Advance, [NonInferior, NonInferior]);
    check(60.0, 0.06, RolloutVerdict::Halt, [Harmful, NonInferior]);
    check(51.0, 0.15, RolloutVerdict::Halt, [NonInferior, Harmful]);
    let ceiling = format!("{}{}", usual(), WATCHED.replace("margin = \"10%\"", "margin = \"300%\""));
    let judged = with_energy(&ceiling, 90.0, 0.06).judge("2026-11-08");
    assert_eq!(judged.metrics.last().map(|m| m.standing), Some(NonInferior));
    assert_eq!(judged.metrics.iter().find(|m| m.metric == "energy").map(|m| m.standing), Some(OverLimit));
}

fn query(world: &World, first: &str, last: &str) -> StageQuery {
    StageQuery {
        candidate: digest('b'),
        previous: digest('a'),
        channel: "beta".into(),
        first_day: day(first).number(),
        last_day: day(last).number(),
        pre_days: 14,
        batch: world.store().last_batch().unwrap(),
    }
}

#[test]
fn latency_energy_and_drift_are_seen_though_no_policy_names_them() {
    let world = with_energy(&usual(), 55.0, 0.09);
    let q = query(&world, "2026-11-01", "2026-11-08");
    let all = observed(&world.store(), &q, 10).unwrap();
    let shown: Vec<(&str, String)> =
        all.iter().map(|o| (o.name.as_str(), plimsoll_rollout::render::shown(o, o.treatment))).collect();
    let expected =
        [("latency.p50", "≤ 0.0 ms"), ("latency.p99", "≤ 0.0 ms"), ("energy", "110.00 %"), ("input-drift", "9.00 %")];
    assert_eq!(shown, expected.map(|(n, v)| (n, v.to_owned())));
    // 900 of a thousand took 8 to 16 microseconds, 990 less than 32.
    let seconds: Vec<f64> = all.iter().take(2).map(|o| o.holdback.unwrap().value).collect();
    assert_eq!(seconds, [16e-6, 32e-6]);
    assert_eq!(observed(&world.store(), &q, 1_000).unwrap(), [], "too few devices to be shown");
    let page = plimsoll_rollout::render::html(&[&world.chain().links()[0].decision], &world.policy, &all);
    assert!(page.contains("Latency, energy and drift") && page.contains("110.00 %"));
}

#[test]
fn days_with_the_release_are_no_time_before_it() {
    let world = World::new();
    world.start();
    // At an earlier stage the release did the same harm that it does now.
    world.take("one.jsonl", fleet("2026-10-29", 11, 30), &rules("2026-11-20"));
    let judged = world.judge("2026-11-08");
    let harm = judged.metrics[0].harm.unwrap();
    assert!((harm - 0.01).abs() < 0.001, "harm of one point is hidden by harm before: {harm}");
}

#[test]
fn a_store_of_the_first_version_is_brought_up_to_date() {
    let world = World::new();
    world.start();
    world.take("one.jsonl", fleet("2026-11-01", 8, 20), &rules("2026-11-20"));
    let before = world.judge("2026-11-08");
    let old = rusqlite::Connection::open(world.folder.path().join("t.sqlite")).unwrap();
    old.execute_batch(
        "ALTER TABLE days DROP COLUMN latency; ALTER TABLE days DROP COLUMN signature_failures;
         ALTER TABLE days DROP COLUMN crash_loops; DROP TABLE refused; DROP TABLE lists;
         DROP TABLE expired; PRAGMA user_version = 1;",
    )
    .unwrap();
    drop(old);
    let after = world.judge("2026-11-08");
    assert_eq!((before.verdict, &before.metrics), (after.verdict, &after.metrics));
    assert_eq!(world.take("again.jsonl", fleet("2026-11-01", 8, 20) + "\n", &rules("2026-11-20")).repeated, 4_800);
}

/// Device-days as an engine writes them: flat columns, a list of bins, days as dates.
fn write_parquet(path: &std::path::Path, rows: &[(String, i32, String, String)]) {
    let schema = "message m { required binary device (UTF8); required int32 day (DATE); required binary release (UTF8); \
                  required binary cohort (UTF8); required binary channel (UTF8); required int64 inferences; required int64 over_budget; \
                  required int64 crashes; required int64 restarts; optional double input_drift; }";
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let mut file = fs::File::create(path).unwrap();
    let mut writer = SerializedFileWriter::new(&mut file, schema, Arc::default()).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let texts: [Vec<ByteArray>; 4] = [
        rows.iter().map(|r| r.0.as_bytes().to_vec().into()).collect(),
        rows.iter().map(|r| r.2.as_bytes().to_vec().into()).collect(),
        rows.iter().map(|r| r.3.as_bytes().to_vec().into()).collect(),
        rows.iter().map(|_| b"beta".to_vec().into()).collect(),
    ];
    let days: Vec<i32> = rows.iter().map(|r| r.1).collect();
    let mut place = 0;
    while let Some(mut column) = group.next_column().unwrap() {
        match place {
            0 => drop(column.typed::<ByteArrayType>().write_batch(&texts[0], None, None).unwrap()),
            1 => drop(column.typed::<Int32Type>().write_batch(&days, None, None).unwrap()),
            2..=4 => drop(column.typed::<ByteArrayType>().write_batch(&texts[place - 1], None, None).unwrap()),
            5..=8 => {
                let value = [1_000, 20, 0, 0][place - 5];
                column.typed::<Int64Type>().write_batch(&vec![value; rows.len()], None, None).unwrap();
            }
            _ => {
                // Every other value is null.
                let levels: Vec<i16> = (0..rows.len()).map(|i| i16::from(i % 2 == 0)).collect();
                let values = vec![0.25; rows.len().div_ceil(2)];
                column.typed::<DoubleType>().write_batch(&values, Some(&levels), None).unwrap();
            }
        }
        column.close().unwrap();
        place += 1;
    }
    group.close().unwrap();
    writer.close().unwrap();
    file.flush().unwrap();
}

#[test]
fn parquet_says_the_same_as_json() {
    let world = World::new();
    let first = day("2026-11-01").number();
    let row = |device: u32, number: i32| {
        let held = line(device, number, 20).contains("holdback");
        let (cohort, release) = if held { ("holdback", 'a') } else { ("treatment", 'b') };
        (format!("d{device}"), number, digest(release), cohort.to_owned())
    };
    let mut rows: Vec<_> =
        (0..100).flat_map(|d| (first..first + 3).map(move |n| (d, n))).map(|(d, n)| row(d, n)).collect();
    rows.push(("d1".into(), day("2099-01-01").number(), digest('b'), "treatment".into()));
    let path = world.folder.path().join("days.parquet");
    write_parquet(&path, &rows);
    let receipt = plimsoll_rollout::ingest::ingest(&mut world.store(), &path, &rules("2026-11-20")).unwrap();
    assert_eq!((receipt.taken, receipt.quarantined.values().sum::<u64>()), (300, 1), "{receipt:?}");
    let json: String = rows
        .iter()
        .take(300)
        .enumerate()
        .map(|(i, (device, number, release, cohort))| {
            let date = Day::of_number(*number).unwrap();
            let drift = if i % 2 == 0 { ",\"input_drift\":0.25" } else { "" };
            format!(
                "{{\"kind\":\"device-day\",\"schema\":\"plimsoll.telemetry/1\",\"device\":\"{device}\",\"day\":\"{date}\",\"release\":\"{release}\",\
                 \"cohort\":\"{cohort}\",\"channel\":\"beta\",\"inferences\":1000,\"over_budget\":20,\"crashes\":0,\"restarts\":0{drift}}}\n"
            )
        })
        .collect();
    let again = world.take("same.jsonl", json, &rules("2026-11-20"));
    assert_eq!((again.taken, again.repeated), (0, 300), "{again:?}");
}

#[test]
fn outcomes_without_a_column_are_refused_by_its_name() {
    let world = World::new();
    let path = world.folder.path().join("days.parquet");
    write_parquet(&path, &[("d1".into(), 20_000, digest('b'), "treatment".into())]);
    let mut evidence = Evidence::new(Span { days: 1, pre_days: 14 });
    let error = warehouse::outcomes(&path, |o| evidence.take(&o)).unwrap_err().to_string();
    assert!(error.contains("column `days` is missing"), "{error}");
}

#[test]
fn the_holdback_gets_the_release_in_the_end_and_nothing_is_judged_then() {
    let world = World::new();
    world.start();
    world.take("one.jsonl", fleet("2026-11-01", 8, 20), &rules("2026-11-20"));
    world.judge("2026-11-08");
    world.append(|c| c.advance(day("2026-11-09"), "a").unwrap());
    let mut complete = world.chain();
    // The stage of everybody, passed by a person's word here; what it takes to pass is tested elsewhere.
    let last = complete.links().last().unwrap().decision.clone();
    let passed = Decision {
        sequence: last.sequence + 1,
        previous_decision: Some(complete.links().last().unwrap().sha256.clone()),
        state: plimsoll_record::RolloutState::Complete,
        stage: last.next.clone(),
        ..last
    };
    complete.append(passed, &[&world.key]).unwrap();
    let closed = world.append(|c| c.advance(day("2027-01-10"), "a").unwrap());
    assert_eq!(
        (closed.kind, closed.state),
        (plimsoll_record::DecisionKind::Close, plimsoll_record::RolloutState::Closed)
    );
    let chain = world.chain();
    let course = Course::of(chain.links(), &world.policy, &world.sha256()).unwrap();
    assert!(course.advance(day("2027-01-11"), "a").is_err());
    assert!(course.halt(day("2027-01-11"), "a", "it was not as good as that").is_ok());
    let kept = Kept { evidence: Evidence::new(Span { days: 1, pre_days: 14 }), sha256: String::new() };
    let judge = plimsoll_rollout::judge::Judge::new(&world.policy);
    let error = course.judgement(&judge, day("2027-01-11"), &kept, None).unwrap_err().to_string();
    assert!(error.contains("nothing is left to compare with"), "{error}");
}
