//! `check --forecast`: how long it will hold, in every format that tells it.

mod common;

use std::fs;

use common::{expect, json, small, write_model};

const SERVER: &str = "schema = 1
kind = \"server\"
executor = \"tract\"
[hardware]
cores = 2
[server]
devices = 1_000
inferences-per-device = 24
peak-to-mean = 2
utilization = \"50%\"
growth = \"10%\"
instances = 1
price = \"0.1 USD/h\"
";

const DEVICE: &str = "schema = 1
kind = \"device\"
executor = \"none\"
[hardware]
flash = \"1MB\"
slots = 2
clock = \"100MHz\"
macs-per-cycle = { f32 = 1 }
memory-bandwidth = \"400MB/s\"
[stream]
window = \"60s\"
hop = \"30s\"
[power]
active = \"10mW\"
idle = \"1mW\"
battery = \"1Wh\"
[budget]
flash-use = \"10%\"
battery-life-estimate = \"30d\"
";

#[test]
fn a_forecast_is_told_in_json_markdown_and_at_the_terminal() {
    let folder = tempfile::tempdir().unwrap();
    let f = folder.path();
    write_model(f, "m.onnx", &small());
    fs::write(f.join("server.toml"), SERVER).unwrap();
    fs::write(f.join("device.toml"), DEVICE).unwrap();
    let check = ["check", "m.onnx", "--profile", "server.toml", "--profile", "device.toml", "--budget", "0.2"];
    let with = |more: &[&'static str]| [&check[..], more].concat();

    let report = json(f, 0, &with(&["--forecast", "--json"]));
    let forecast = report["forecast"].as_array().unwrap();
    let subjects: Vec<&str> = forecast.iter().map(|f| f["subject"].as_str().unwrap()).collect();
    assert_eq!(subjects, ["instances", "flash", "battery"]);
    let [instances, flash, battery] = forecast.as_slice() else { panic!() };
    // The small model takes microseconds: far more than today's devices.
    assert!(instances["value"].as_f64().unwrap() > 1e6 && instances["unit"] == "devices", "{instances}");
    assert!(instances["until"]["day"].as_str().unwrap() > "2026", "{instances}");
    assert!(flash["value"].is_null() && flash["basis"] == "counted", "{flash}");
    // 3,600 J at 1 mW and a little: 41.7 days.
    assert!((battery["value"].as_f64().unwrap() / 86_400.0 - 41.66).abs() < 0.1, "{battery}");
    assert_eq!(battery["basis"], "estimated");
    let remarks = report["remarks"].to_string();
    assert!(remarks.contains("today's 1 × server hold"), "{remarks}");

    for format in ["terminal", "markdown"] {
        let text = expect(f, 0, &with(&["--forecast", "--format", format]));
        for part in ["battery", "41.67 d", "estimated", "devices (", "no end"] {
            assert!(text.contains(part), "`{part}` is not in\n{text}");
        }
    }
    assert!(json(f, 0, &with(&["--json"])).get("forecast").is_none());
}

#[test]
fn without_a_run_the_forecast_says_what_is_not_known() {
    let folder = tempfile::tempdir().unwrap();
    let f = folder.path();
    write_model(f, "m.onnx", &small());
    fs::write(f.join("server.toml"), SERVER).unwrap();
    let report = json(f, 0, &["check", "m.onnx", "--profile", "server.toml", "--cost-only", "--forecast", "--json"]);
    let instances = &report["forecast"][0];
    assert!(instances["value"].is_null(), "{instances}");
    assert!(instances["method"].as_str().unwrap().contains("was not measured"), "{instances}");
}
