//! Times of ingestion and of decisions: `cargo run --release --example million -- FOLDER [DEVICES [DAYS [OUTCOMES]]]`.
//!
//! Writes device-days to FOLDER, takes them into a store, judges them; writes OUTCOMES device outcomes as Parquet and judges these.
//! Without arguments 33,334 devices on 30 days, and 10 million outcomes. Prints seconds, and the peak of resident memory so far.
#![expect(clippy::print_stdout, reason = "its figures are what it is for")]

use std::{
    collections::BTreeSet,
    env,
    error::Error,
    fs::{self, File},
    io::{BufWriter, Write},
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use parquet::{
    data_type::{ByteArray, ByteArrayType, DoubleType},
    file::{properties::WriterProperties, writer::SerializedFileWriter},
    schema::parser::parse_message_type,
};
use plimsoll_profile::{Day, Policy};
use plimsoll_rollout::{
    Ladder, Pseudonyms,
    evidence::{Evidence, Span},
    ingest::{Rules, ingest},
    judge::{Detail, Judge, When},
    store::{COLUMNS, StageQuery, Store},
    warehouse,
};
use plimsoll_stats::Random;

const FIRST: &str = "2026-11-01";

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = env::args().skip(1).collect();
    let folder = PathBuf::from(args.first().ok_or("name a folder")?);
    let number = |i: usize, default: u64| args.get(i).map_or(Ok(default), |a| a.parse());
    let (devices, days, outcomes) = (number(1, 33_334)?, number(2, 30)?, number(3, 10_000_000)?);
    fs::create_dir_all(&folder)?;
    let policy = Policy::from_text("policy.toml", include_str!("../../../docs/examples/policy.toml"))?;

    let telemetry = folder.join("telemetry.jsonl");
    write_days(&telemetry, devices, days)?;
    let first = Day::parse(FIRST).ok_or("no day")?.number();
    let last = first + days as i32 - 1;
    let path = folder.join("telemetry.sqlite");
    let _ = fs::remove_file(&path);
    let mut store = Store::open(&path)?;
    let rules = Rules {
        today: last,
        retention: 400,
        releases: BTreeSet::new(),
        pointers: vec![],
        enrolled: None,
        forgotten: BTreeSet::new(),
        keep_text: false,
        pseudonyms: Pseudonyms::new(&[1; 32]),
    };
    let start = Instant::now();
    let receipt = ingest(&mut store, &telemetry, &rules)?;
    say(&format!("{} device-days ingested", receipt.taken), start);

    let start = Instant::now();
    let query = StageQuery {
        candidate: "b".repeat(64),
        previous: "a".repeat(64),
        channel: "general".into(),
        first_day: first + 14,
        last_day: last,
        pre_days: 14,
        batch: 1,
    };
    let kept = store.evidence(&query)?;
    decide(&policy, &kept.evidence, query.span());
    say("decided on them", start);

    let parquet = folder.join("outcomes.parquet");
    write_outcomes(&parquet, outcomes)?;
    let start = Instant::now();
    let span = Span { days: 7, pre_days: 14 };
    let mut evidence = Evidence::new(span);
    let taken = warehouse::outcomes(&parquet, |o| evidence.take(&o))?;
    decide(&policy, &evidence, span);
    say(&format!("decided on the outcomes of {} devices", taken.rows), start);
    Ok(())
}

fn decide(policy: &Policy, evidence: &Evidence, span: Span) {
    let Some(rung) = Ladder::new(policy).rung(3) else { return };
    let when = When { of_rollout: 60, of_stage: span.days };
    let found = Judge::new(policy).judge(&rung, when, evidence, Detail::Bounds);
    println!("{:?}: {:?} {:?}", found.verdict, found.reasons, found.missing);
}

fn say(what: &str, since: Instant) {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap_or(" unknown").trim();
    println!("{what}: {:.2} s, peak memory {peak}", since.elapsed().as_secs_f64());
}

fn write_days(path: &Path, devices: u64, days: u64) -> Result<(), Box<dyn Error>> {
    let (mut out, mut random) = (BufWriter::new(File::create(path)?), Random::new(1));
    let first = Day::parse(FIRST).ok_or("no day")?.number();
    for day in 0..days {
        let date = Day::of_number(first + day as i32).ok_or("no day")?;
        for device in 0..devices {
            let (cohort, release) = match (device % 10, day >= 14) {
                (0, true) => ("holdback", "a"),
                (_, true) => ("treatment", "b"),
                _ => ("waiting", "a"),
            };
            let over = (20.0 * random.unit()) as u64 + device % 40;
            let crashes = u64::from(random.unit() < 0.0005);
            writeln!(
                out,
                "{{\"kind\":\"device-day\",\"schema\":\"plimsoll.telemetry/1\",\"device\":\"sensor-{device:08}\",\"day\":\"{date}\",\
                 \"release\":\"{}\",\"cohort\":\"{cohort}\",\"channel\":\"general\",\"inferences\":2880,\"over_budget\":{over},\
                 \"crashes\":{crashes},\"restarts\":{crashes},\"shadow\":[288,{}],\"energy_joules\":41.5,\
                 \"input_drift\":0.05,\"latency_log2_us\":[0,0,0,0,0,0,0,0,0,1960,870,42,5,3]}}",
                release.repeat(64),
                280 + device % 8
            )?;
        }
    }
    Ok(out.flush()?)
}

fn write_outcomes(path: &Path, rows: u64) -> Result<(), Box<dyn Error>> {
    let fields: String = COLUMNS.iter().map(|c| format!("required double {c};")).collect();
    let schema = parse_message_type(&format!("message outcomes {{ required binary cohort (UTF8); {fields} }}"))?;
    let mut writer =
        SerializedFileWriter::new(File::create(path)?, Arc::new(schema), Arc::new(WriterProperties::default()))?;
    let mut random = Random::new(2);
    let mut left = rows;
    while left > 0 {
        let n = left.min(500_000) as usize;
        left -= n as u64;
        let mut group = writer.next_row_group()?;
        let cohorts: Vec<ByteArray> =
            (0..n).map(|i| ByteArray::from(if i.is_multiple_of(10) { "holdback" } else { "treatment" })).collect();
        let mut column = group.next_column()?.ok_or("no column")?;
        column.typed::<ByteArrayType>().write_batch(&cohorts, None, None)?;
        column.close()?;
        for name in COLUMNS {
            let draw = |random: &mut Random, i: usize| match name {
                "days" | "input_days" | "output_days" => 7.0,
                "inferences" | "metered" => 20_160.0,
                "energy" => (2_800_000.0 + 200_000.0 * random.unit()).floor(),
                "pre_energy" => 5_800_000.0,
                "input_drift" | "output_drift" => (7e5 * random.unit()).floor(),
                "over_budget" => (400.0 * random.unit()).floor(),
                "crashes" => f64::from(u8::from(random.unit() < 0.005)),
                "shadow_runs" => 2_016.0,
                "shadow_agreed" => (1_960.0 + 56.0 * random.unit()).floor(),
                "pre_inferences" | "pre_metered" => 40_320.0,
                "pre_over_budget" => (800.0 * random.unit()).floor(),
                "pre_days" => 14.0,
                "rating_4" => f64::from(u8::from(i.is_multiple_of(5))),
                "rating_5" => f64::from(u8::from(i.is_multiple_of(7))),
                _ => 0.0,
            };
            let values: Vec<f64> = (0..n).map(|i| draw(&mut random, i)).collect();
            let mut column = group.next_column()?.ok_or("no column")?;
            column.typed::<DoubleType>().write_batch(&values, None, None)?;
            column.close()?;
        }
        group.close()?;
    }
    writer.close()?;
    Ok(())
}
