//! Servers and power: what cannot be is refused where it is written, and what is judged can be.

use plimsoll_profile::{Bound, Level, Metric, Profile};

const SERVER: &str = "schema = 1
kind = \"server\"
executor = \"tract\"
[hardware]
cores = 2
[server]
devices = 1_000
inferences-per-device = 2_880
peak-to-mean = 3
utilization = \"60%\"
instances = 1
price = \"0.1 USD/h\"
";
const DEVICE: &str = "schema = 1\nkind = \"device\"\nexecutor = \"tract\"\n[stream]\nwindow = \"60s\"\nhop = \"30s\"\n";

fn read(text: &str) -> Profile {
    Profile::from_text("p.toml", text).unwrap_or_else(|e| panic!("{}", e.render()))
}

/// A text has these problems, each with all that is expected of it.
fn check(text: &str, expected: &[&[&str]]) {
    let rendered = Profile::from_text("p.toml", text).expect_err(text).render();
    let found: Vec<&str> = rendered.split("\n\n").collect();
    assert_eq!(found.len(), expected.len(), "{rendered}");
    for (one, parts) in found.iter().zip(expected) {
        for part in *parts {
            assert!(one.contains(part), "`{part}` is not in\n{one}");
        }
        assert!(one.contains("help: ") && one.contains("--> p.toml:"), "{one}");
    }
}

/// A server with one line another.
fn server(from: &str, to: &str, says: &str) {
    assert!(SERVER.contains(from), "{from}");
    check(&SERVER.replace(from, to), &[&[says]]);
}

#[test]
fn impossible_loads_are_refused() {
    server("devices = 1_000", "devices = 0", "this is zero");
    server("devices = 1_000", "devices = -3", "negative");
    server("devices = 1_000", "devices = nan", "no finite number");
    server("utilization = \"60%\"", "utilization = \"100%\"", "a queue grows without end");
    server("utilization = \"60%\"", "utilization = 0", "nothing is served");
    server("utilization = \"60%\"", "utilization = 1.2", "more than all");
    server("peak-to-mean = 3", "peak-to-mean = 0.5", "at least as busy as the mean");
    server("peak-to-mean = 3", "peak-to-mean = inf", "no finite number");
    server("peak-to-mean = 3", "peak-to-mean = 3\nmax-wait = \"0s\"", "this is zero");
    server("cores = 2", "cores = 5000", "no machine has more than 4096 cores");
    server("price = \"0.1 USD/h\"", "price = \"nan USD/h\"", "this is no price an hour");
    server("price = \"0.1 USD/h\"", "price = \"-1 USD/h\"", "not negative");
    server("price = \"0.1 USD/h\"", "prise = \"1 USD/h\"", "did you mean `price`?");
}

#[test]
fn a_load_that_overflows_is_refused() {
    let much = "devices = 9_000_000_000_000_000\ninferences-per-device = 9_000_000";
    server("devices = 1_000\ninferences-per-device = 2_880", much, "more inferences than a day can hold");
}

#[test]
fn a_load_is_stated_once_and_whole() {
    let twice = "inferences-per-device = 2_880\ninferences-per-day = 5";
    check(&SERVER.replace("inferences-per-device = 2_880", twice), &[&["stated twice"]]);
    check(&SERVER.replace("devices = 1_000\n", ""), &[&["nothing says how many devices"]]);
    check(
        &SERVER.replace("devices = 1_000\ninferences-per-device = 2_880\n", ""),
        &[&["`instances` needs facts", ":9:13", "add `inferences-per-day` or `inferences-per-device` in [server]"]],
    );
    let calls = read(SERVER).server.unwrap().inferences_per_day;
    assert_eq!(calls, Some(2_880_000.0));
}

#[test]
fn currencies_are_not_mixed() {
    let euro = "price = \"0.1 USD/h\"\n[server.storage]\nversions = 3\nprice = \"0.02 EUR/GB\"";
    server("price = \"0.1 USD/h\"", euro, "in EUR, and another in USD");
    check(&format!("{SERVER}[budget]\nmonthly-cost = \"50 EUR\"\n"), &[&["limit is in EUR", "in USD", ":14:16"]]);
    check(&format!("{SERVER}[budget]\nmonthly-cost = 50\n"), &[&["no amount of money", "120 USD"]]);
}

#[test]
fn what_is_stored_says_how_long() {
    let storage = |lines: &str| format!("{SERVER}[server.storage]\n{lines}\n");
    check(&storage("output = \"64B\""), &[&["`keep` is missing"]]);
    check(&storage("keep = \"365d\""), &[&["nothing is said to be kept"]]);
    check(&storage("verions = 3"), &[&["unknown key `verions`", "did you mean `versions`?"]]);
    check(&format!("{SERVER}[server.transfer]\nrollouts = 0\n"), &[&["not above zero"]]);
}

#[test]
fn todays_instances_are_a_limit_that_a_budget_may_replace() {
    let limit = |text: &str| {
        let profile = read(text);
        let budget = profile.budgets.get(Metric::Instances).unwrap().clone();
        let line = profile.source.line(budget.limits[0].span).to_owned();
        (budget.limits[0].bound, budget.level, line)
    };
    assert_eq!(limit(SERVER), (Bound::Max(1.0), Level::Error, "instances = 1".to_owned()));
    let own = format!("{SERVER}[budget]\ninstances = {{ max = 2, level = \"warn\" }}\n");
    assert_eq!((limit(&own).0, limit(&own).1), (Bound::Max(2.0), Level::Warn));
}

#[test]
fn types_of_instances_are_whole() {
    let with = |lines: &str| format!("{SERVER}[[server.types]]\n{lines}\n");
    assert_eq!(read(&with("name = \"b\"\ncores = 4\nprice = \"0.2 USD/h\"")).server.unwrap().types[0].cores, 4);
    check(&with("name = \"b\"\ncores = 4"), &[&["`price` is missing"]]);
    check(&with("name = \"b\"\ncores = 0\nprice = \"0.2 USD/h\""), &[&["this is zero"]]);
    check(&with("name = \"b\"\ncores = 4\nprice = \"0.2 CHF/h\""), &[&["in CHF, and another in USD"]]);
}

#[test]
fn budgets_that_nothing_could_judge_are_refused_with_what_is_missing() {
    for (line, needs) in [
        ("energy-per-inference = \"1J\"", "`active` in [power]"),
        ("energy-estimate = \"1J\"", "`energy-per-mac` or `active` in [power], `clock`"),
        ("battery-life = \"30d\"", "`active` in [power], `idle` in [power], `battery` in [power]"),
        ("battery-life-estimate = \"30d\"", "`battery` in [power]"),
        ("energy-share = \"1%\"", "`idle` in [power]"),
        ("duty-cycle-estimate = \"1%\"", "`clock` in [hardware]"),
        ("flash-use = \"50%\"", "`flash` in [hardware]"),
        ("instances = 1", "`inferences-per-day` or"),
        ("wait.p99 = \"1ms\"", "`instances` in [server]"),
        ("monthly-cost = \"5 USD\"", "`price` in [server]"),
        ("storage = \"5GB\"", "[server.storage]"),
        ("transfer-per-rollout = \"5GB\"", "`devices` in [server]"),
    ] {
        check(&format!("{DEVICE}[budget]\n{line}\n"), &[&["needs facts", needs, ":8:"]]);
    }
    let without = DEVICE.split("[stream]").next().unwrap();
    check(&format!("{without}[budget]\nduty-cycle = \"5%\"\n"), &[&["needs facts", "[stream]"]]);
}

#[test]
fn power_that_cannot_be_is_refused() {
    let with = |lines: &str| format!("{DEVICE}[power]\n{lines}\n");
    check(&with("active = \"1W\"\nidle = \"2W\""), &[&["less power than waiting"]]);
    check(&with("energy-per-byte = \"1pJ\""), &[&["without energy of multiply-accumulates"]]);
    check(&with("battery = \"3VAh\""), &[&["no unit `VAh`", "Wh"]]);
    check(&SERVER.replace("[server]", "[power]\nactive = \"1W\"\n[server]"), &[&["a server has no `power`"]]);
}

#[test]
fn a_profile_without_executor_limits_nothing_that_would_have_to_be_run() {
    let text = DEVICE.replace("\"tract\"", "\"none\"");
    assert_eq!(read(&text).executor, None);
    check(&format!("{text}[budget]\nlatency.p99 = \"1ms\"\n"), &[&["`latency.p99` is measured", ":8:15"]]);
    check(&format!("{text}[budget]\naccuracy = 0.9\n"), &[&["`accuracy` is measured", "release spec"]]);
    read(&format!("{text}[budget]\nmacs = 1\n"));
    check(&SERVER.replace("\"tract\"", "\"none\""), &[&["a server runs models"], &["`instances` is measured"]]);
}
