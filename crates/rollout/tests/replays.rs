//! Replays: what judgements rested on may be telemetry that is there, that was changed, that is gone, or outcomes of another engine.

mod support;

use std::{collections::BTreeMap, fs, path::Path, sync::Arc};

use parquet::{
    data_type::{ByteArray, ByteArrayType, DoubleType},
    file::writer::SerializedFileWriter,
    schema::parser::parse_message_type,
};
use plimsoll_record::RolloutVerdict;
use plimsoll_rollout::{
    judge::Judge,
    replay::{Past, replay},
    store::COLUMNS,
    warehouse,
};
use support::{World, day, fleet, rules};

#[test]
fn a_replay_tells_telemetry_that_is_gone_from_telemetry_that_was_changed() {
    let world = World::new();
    world.start();
    world.take("one.jsonl", fleet("2026-10-20", 20, 20), &rules("2026-11-20"));
    world.judge("2026-11-08");
    let judged = || {
        let found = replay(world.chain().links(), &world.past(), &world.policy, &world.policy, &world.sha256());
        found.unwrap().judgements.first().map(|j| (j.same_bytes, j.whole)).unwrap()
    };
    assert_eq!(judged(), (true, true));
    // The pre-period of fourteen days begins on the 18th.
    assert_eq!(world.store().expire(day("2026-10-18").number()).unwrap(), 0);
    assert_eq!(judged(), (true, true));
    let changed = rusqlite::Connection::open(world.folder.path().join("t.sqlite")).unwrap();
    changed.execute("UPDATE days SET over_budget = 0 WHERE cohort = 1", []).unwrap();
    assert_eq!(judged(), (false, true), "somebody changed it");
    assert_eq!(world.store().expire(day("2026-10-25").number()).unwrap(), 5 * 600);
    assert_eq!(judged(), (false, false));
}

#[test]
fn a_judgement_of_outcomes_is_replayed_with_them_and_counted_without() {
    let world = World::new();
    world.start();
    let path = world.folder.path().join("outcomes.parquet");
    write_outcomes(&path);
    let judge = Judge::new(&world.policy);
    let judged = world.append(|course| {
        let (kept, taken) = warehouse::evidence(&path, course.query(day("2026-11-08"), 0).unwrap().span()).unwrap();
        assert_eq!((taken.rows, taken.refused), (600, 0));
        course.judgement(&judge, day("2026-11-08"), &kept, None).unwrap()
    });
    assert_eq!(judged.verdict, RolloutVerdict::Advance, "{:?}", judged.missing);
    let replayed =
        |past: &Past| replay(world.chain().links(), past, &world.policy, &world.policy, &world.sha256()).unwrap();
    let without = replayed(&world.past());
    assert_eq!((without.judgements.len(), without.elsewhere), (0, 1));
    let with = Past { outcomes: BTreeMap::from([(warehouse::digest(&path).unwrap(), path)]), ..world.past() };
    let found = replayed(&with);
    assert_eq!(found.elsewhere, 0);
    assert!(found.judgements.iter().all(|j| j.same_bytes && j.whole && j.devices == 540), "{found:?}");
}

/// Outcomes of eight days of 600 devices, a tenth of them held back, as another engine writes them.
fn write_outcomes(path: &Path) {
    let fields: String = COLUMNS.iter().map(|c| format!("required double {c};")).collect();
    let schema =
        parse_message_type(&format!("message outcomes {{ required binary cohort (UTF8); {fields} }}")).unwrap();
    let mut writer =
        SerializedFileWriter::new(fs::File::create(path).unwrap(), Arc::new(schema), Arc::default()).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let cohort = |i: usize| if i.is_multiple_of(10) { "holdback" } else { "treatment" };
    let cohorts: Vec<ByteArray> = (0..600).map(|i| cohort(i).into()).collect();
    let mut column = group.next_column().unwrap().unwrap();
    column.typed::<ByteArrayType>().write_batch(&cohorts, None, None).unwrap();
    column.close().unwrap();
    for name in COLUMNS {
        let value = |i: usize| match name {
            "days" => 8.0,
            "inferences" => 8_000.0,
            "over_budget" => 160.0 + (i % 7) as f64,
            _ => 0.0,
        };
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<DoubleType>().write_batch(&(0..600).map(value).collect::<Vec<_>>(), None, None).unwrap();
        column.close().unwrap();
    }
    group.close().unwrap();
    writer.close().unwrap();
}
