//! A server that keeps both releases of a channel ready, and draws each request's by its key.

mod support;

use std::{collections::BTreeMap, time::SystemTime};

use plimsoll_device::{Agent, Runner, records};
use plimsoll_profile::{Day, DeviceSpec};
use plimsoll_record::{DeviceAction, DeviceDay, TelemetryRecord};
use plimsoll_runtime::TractExecutor;
use support::{Team, crashing, image, model, version};

/// A release that everybody has, and the next one for three in ten, with one in ten held back.
fn with_next(next: &[u8]) -> Team {
    let team = Team::new();
    team.release("1.0.0", &model(), |_| {});
    team.promote(10_000, 0);
    team.release("2.0.0", next, |_| {});
    team.promote(3_000, 1_000);
    team
}

fn server(team: &Team) -> Agent {
    let agent = Agent::new(DeviceSpec { routes: true, ..team.spec("server", "") }).unwrap();
    // One look for each slot.
    for action in [DeviceAction::Switched, DeviceAction::None] {
        assert_eq!(agent.sync(&TractExecutor, SystemTime::now()).unwrap().action, action);
        assert_eq!(version(&agent), "2.0.0");
    }
    agent
}

#[test]
fn a_server_routes_requests_by_their_key_between_two_releases() {
    let team = with_next(&model());
    let agent = server(&team);
    let pointer = team.repository.pointer("general").unwrap().unwrap();
    let now = SystemTime::now();
    let mut runner = Runner::start(&agent, &TractExecutor, now).unwrap();
    let mut new = 0;
    for user in 0..1_000 {
        let key = format!("user-{user}");
        let answer = runner.infer(Some(&key), &image(4.0), now).unwrap();
        let takes = pointer.takes(pointer.bucket(&key));
        assert_eq!(answer.release == pointer.target.release_digest, takes, "{key}");
        new += u64::from(takes);
    }
    assert!((250..350).contains(&new), "{new}");
    runner.end().unwrap();
    let mut of_server = Vec::new();
    let mut of_keys = BTreeMap::from([("treatment", 0), ("holdback", 0), ("waiting", 0)]);
    for record in records(agent.state(), Day::of(now), true).unwrap() {
        let TelemetryRecord::DeviceDay(d) = record else { continue };
        if d.device == "server" {
            // The server is of neither arm: it runs both.
            of_server.push((d.cohort, d.inferences));
            continue;
        }
        let bucket = pointer.bucket(&d.device);
        let expected = match (pointer.takes(bucket), pointer.holds_back(bucket)) {
            (true, _) => ("treatment", &pointer.target),
            (_, true) => ("holdback", pointer.previous.as_ref().unwrap()),
            _ => ("waiting", pointer.previous.as_ref().unwrap()),
        };
        assert_eq!((d.cohort.as_str(), &d.release), (expected.0, &expected.1.release_digest), "{}", d.device);
        assert_eq!((d.inferences, d.latency_log2_us.unwrap().iter().sum::<u64>()), (1, 1));
        *of_keys.get_mut(expected.0).unwrap() += 1;
    }
    of_server.sort_unstable();
    let mut expected = [("waiting".to_owned(), new), ("waiting".into(), 1_000 - new)];
    expected.sort_unstable();
    assert_eq!(of_server, expected);
    assert!(of_keys["treatment"] == new && (60..140).contains(&of_keys["holdback"]), "{of_keys:?}");
    assert_eq!(of_keys.values().sum::<u64>(), 1_000);
}

#[test]
fn what_a_release_crashes_on_is_counted_at_the_keys_that_met_it_and_it_is_given_up() {
    let team = with_next(&crashing(&model()));
    let agent = server(&team);
    let pointer = team.repository.pointer("general").unwrap().unwrap();
    let key = |takes: bool| {
        let mut keys = (0..).map(|n| format!("user-{n}"));
        keys.find(|k| {
            pointer.bucket(k) < pointer.percent_bp && takes || pointer.holds_back(pointer.bucket(k)) && !takes
        })
    };
    let [taking, held] = [true, false].map(|takes| key(takes).unwrap());
    let now = SystemTime::now();
    let mut runner = Runner::start(&agent, &TractExecutor, now).unwrap();
    runner.infer(Some(&held), &image(0.0), now).unwrap();
    let answer = runner.infer(Some(&taking), &image(0.0), now).unwrap();
    assert!(answer.went_back.is_some() && answer.release != pointer.target.release_digest);
    // It is not tried again, by whomever.
    assert!(runner.other().is_none());
    assert_eq!(runner.infer(Some(&taking), &image(4.0), now).unwrap().release, answer.release);
    runner.end().unwrap();
    let days: Vec<DeviceDay> = records(agent.state(), Day::of(now), true)
        .unwrap()
        .into_iter()
        .filter_map(|r| if let TelemetryRecord::DeviceDay(d) = r { Some(d) } else { None })
        .collect();
    let of = |device: &str| {
        let mut found: Vec<_> = days
            .iter()
            .filter(|d| d.device == device)
            .map(|d| (d.cohort.as_str(), d.inferences, d.crashes, d.crash_loops))
            .collect();
        found.sort_unstable();
        found
    };
    assert_eq!(of(&taking), [("treatment", 0, 3, 1), ("waiting", 2, 0, 0)]);
    assert_eq!(of(&held), [("holdback", 1, 0, 0)]);
    assert_eq!(of("server"), [("waiting", 0, 3, 1), ("waiting", 3, 0, 0)]);
}
