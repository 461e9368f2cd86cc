//! A rollout of 600 devices that do not exist, played from the command line.

#[path = "../../../rollout/tests/support/policy.rs"]
mod policy;

use std::{fmt::Write as _, fs, path::Path};

use plimsoll_profile::Day;
use plimsoll_record::ChannelPointer;
use policy::policy;

use super::{expect, json, release_digits};

/// The policy that it is under.
pub(crate) fn usual() -> String {
    let metrics = "[metrics.over-budget]\nmargin = \"1pp\"\nmax = \"10%\"\nspread = \"0.5pp\"\n\
                   [metrics.agreement]\nmargin = \"5pp\"\nexpected = \"98%\"\nspread = \"1pp\"\n";
    policy([600, 600], "soak = \"8d\"", &[("20%", 3), ("100%", 3)], metrics)
}

pub(crate) fn pointer(folder: &Path, channel: &str) -> ChannelPointer {
    let status = json(folder, 0, &["channel", "status", "--json"]);
    let channels = status["channels"].as_array().unwrap();
    let found = channels.iter().find(|c| c["channel"] == channel).unwrap();
    serde_json::from_value(found["pointer"].clone()).unwrap()
}

/// What 600 devices of a channel report from a day on; devices with the release are over budget by so many inferences more.
pub(crate) fn telemetry(folder: &Path, file: &str, channel: &str, first: &str, days: i32, harm: u32) {
    let pointer = pointer(folder, channel);
    let previous = &pointer.previous.as_ref().unwrap().release_digest;
    let first = Day::parse(first).unwrap().number();
    let mut text = String::new();
    for (day, device) in (first..first + days).flat_map(|day| (0..600_u32).map(move |device| (day, device))) {
        let bucket = pointer.bucket(&format!("d{device}"));
        let (cohort, release, harm) = match (pointer.holds_back(bucket), pointer.takes(bucket)) {
            (true, _) => ("holdback", previous, 0),
            (_, true) => ("treatment", &pointer.target.release_digest, harm),
            _ => ("waiting", previous, 0),
        };
        let over = 20 + (device * 7 + day as u32) % 9 + harm;
        writeln!(
            text,
            r#"{{"kind":"device-day","schema":"plimsoll.telemetry/1","device":"d{device}","day":"{}","release":"{release}","cohort":"{cohort}","channel":"{channel}","inferences":1000,"over_budget":{over},"crashes":0,"restarts":0,"shadow":[100,{}]}}"#,
            Day::of_number(day).unwrap(),
            97 + device % 4,
        )
        .unwrap();
    }
    fs::write(folder.join(file), text).unwrap();
    let done = json(folder, 0, &["rollout", "ingest", file, "--day", "2026-12-30", "--json"]);
    assert_eq!((&done["taken"], &done["quarantined"]), (&(600 * days).into(), &serde_json::json!({})));
}

/// Two releases, and the second one's beta, begun on 2026-11-01.
pub(crate) fn begin(f: &Path) {
    fs::write(f.join("policy.toml"), usual()).unwrap();
    release_digits(f, "1.0.0");
    expect(f, 0, &["channel", "publish", "--channel", "general"]);
    release_digits(f, "1.1.0");
    expect(f, 0, &["rollout", "start", "--policy", "policy.toml", "--day", "2026-11-01", "--by", "anna"]);
}
