//! What a profile's facts make of figures.

use plimsoll_profile::{Day, Profile};
use plimsoll_record::{EvidenceSource, Figure, Machine, TakenOver};

use super::*;
use crate::{Budgeted, forecast};

const SERVER: &str = "schema = 1
kind = \"server\"
executor = \"tract\"
[hardware]
isa = [\"avx2\"]
cores = 1
memory = \"4GiB\"
[server]
devices = 1_000
inferences-per-device = 2_880
peak-to-mean = 3
utilization = \"60%\"
growth = \"4%\"
instances = 1
type = \"small\"
price = \"0.1 USD/h\"
[[server.types]]
name = \"large\"
cores = 4
memory = \"8GiB\"
price = \"0.3 USD/h\"
[server.storage]
versions = 10
output = \"100B\"
keep = \"30d\"
price = \"0.02 USD/GB\"
[server.transfer]
rollouts = 2
price = \"0.09 USD/GB\"
[budget]
monthly-cost = \"100 USD\"
storage = \"10GB\"
transfer-per-rollout = \"1GB\"
";

const DEVICE: &str = "schema = 1
kind = \"device\"
executor = \"tract\"
[hardware]
isa = [\"neon\"]
clock = \"1GHz\"
flash = \"1MB\"
slots = 2
macs-per-cycle = { f32 = 4 }
memory-bandwidth = \"1GB/s\"
[stream]
window = \"60s\"
hop = \"10s\"
[power]
active = \"1W\"
idle = \"0.1W\"
battery = \"1Wh\"
[budget]
duty-cycle = \"5%\"
battery-life = \"5h\"
battery-life-estimate = \"5h\"
energy-per-inference = { max = \"1J\", level = \"warn\" }
flash-use = \"50%\"
";

fn profile(text: &str) -> Profile {
    Profile::from_text("p.toml", text).unwrap_or_else(|e| panic!("{}", e.render()))
}

pub(super) fn figure(metric: &str, unit: &str, value: f64, interval: Option<[f64; 2]>) -> Figure {
    let ran = interval.is_some() || metric == "peak-rss";
    Figure {
        metric: metric.into(),
        value,
        unit: unit.into(),
        n: 1000,
        interval,
        method: "as told".into(),
        executor: if ran { "tract" } else { "static" }.into(),
        executor_version: "1".into(),
        machine: Machine { cpu: "a CPU".into(), isa: vec!["avx2".into(), "neon".into()], threads: 1 },
        build: "release".into(),
        model_digest: "model".into(),
        data_digest: String::new(),
        baseline_digest: String::new(),
    }
}

/// A model of 100 kB, and times between two ends.
fn assessed(mean: [f64; 3], cv: [f64; 3]) -> Assessed {
    let between = |metric, unit, [low, value, high]: [f64; 3]| figure(metric, unit, value, Some([low, high]));
    Assessed {
        figures: vec![
            figure("artifact-size", "bytes", 1e5, None),
            figure("macs", "count", 4e6, None),
            figure("weight-bytes", "bytes", 9e4, None),
            figure("peak-activation-memory", "bytes", 1e4, None),
            figure("peak-rss", "bytes", 5e7, None),
            between("latency.mean", "s", mean),
            between("latency.cv", "ratio", cv),
        ],
        ..Assessed::default()
    }
}

fn get(figures: &[Figure], metric: Metric) -> &Figure {
    figures.iter().find(|f| f.metric == metric.name()).unwrap_or_else(|| panic!("no {metric}"))
}

fn near(found: f64, expected: f64) {
    assert!((found - expected).abs() <= 1e-9 * expected.abs(), "{found} is not {expected}");
}

/// The verdict and the text of the row of a metric.
fn row(text: &str, assessed: &Assessed, metric: Metric) -> (String, String) {
    let profiles = [profile(text)];
    let budgets = Budgeted { profiles: &profiles, ..Budgeted::default() };
    let rows = budgets.rows("model", assessed);
    let row = rows.iter().find(|r| r.metric == metric.name()).unwrap_or_else(|| panic!("no {metric}"));
    (row.verdict.to_string(), format!("{} | {}", row.found, row.note))
}

#[test]
fn the_whole_interval_of_the_time_decides_whether_an_instance_is_ordered() {
    // 100 calls in the busiest second: one core at 60 % has 6 ms for each.
    let of = |mean| row(SERVER, &assessed(mean, [0.0, 0.1, 0.2]), Metric::Instances);
    assert_eq!(of([0.004, 0.005, 0.006]).0, "pass");
    let (verdict, text) = of([0.005, 0.0058, 0.0065]);
    assert!(verdict == "inconclusive" && text.contains("1 (1 … 2)"), "{verdict} {text}");
    let (verdict, text) = of([0.0061, 0.0065, 0.007]);
    assert!(verdict == "fail" && text.contains("a new instance is needed"), "{verdict} {text}");
}

#[test]
fn instances_by_a_time_from_another_kind_of_machine_settle_nothing() {
    let mut assessed = assessed([0.001, 0.001, 0.001], [0.0, 0.1, 0.2]);
    assessed.figures.iter_mut().for_each(|f| f.machine.isa = vec!["neon".into()]);
    let (verdict, text) = row(SERVER, &assessed, Metric::Instances);
    assert!(verdict == "inconclusive" && text.contains("which has no avx2"), "{verdict} {text}");
    let (forecasts, remarks) = Budgeted { profiles: &[profile(SERVER)], ..Budgeted::default() }
        .forecast(&assessed, Day::parse("2026-11-26").unwrap());
    assert!(remarks.is_empty() && forecasts[0].value.is_none(), "{forecasts:?}");
    assert!(forecasts[0].method.contains("which has no avx2"), "{}", forecasts[0].method);
}

#[test]
fn instances_without_a_time_or_in_another_executor_settle_nothing() {
    let none = Assessed { figures: vec![figure("artifact-size", "bytes", 1e5, None)], ..Assessed::default() };
    let (verdict, text) = row(SERVER, &none, Metric::Instances);
    assert!(verdict == "inconclusive" && text.contains("`latency.mean`), which was not measured"), "{verdict} {text}");
    let mut other = assessed([0.001, 0.001, 0.001], [0.0, 0.1, 0.2]);
    other.figures.iter_mut().for_each(|f| f.executor = f.executor.replace("tract", "onnxruntime"));
    let (verdict, text) = row(SERVER, &other, Metric::Instances);
    assert!(verdict == "inconclusive" && text.contains("taken in onnxruntime"), "{verdict} {text}");
    let mut wide = assessed([0.001, 0.001, 0.001], [0.0, 0.1, 0.2]);
    wide.figures.iter_mut().for_each(|f| f.machine.threads = 2);
    let (verdict, text) = row(SERVER, &wide, Metric::Instances);
    assert!(verdict == "inconclusive" && text.contains("measured with 2 threads"), "{verdict} {text}");
}

#[test]
fn a_month_is_the_sum_of_what_is_stated() {
    let assessed = assessed([0.004, 0.005, 0.006], [0.0, 0.1, 0.2]);
    let derived = derive(&profile(SERVER), &assessed);
    // 10 × 100 kB, and 100 B × 2.88 M × 30; 100 kB × 1000.
    let stored = 1e6 + 100.0 * 2.88e6 * 30.0;
    near(get(&derived.figures, Metric::Storage).value, stored);
    near(get(&derived.figures, Metric::TransferPerRollout).value, 1e8);
    let month = 0.1 * 730.0 + stored / 1e9 * 0.02 + 2.0 * 0.1 * 0.09;
    let cost = get(&derived.figures, Metric::MonthlyCost);
    near(cost.value, month);
    assert_eq!((cost.unit.as_str(), cost.interval), ("USD", Some([cost.value, cost.value])));
    near(get(&derived.figures, Metric::CostPerMillion).value, month / (2.88 * 365.0 / 12.0));
    assert!(
        cost.method.contains("1 instance(s) × 0.1 USD/h × 730 h + 8.641 GB stored × 0.02 USD + 0.2 GB sent"),
        "{}",
        cost.method
    );
    assert_eq!(
        row(SERVER, &assessed, Metric::MonthlyCost),
        ("pass".into(), "73.19 USD (73.19 USD … 73.19 USD), n 1000 | ".into())
    );
}

#[test]
fn a_process_that_does_not_fit_into_memory_has_no_instance() {
    let mut big = assessed([0.001, 0.001, 0.001], [0.0, 0.1, 0.2]);
    big.figures.iter_mut().filter(|f| f.metric == "peak-rss").for_each(|f| f.value = 5e9);
    let (verdict, text) = row(SERVER, &big, Metric::Instances);
    assert!(verdict == "inconclusive" && text.contains("needs more memory than small has"), "{verdict} {text}");
}

#[test]
fn impatient_clients_and_uneven_times_need_more_instances() {
    let impatient = SERVER.replace("growth", "max-wait = \"5ms\"\ngrowth");
    let needed = |cv: f64| {
        let assessed = assessed([0.004; 3], [cv; 3]);
        get(&derive(&profile(&impatient), &assessed).figures, Metric::Instances).value
    };
    assert!(needed(0.1) > 1.0 && needed(2.0) > needed(0.1), "{} {}", needed(0.1), needed(2.0));
}

#[test]
fn the_cheapest_type_is_named_for_the_load_at_hand() {
    let told = |seconds: f64| forecast::remark(&profile(SERVER), &assessed([seconds; 3], [0.1; 3])).unwrap();
    let text = told(0.005);
    assert!(text.contains("today's 1 × small hold") && text.contains("no listed type is cheaper"), "{text}");
    // 100 calls × 20 ms = 2 erlang: four of today's, one with four cores.
    let text = told(0.020);
    assert!(text.contains("do not hold for certain: the load needs up to 4 × small (292.00 USD a month)"), "{text}");
    assert!(text.contains("1 × large (219.00 USD a month) is the cheapest"), "{text}");
}

#[test]
fn figures_from_evidence_keep_their_source_and_go_first() {
    let mut assessed = assessed([0.05, 0.05, 0.05], [0.1, 0.1, 0.1]);
    let source = EvidenceSource { file: "board.json".into(), signer: "key".into() };
    for (metric, unit, value) in [("latency.mean", "s", 0.001), ("latency.cv", "ratio", 0.1)] {
        let figure = figure(metric, unit, value, Some([value, value]));
        assessed.taken_over.push(TakenOver { figure, source: source.clone() });
    }
    let profiles = [profile(SERVER)];
    let rows = Budgeted { profiles: &profiles, ..Budgeted::default() }.rows("model", &assessed);
    let row = rows.iter().find(|r| r.metric == "instances").unwrap();
    assert_eq!((row.verdict.to_string().as_str(), row.evidence.as_ref()), ("pass", Some(&source)));
}

#[test]
fn a_device_is_judged_by_hand_arithmetic() {
    let derived = derive(&profile(DEVICE), &assessed([0.08, 0.1, 0.2], [0.1, 0.1, 0.1]));
    let of = |metric| get(&derived.figures, metric);
    near(of(Metric::DutyCycle).value, 0.01);
    assert_eq!(of(Metric::DutyCycle).interval, Some([0.008, 0.02]));
    near(of(Metric::EnergyPerInference).value, 0.1);
    // 0.9 W more than idling for 0.1 s of 10 s, over 0.1 W.
    near(of(Metric::EnergyShare).value, 0.009 / 0.109);
    near(of(Metric::BatteryLife).value, 3600.0 / 0.109);
    let [low, high] = of(Metric::BatteryLife).interval.unwrap();
    near(low, 3600.0 / 0.118);
    near(high, 3600.0 / 0.1072);
    near(of(Metric::FlashUse).value, 0.2);
    // 4 M at 4 a cycle and 1 GHz: 1 ms.
    near(of(Metric::LatencyEstimate).value, 1e-3);
    near(of(Metric::DutyCycleEstimate).value, 1e-4);
    near(of(Metric::EnergyEstimate).value, 1e-3);
    near(of(Metric::BatteryLifeEstimate).value, 3600.0 / 0.10009);
    let estimates = derived.figures.iter().filter(|f| f.metric.ends_with("estimate"));
    assert!(estimates.clone().count() == 5 && estimates.into_iter().all(|f| f.method.starts_with("estimate: ")));
}

#[test]
fn a_time_from_here_says_nothing_of_a_device_that_no_executor_runs_on() {
    let text: Vec<&str> = DEVICE
        .lines()
        .filter(|l| !l.starts_with("duty") && !l.starts_with("battery-life =") && !l.starts_with("energy-"))
        .collect();
    let profile = profile(&text.join("\n").replace("\"tract\"", "\"none\""));
    let assessed = assessed([0.08, 0.1, 0.2], [0.1, 0.1, 0.1]);
    let derived = derive(&profile, &assessed);
    assert!(derived.figures.iter().all(|f| f.executor == "static"), "{:?}", derived.figures);
    let today = Day::parse("2026-11-26").unwrap();
    let (forecasts, _) = Budgeted { profiles: &[profile], ..Budgeted::default() }.forecast(&assessed, today);
    assert_eq!(forecasts.iter().map(|f| f.basis.as_str()).collect::<Vec<_>>(), ["counted", "estimated"]);
}

#[test]
fn estimates_and_stated_power_are_called_estimates_in_reports() {
    let assessed = assessed([0.08, 0.1, 0.2], [0.1, 0.1, 0.1]);
    let (verdict, text) = row(DEVICE, &assessed, Metric::BatteryLifeEstimate);
    assert!(verdict == "pass" && text.contains("estimated") && text.contains("lasts shorter"), "{verdict} {text}");
    let (verdict, text) = row(DEVICE, &assessed, Metric::BatteryLife);
    assert!(verdict == "pass" && text.contains("the power is the profile's"), "{verdict} {text}");
    assert_eq!(row(DEVICE, &assessed, Metric::FlashUse), ("pass".into(), "20.00 % | ".into()));
}

#[test]
fn energy_of_operations_goes_before_power_times_time() {
    let text = DEVICE
        .replace("active = \"1W\"", "active = \"1W\"\nenergy-per-mac = { f32 = \"5pJ\" }\nenergy-per-byte = \"100pJ\"");
    let derived = derive(&profile(&text), &assessed([0.1; 3], [0.1; 3]));
    let energy = get(&derived.figures, Metric::EnergyEstimate);
    near(energy.value, 4e6 * 5e-12 + 1e5 * 100e-12);
    assert!(energy.method.contains("4,000,000 in f32 × 5e-12 + 100,000 bytes × 1e-10 J"), "{}", energy.method);
}

#[test]
fn products_of_each_type_go_by_their_own_peak_or_that_of_floats() {
    let mut assessed = assessed([0.1; 3], [0.1; 3]);
    assessed.figures.push(figure("macs.i8", "count", 3e6, None));
    let seconds = |peaks: &str| {
        let profile = profile(&DEVICE.replace("{ f32 = 4 }", peaks));
        derive(&profile, &assessed).figures.into_iter().find(|f| f.metric == "latency.estimate").map(|f| f.value)
    };
    near(seconds("{ f32 = 4, i8 = 12 }").unwrap(), 0.5e-3);
    near(seconds("{ f32 = 4 }").unwrap(), 1e-3);
    // A million products are left that nothing is said of.
    assert_eq!(seconds("{ i8 = 12 }"), None);
}

#[test]
fn a_forecast_names_devices_a_day_releases_and_hours() {
    let today = Day::parse("2026-11-26").unwrap();
    let mut assessed = assessed([0.002, 0.002, 0.002], [0.1, 0.1, 0.1]);
    assessed.baseline = vec![figure("artifact-size", "bytes", 9e4, None)];
    let both = [profile(SERVER), profile(DEVICE)];
    let (forecasts, _) = Budgeted { profiles: &both, ..Budgeted::default() }.forecast(&assessed, today);
    let [instances, flash, battery] = forecasts.as_slice() else { panic!("{forecasts:?}") };
    // 6 ms would fill it, 2 ms leave three times the devices: ln 3 / ln 1.04 = 28.01 months.
    assert_eq!((instances.value, instances.unit.as_str()), (Some(3_000.0), "devices"));
    assert_eq!(instances.until.as_ref().unwrap().day, "2029-03-27");
    // Two slots of 500 kB, 100 kB now and 10 kB more each time.
    assert_eq!((flash.value, flash.unit.as_str(), flash.basis.as_str()), (Some(40.0), "releases", "counted"));
    assert_eq!((battery.unit.as_str(), battery.basis.as_str()), ("s", "measured"));
    near(battery.value.unwrap(), 3600.0 / (0.1 + 0.9 * 0.002 / 10.0));
}

#[test]
fn what_no_longer_holds_has_no_day() {
    let today = Day::parse("2026-11-26").unwrap();
    let profiles = [profile(SERVER)];
    let budgets = Budgeted { profiles: &profiles, ..Budgeted::default() };
    let (forecasts, _) = budgets.forecast(&assessed([0.012; 3], [0.1; 3]), today);
    assert_eq!((forecasts[0].value, &forecasts[0].until), (Some(500.0), &None));
    assert!(
        forecasts[0].method.contains("0.5 times those of today: the load of today is more"),
        "{}",
        forecasts[0].method
    );
}

#[test]
fn numbers_of_methods_are_short_and_whole_ones_exact() {
    for (value, text) in [
        (2_880_000.0, "2,880,000"),
        (0.006, "0.006"),
        (0.000_123_456, "0.0001235"),
        (3.25, "3.25"),
        (1234.56, "1,235"),
        (0.0, "0"),
        (-1234.0, "-1,234"),
        (123.456, "123.5"),
    ] {
        assert_eq!(plain(value), text);
    }
}
