//! Telemetry into the store and out of it as a decision: whole, repeated, hostile, forgotten, replayed.

mod support;

use std::{collections::BTreeMap, fmt::Write as _, fs};

use plimsoll_profile::Policy;
use plimsoll_record::{RolledOut, RolloutState, RolloutVerdict};
use plimsoll_rollout::{
    Pseudonyms,
    chain::{Chain, statement},
    course::{self, Course},
    ingest::{Enrolment, Reason, Rules, ingest},
    replay::replay,
};
use plimsoll_trust::{FileKey, KeySource};
use support::{World, day, digest, fleet, line, pointer, rules, usual};

#[test]
fn a_harmless_release_goes_its_way_and_replays_byte_for_byte() {
    let world = World::new();
    world.start();
    let receipt = world.take("one.jsonl", fleet("2026-11-01", 4, 20), &rules("2026-11-20"));
    assert_eq!((receipt.rows, receipt.taken), (2_400, 2_400));
    let early = world.judge("2026-11-04");
    assert_eq!(early.verdict, RolloutVerdict::Hold);
    assert!(early.missing.iter().any(|m| m == "4 more days"), "{:?}", early.missing);
    let refused = world.chain();
    let course = Course::of(refused.links(), &world.policy, &world.sha256()).unwrap();
    assert!(course.advance(day("2026-11-04"), "a").unwrap_err().to_string().contains("4 more days"));
    assert!(course.resolve(day("2026-11-04"), "a", "in a hurry").is_err(), "evidence will decide");

    world.take("two.jsonl", fleet("2026-11-05", 4, 20), &rules("2026-11-20"));
    assert_eq!(world.judge("2026-11-08").verdict, RolloutVerdict::Advance);
    let moved = world.append(|c| c.advance(day("2026-11-09"), "a").unwrap());
    assert_eq!((moved.next.percent_bp, moved.next.channel.as_str()), (10_000, "general"));

    let chain = world.chain();
    for link in chain.links() {
        assert_eq!(
            statement(&link.decision).unwrap(),
            link.payload,
            "a decision that is read is the one that was written"
        );
    }
    let found = replay(chain.links(), &world.past(), &world.policy, &world.policy, &world.sha256()).unwrap();
    assert_eq!(found.judgements.len(), 2);
    assert!(found.judgements.iter().all(|j| j.same_bytes) && found.halts.is_none());
    // Files that came later change nothing of what was decided.
    world.take(
        "three.jsonl",
        fleet("2026-11-08", 1, 900).replace("\"d", "\"e"),
        &Rules { pointers: vec![], ..rules("2026-11-20") },
    );
    let found = replay(chain.links(), &world.past(), &world.policy, &world.policy, &world.sha256()).unwrap();
    assert!(found.judgements.iter().all(|j| j.same_bytes));
}

#[test]
fn a_harmful_release_is_halted_and_a_stricter_policy_would_have_halted_it_before() {
    let world = World::new();
    world.start();
    world.take("one.jsonl", fleet("2026-11-01", 8, 28), &rules("2026-11-20"));
    for on in ["2026-11-03", "2026-11-06"] {
        assert_eq!(world.judge(on).verdict, RolloutVerdict::Hold, "no statistical halt before the seventh day");
    }
    let halt = world.judge("2026-11-07");
    assert_eq!((halt.verdict, halt.state), (RolloutVerdict::Halt, RolloutState::Halted));
    let strict = usual().replace("[metrics.over", "[decision]\nhalt-after = \"2d\"\n[metrics.over");
    let strict = Policy::from_text("s.toml", &strict).unwrap();
    let found = replay(world.chain().links(), &world.past(), &world.policy, &strict, "other").unwrap();
    assert_eq!(found.halts.as_deref(), Some("2026-11-03"));

    let chain = world.chain();
    let course = Course::of(chain.links(), &world.policy, &world.sha256()).unwrap();
    assert!(course.advance(day("2026-11-08"), "a").is_err() && course.halt(day("2026-11-08"), "a", "again").is_err());
    let resumed = course.resume(day("2026-11-08"), "a", "it was the sensor").unwrap();
    assert_eq!((resumed.state, resumed.next.since.as_str()), (RolloutState::Running, "2026-11-08"));
    assert_eq!(course.roll_back(day("2026-11-08"), "a", "no").unwrap().state, RolloutState::RolledBack);
}

#[test]
fn who_fell_silent_on_another_channel_is_none_of_the_stage() {
    let world = World::new();
    world.start();
    let before = day("2026-10-31").number();
    let mut text = fleet("2026-11-01", 1, 20);
    for device in 0..900 {
        let own = line(device, before, 20).replace("treatment", "waiting").replace("holdback", "waiting");
        let own = own.replace(&digest('b'), &digest('a'));
        // 600 of the beta report on the next day, 20 of them do not any more, 280 are everybody else.
        let own = if device < 620 { own } else { own.replace("\"channel\":\"beta\"", "\"channel\":\"general\"") };
        writeln!(text, "{own}").unwrap();
    }
    world.take("one.jsonl", text, &rules("2026-11-20"));
    let evidence = world.judge("2026-11-01").evidence.unwrap();
    assert_eq!((evidence.treatment + evidence.holdback, evidence.silent), (600, 20));
}

#[test]
fn what_is_ingested_twice_counts_once() {
    let world = World::new();
    let text = fleet("2026-11-01", 2, 20);
    let first = world.take("one.jsonl", &text, &rules("2026-11-20"));
    assert!(!first.known && first.taken == 1_200);
    assert!(world.take("renamed.jsonl", &text, &rules("2026-11-20")).known);
    // The same rows in another file are there already; one that says something else is not believed.
    let other = format!("\n{text}{}\n", line(3, day("2026-11-02").number(), 500));
    let again = world.take("other.jsonl", other, &rules("2026-11-20"));
    let conflicts = if pointer(1_000).holds_back(pointer(1_000).bucket("d3")) { 0 } else { 1 };
    assert_eq!((again.taken, again.repeated), (0, 1_201 - conflicts));
    assert_eq!(again.quarantined.get(&Reason::Conflict).copied().unwrap_or(0), conflicts);
}

#[test]
fn a_file_that_ends_in_the_middle_leaves_nothing() {
    let world = World::new();
    fs::write(world.folder.path().join("cut.parquet"), b"PAR1 and nothing else").unwrap();
    let error = ingest(&mut world.store(), &world.folder.path().join("cut.parquet"), &rules("2026-11-20")).unwrap_err();
    assert!(error.to_string().contains("Parquet"), "{error}");
    assert_eq!(world.store().last_batch().unwrap(), 0);
}

#[test]
fn hostile_rows_go_into_quarantine_and_change_no_decision() {
    let world = World::new();
    world.start();
    world.take("good.jsonl", fleet("2026-11-01", 8, 20), &rules("2026-11-20"));
    let before = world.judge("2026-11-08");

    let good = line(1, day("2026-11-05").number(), 20).replace("\"d1\"", "\"stranger\"");
    let forged = (0..).map(|i| format!("x{i}")).find(|d| pointer(1_000).holds_back(pointer(1_000).bucket(d))).unwrap();
    let hostile: Vec<(String, Reason)> = vec![
        (good.replace("2026-11-05", "1970-01-01"), Reason::TooOld),
        (good.replace("2026-11-05", "2099-12-31"), Reason::Future),
        (good.replace("2026-11-05", "2026-02-30"), Reason::BadDay),
        (good.replace("\"crashes\":0", "\"crashes\":NaN"), Reason::Malformed),
        (good.replace("\"crashes\":0", "\"crashes\":-1"), Reason::Malformed),
        (good.replace("\"crashes\":0", "\"crashes\":99999999999"), Reason::Impossible),
        (good.replace("\"inferences\":1000", "\"inferences\":1"), Reason::Impossible),
        (good.replace("\"restarts\":0", "\"restarts\":0,\"energy_joules\":1e300"), Reason::Impossible),
        (good.replace(&digest('a'), &digest('c')).replace(&digest('b'), &digest('c')), Reason::WrongRelease),
        (
            good.replace("stranger", &forged).replace("holdback", "treatment").replace(&digest('a'), &digest('b')),
            Reason::ForgedCohort,
        ),
        (
            good.replace("treatment", "holdback").replace(&digest('a'), &digest('b')).replace("stranger", &forged),
            Reason::ForgedCohort,
        ),
        (good.replace("\"treatment\"", "\"everybody\"").replace("\"holdback\"", "\"everybody\""), Reason::BadCohort),
        (good.replace("stranger", ""), Reason::BadId),
        (good.replace("telemetry/1", "telemetry/9"), Reason::OtherSchema),
        ("\u{0}\u{1b}[2J".into(), Reason::Malformed),
        ("[".repeat(5_000), Reason::Malformed),
        (format!("{{\"device\":\"{}\"}}", "x".repeat(1 << 17)), Reason::TooLong),
    ];
    let text: String = hostile.iter().map(|(line, _)| format!("{line}\n")).collect();
    let receipt = world.take("bad.jsonl", text, &rules("2026-11-20"));
    let mut expected: BTreeMap<Reason, u64> = BTreeMap::new();
    hostile.iter().for_each(|(_, reason)| *expected.entry(*reason).or_default() += 1);
    assert_eq!((receipt.taken, &receipt.quarantined), (0, &expected));
    assert_eq!(world.store().quarantined().unwrap().values().sum::<u64>(), hostile.len() as u64);

    let after = world.judge("2026-11-08");
    assert_eq!((after.verdict, &after.metrics), (before.verdict, &before.metrics));
}

#[test]
fn a_device_that_claims_both_arms_counts_for_neither() {
    let world = World::new();
    world.start();
    let no_pointers = Rules { pointers: vec![], ..rules("2026-11-20") };
    let mut text = fleet("2026-11-01", 8, 20);
    let two = line(1_000, day("2026-11-03").number(), 20);
    let other = if two.contains("holdback") {
        two.replace("holdback", "treatment").replace(&digest('a'), &digest('b'))
    } else {
        two.replace("treatment", "holdback").replace(&digest('b'), &digest('a'))
    };
    for i in 0..12 {
        for row in [&two, &other] {
            writeln!(text, "{}", row.replace("\"d1000\"", &format!("\"two{i}\""))).unwrap();
        }
    }
    world.take("both.jsonl", text, &no_pointers);
    let evidence = world.judge("2026-11-08").evidence.unwrap();
    assert_eq!((evidence.both, evidence.treatment + evidence.holdback), (12, 600));
}

#[test]
fn a_forgotten_device_is_gone_and_the_chain_stays_whole() {
    let world = World::new();
    world.start();
    world.take("one.jsonl", fleet("2026-11-01", 8, 20), &rules("2026-11-20"));
    world.judge("2026-11-08");
    let pseudonyms = Pseudonyms::new(&[7; 32]);
    assert_eq!(world.store().forget(&pseudonyms, "d5").unwrap(), 8);
    let raw = fs::read(world.folder.path().join("t.sqlite")).unwrap();
    let name = pseudonyms.device("d5");
    let places = raw.windows(16).filter(|w| *w == name).count();
    assert_eq!(places, 1, "only the list of the forgotten holds its pseudonym");
    let forgotten = Rules { forgotten: world.store().forgotten().unwrap(), ..rules("2026-11-20") };
    let receipt = world.take("late.jsonl", line(5, day("2026-11-09").number(), 20), &forgotten);
    assert_eq!(receipt.quarantined, BTreeMap::from([(Reason::Forgotten, 1)]));
    assert_eq!(world.chain().links().len(), 2);

    // What was decided with it cannot be said again, and whoever replays it is told why.
    let replayed = || replay(world.chain().links(), &world.past(), &world.policy, &world.policy, &world.sha256());
    let [judged] = replayed().unwrap().judgements.try_into().unwrap();
    assert_eq!((judged.same_bytes, judged.whole), (false, false));
}

#[test]
fn a_list_that_names_nobody_enrols_nobody() {
    let world = World::new();
    assert_eq!(world.store().enrolled().unwrap(), None, "without a list anybody may be in the beta");
    let one = [(Pseudonyms::new(&[7; 32]).device("d1"), Enrolment { consented: 20_000, left: None })];
    world.store().enrol(&one).unwrap();
    assert_eq!(world.store().enrolled().unwrap().map(|l| l.len()), Some(1));
    world.store().forget(&Pseudonyms::new(&[7; 32]), "d1").unwrap();
    assert_eq!(world.store().enrolled().unwrap().map(|l| l.len()), Some(0));
    let rules = Rules { enrolled: world.store().enrolled().unwrap(), ..rules("2026-11-20") };
    let receipt = world.take("beta.jsonl", line(2, day("2026-11-04").number(), 20), &rules);
    assert_eq!(receipt.quarantined, BTreeMap::from([(Reason::NotEnrolled, 1)]));
}

#[test]
fn more_rows_than_are_told_one_by_one_are_counted_all() {
    let world = World::new();
    let receipt = world.take("bad.jsonl", "no record\n".repeat(10_003), &rules("2026-11-20"));
    assert_eq!(receipt.quarantined, BTreeMap::from([(Reason::Malformed, 10_003)]));
    assert_eq!(world.store().quarantined().unwrap().values().sum::<u64>(), 10_003);
}

#[test]
fn who_is_not_enrolled_or_left_is_not_in_the_beta() {
    let world = World::new();
    let pseudonyms = Pseudonyms::new(&[7; 32]);
    let stay = Enrolment { consented: day("2026-11-01").number(), left: None };
    let gone = Enrolment { left: Some(day("2026-11-03").number()), ..stay };
    let enrolled = BTreeMap::from([(pseudonyms.device("d1"), stay), (pseudonyms.device("d2"), gone)]);
    let rules = Rules { enrolled: Some(enrolled), ..rules("2026-11-20") };
    let number = day("2026-11-04").number();
    let text = [1, 2, 3].map(|d| line(d, number, 20)).join("\n");
    let receipt = world.take("beta.jsonl", text, &rules);
    assert_eq!((receipt.taken, receipt.quarantined), (1, BTreeMap::from([(Reason::NotEnrolled, 2)])));
}

#[test]
fn csv_says_the_same_as_json() {
    let world = World::new();
    let held = pointer(1_000).holds_back(pointer(1_000).bucket("d1"));
    let (cohort, release) = if held { ("holdback", digest('a')) } else { ("treatment", digest('b')) };
    let csv = format!(
        "device,day,release,cohort,channel,inferences,over_budget,crashes,restarts,shadow_runs,shadow_agreed,energy_joules\n\
         d1,2026-11-04,{release},{cohort},beta,1000,21,0,0,10,9,1.5\n\
         d1,2026-11-05,{release},{cohort},beta,1000,21,0,0,,,\n\
         d1,2026-11-06,{release},{cohort},beta,-5,21,0,0,,,\n\
         d1,2026-11-07,{release}\n"
    );
    let receipt = world.take("days.csv", csv, &rules("2026-11-20"));
    assert_eq!((receipt.taken, receipt.quarantined), (2, BTreeMap::from([(Reason::Malformed, 2)])));
    let json = format!(
        r#"{{"kind":"device-day","schema":"plimsoll.telemetry/1","device":"d1","day":"2026-11-04","release":"{release}","cohort":"{cohort}","channel":"beta","inferences":1000,"over_budget":21,"crashes":0,"restarts":0,"shadow":[10,9],"energy_joules":1.5}}"#
    );
    assert_eq!(world.take("same.jsonl", json, &rules("2026-11-20")).repeated, 1);
    let reviews = format!(
        "user,device,day,release,rating,text\nu1,d1,2026-11-05,{release},4,secret words\nu1,d1,2026-11-06,{release},9,\n"
    );
    let receipt = world.take("reviews.csv", reviews, &rules("2026-11-20"));
    assert_eq!((receipt.taken, receipt.quarantined), (1, BTreeMap::from([(Reason::Impossible, 1)])));
    let raw = fs::read(world.folder.path().join("t.sqlite")).unwrap();
    assert!(!raw.windows(6).any(|w| w == b"secret"), "texts are not stored unless somebody asks for them");
}

#[test]
fn decisions_that_were_changed_or_taken_out_are_refused() {
    let world = World::new();
    world.start();
    world.judge("2026-11-02");
    world.judge("2026-11-03");
    let decisions = world.folder.path().join("decisions");
    let read = || Chain::read(&decisions, &[world.key.public_key()]);
    assert_eq!(read().unwrap().links().len(), 3);
    let [one, two] = ["000002.dsse.json", "000003.dsse.json"].map(|f| decisions.join(f));
    let kept = fs::read(&one).unwrap();
    fs::copy(&two, &one).unwrap();
    assert!(read().unwrap_err().to_string().contains("does not follow"));
    fs::remove_file(&one).unwrap();
    assert!(read().unwrap_err().to_string().contains("missing"));
    fs::write(&one, &kept).unwrap();
    let stranger = FileKey::read_or_create(&world.folder.path().join("stranger.pem")).unwrap();
    assert!(Chain::read(&decisions, &[stranger.public_key()]).is_err());
    assert!(Course::of(read().unwrap().links(), &world.policy, "another").is_err(), "the policy is frozen");
}

#[test]
fn small_cells_are_not_shown() {
    let world = World::new();
    world.start();
    let few: String = (0..60).map(|d| line(d, day("2026-11-01").number(), 20) + "\n").collect();
    world.take("few.jsonl", few, &rules("2026-11-20"));
    let judged = world.judge("2026-11-01");
    let evidence = judged.evidence.unwrap();
    assert!(evidence.treatment >= 10 && evidence.holdback == 0, "{evidence:?}");
    let crash = judged.metrics.iter().find(|m| m.metric == "crashed-devices").unwrap();
    assert!(crash.treatment.is_some() && crash.holdback.is_none() && crash.harm.is_none() && crash.upper.is_none());
}

#[test]
fn names_and_reasons_are_no_markup() {
    let world = World::new();
    let rollout = RolledOut {
        name: "<script>alert(1)</script>".into(),
        version: "\u{202e}1".into(),
        release: digest('b'),
        previous: digest('a'),
        previous_in_beta: None,
    };
    let first = course::start(&world.policy, "x", rollout, day("2026-11-01"), "\"><img src=x>").unwrap();
    let page = plimsoll_rollout::render::html(&[&first], &world.policy, &[]);
    assert!(!page.contains("<script") && !page.contains("<img") && !page.contains('\u{202e}'));
}
