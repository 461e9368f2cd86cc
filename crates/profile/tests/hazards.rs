//! What is wrong with a file is said, all of it, where it stands, with a remedy; nothing panics.

use std::{fs, path::Path};

use plimsoll_profile::{ConfigError, Contract, Demands, DeviceSpec, Enrolment, Policy, Profile, Spec};
use proptest::prelude::*;

const PROFILE: &str = "schema = 1\nkind = \"device\"\nexecutor = \"tract\"\n";
const SPEC: &str =
    "schema = 1\nprofiles = [\"p.toml\"]\n[release]\nname = \"a\"\nversion = \"1.0.0\"\n[model]\npath = \"m.onnx\"\n";

type Read = fn(&str) -> Result<(), ConfigError>;

fn profile(text: &str) -> Result<(), ConfigError> {
    Profile::from_text("p.toml", text).map(|_| ())
}

fn spec(text: &str) -> Result<(), ConfigError> {
    Spec::from_text("s/plimsoll.toml", text).map(|_| ())
}

fn contract(text: &str) -> Result<(), ConfigError> {
    Contract::from_text("c.toml", text).map(|_| ())
}

fn policy(text: &str) -> Result<(), ConfigError> {
    Policy::from_text("r.toml", text).map(|_| ())
}

fn device(text: &str) -> Result<(), ConfigError> {
    DeviceSpec::from_text("d.toml", text).map(|_| ())
}

fn enrolment(text: &str) -> Result<(), ConfigError> {
    Enrolment::from_text("e.toml", text).map(|_| ())
}

fn demands(text: &str) -> Result<(), ConfigError> {
    Demands::from_text("d.toml", text).map(|_| ())
}

/// The problems of a text: one for each expectation, and each shows all that is expected of it.
fn check(read: Read, text: &str, expected: &[&[&str]]) {
    let error = read(text).expect_err(text);
    let rendered = error.render();
    assert_eq!(error.problems().len(), expected.len(), "{rendered}");
    for (one, parts) in rendered.split("\n\n").zip(expected) {
        for part in *parts {
            assert!(one.contains(part), "`{part}` is not in\n{one}");
        }
    }
}

/// A profile with one line of budget has one problem.
fn budget(line: &str, says: &str) {
    check(profile, &format!("{PROFILE}[budget]\n{line}\n"), &[&[says, "help: "]]);
}

#[test]
fn a_trace_to_nowhere_is_refused_where_it_stands() {
    let change = "[change]\nticket = \"T\"\nin-plan = false\nrequirements = [\"R1\"]\nrisks = [\"K1\", \"K1\"]\n\
                  [[change.trace]]\nrequirement = \"R2\"\nrisks = [\"K2\"]\nbudgets = [\"latency.p98\"]\n";
    let expected: &[&[&str]] = &[
        &["this id is there twice", ":12:"],
        &["unknown requirement `R2`", "`R1`", ":14:"],
        &["unknown risk `K2`", ":15:"],
        &["unknown metric `latency.p98`", "did you mean `latency.p9", ":16:"],
    ];
    check(spec, &format!("{SPEC}{change}"), expected);
    let missing: &[&[&str]] = &[&["the key `ticket` is missing"], &["the key `in-plan` is missing", "true or false"]];
    check(spec, &format!("{SPEC}[change]\n"), missing);
}

#[test]
fn demands_that_demand_nothing_that_can_be_shown_are_refused_where_they_stand() {
    let text = "schema = 1\n[signers]\nkeys = []\n[built]\ncommit = \"main\"\nsource-model = \"12\"\n\
                [coverage]\nbudgets = [\"acuracy\"]\nsamples = -1\n[gate]\npased = []\n";
    let expected: &[&[&str]] = &[
        &["no key is in this list", "d.toml:3:"],
        &["no digest of that length", "12 to 64 hex digits", "d.toml:5:"],
        &["no digest of that length", "write 64 hex digits", "d.toml:6:"],
        &["unknown metric `acuracy`", "did you mean `accuracy`?", "d.toml:8:"],
        &["d.toml:9:"],
        &["unknown key `pased` in `gate`", "`passed`"],
    ];
    check(demands, text, expected);
    check(demands, "schema = 1\n[signers]\n", &[&["the key `keys` is missing in `signers`"]]);
}

#[test]
fn unknown_key_names_the_nearest() {
    let text = format!("{PROFILE}[hardware]\ncroes = 4\n");
    check(profile, &text, &[&["unknown key `croes` in `hardware`", "p.toml:5:1", "did you mean `cores`?"]]);
    check(profile, &format!("{PROFILE}[budgets]\n"), &[&["unknown key `budgets`", "did you mean `budget`?"]]);
    check(spec, &format!("{SPEC}[data]\ntset = \"x\"\n"), &[&["unknown key `tset` in `data`", "`test`"]]);
}

#[test]
fn unknown_metric_names_the_nearest() {
    budget("artefact-size = 1", "did you mean `artifact-size`?");
    budget("latency.p95 = \"1ms\"", "did you mean `latency.p9");
    budget("latency = 3", "unknown metric `latency`");
    check(spec, &format!("{SPEC}[margins]\nmacs = 3\n"), &[&["unknown metric `macs`", "cannot be limited here"]]);
}

#[test]
fn all_problems_come_at_once_in_the_order_of_the_file() {
    let hardware = "[hardware]\nmemory = \"4GW\"\nclock = 3\n";
    let text = format!("schema = 2\nkind = \"toaster\"\nexecutor = \"tracd\"\n{hardware}[budget]\nmacs = -1\n");
    check(
        profile,
        &text,
        &[
            &["schema", ":1:10"],
            &["there is no `toaster`", ":2:8", "device, server"],
            &["there is no `tracd`", "did you mean `tract`?"],
            &["no unit `GW`", "KiB"],
            &["no unit", "GHz"],
            &["negative", ":8:8"],
        ],
    );
}

#[test]
fn wrong_units_and_odd_numbers_in_budgets_are_refused() {
    for (line, says) in [
        ("artifact-size = \"8ms\"", "no unit `ms`"),
        ("artifact-size = nan", "no finite number"),
        ("artifact-size = inf", "no finite number"),
        ("artifact-size = 1e999", "no finite number"),
        ("artifact-size = 0", "zero"),
        ("artifact-size = -5", "negative"),
        ("artifact-size = true", "a boolean"),
        ("artifact-size = []", "an array"),
        ("latency.p50 = 8", "no unit"),
        ("latency.p50 = \"8GB\"", "no unit `GB`"),
        ("accuracy = 95", "more than all"),
        ("latency.ratio = -1", "negative"),
        ("latency.ratio = nan", "no finite number"),
    ] {
        budget(line, says);
    }
}

#[test]
fn limits_that_make_no_sense_are_refused() {
    for (line, says) in [
        ("accuracy = { max = 0.9 }", "write `min`"),
        ("macs = { min = 1 }", "write `max`"),
        ("accuracy = { max-increase = \"5%\", min = 0.5 }", "limit `accuracy-drop`"),
        ("mae = { max-increase = \"5%\", max = 0.5 }", "limit `mae-increase`"),
        ("throughput = { max-increase = \"5%\", min = 5 }", "limit `latency.ratio`"),
        ("latency.ratio = { max-increase = \"5%\", max = 2 }", "compares with the baseline already"),
        ("throughput.offline = { max = 5 }", "write `min`"),
        ("throughput = { min = 1, offline = 2, ofline = 3 }", "unknown key `ofline`"),
        ("throughput = { offline = 2, level = \"warn\" }", "sets no limit"),
        ("macs = { max-increase = 5 }", "meant as a percentage"),
        ("macs = { max = 1, level = \"eror\" }", "did you mean `error`?"),
        ("macs = { level = \"warn\" }", "sets no limit"),
        ("macs = { max = 1, mix = 2 }", "did you mean `max`?"),
        ("latency.p50 = \"1ms\"\n\"latency.p50\" = \"2ms\"", "limited twice"),
    ] {
        budget(line, says);
    }
}

#[test]
fn broken_syntax_and_doubled_keys_are_placed() {
    let doubled = format!("{PROFILE}kind = \"server\"\n");
    check(profile, &doubled, &[&["duplicate key", "p.toml:4:1", "write each key once"]]);
    let more = format!("{PROFILE}[budget]\nmacs = 1\nmacs = 2\ncolour = 1\n");
    check(profile, &more, &[&["duplicate key", ":6:1"], &["unknown metric `colour`"]]);
    check(profile, "kind = \n", &[&["no valid TOML", "p.toml:1:"]]);
    assert!(profile(&format!("a = {}", "[".repeat(100_000))).is_err());
}

#[test]
fn empty_and_missing_say_what_to_write() {
    check(profile, "", &[&["the file is empty", "docs/examples"]]);
    check(profile, "# nothing\n", &[&["the file is empty"]]);
    check(profile, "schema = 1\n", &[&["`kind` is missing"], &["`executor` is missing"]]);
    check(spec, "schema = 1\nprofiles = [\"p.toml\"]\n", &[&["`release` is missing"], &["`model` is missing"]]);
    let none = SPEC.replace("profiles = [\"p.toml\"]\n", "");
    check(spec, &none, &[&["`profiles` is missing", "at least one"]]);
    check(contract, "schema = 1\n", &[&["`inputs` is missing"], &["`outputs` is missing"]]);
    check(policy, "schema = 1\n", &[&["`name`"], &["`beta`"], &["`stages`"], &["`metrics`"]]);
}

#[test]
fn files_that_no_human_wrote_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p.toml");
    let read = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        Profile::read(&path).unwrap_err().render()
    };
    assert!(read(b"kind = \"\xff\"").contains("not UTF-8 from byte 8 (line 1)"));
    assert!(read(&vec![b'#'; (1 << 20) + 1]).contains("larger than 1 MiB"));
    assert!(read(b"a = \"\0\"").contains("no valid TOML"));
    let absent = Profile::read(&folder.path().join("absent.toml")).unwrap_err();
    assert!(absent.to_string().contains("absent.toml: failed to read the file") && absent.help().is_some(), "{absent}");
    assert!(Profile::read(folder.path()).unwrap_err().render().contains("failed to read"));
}

#[test]
fn names_that_are_paths_are_refused() {
    for name in ["../x", "a/b", ".hidden", "A", "a..b", "", "x\\ny"] {
        check(spec, &SPEC.replace("\"a\"", &format!("\"{name}\"")), &[&["help: "]]);
    }
}

#[test]
fn one_file_for_two_purposes_is_refused() {
    let text = format!("{SPEC}[data]\nvalidation = \"x.npz\"\ntest = \"x.npz\"\n");
    check(spec, &text, &[&["serves two purposes", "split the file"]]);
}

#[test]
fn recipes_with_unknown_passes_or_parameters_are_refused() {
    let with = |steps: &str| format!("{SPEC}[[optimize.recipes]]\nname = \"r\"\nsteps = [{steps}]\n");
    for (steps, says) in [
        ("{ pass = \"quantise\" }", "did you mean `quantize`?"),
        ("{ pass = \"quantize\", shceme = \"int8\" }", "did you mean `scheme`?"),
        ("{ pass = \"simplify\", level = 3 }", "it takes none"),
        ("{ pass = \"prune\" }", "exactly one target"),
        ("{ pass = \"prune\", remove-macs = \"20%\", sparsity = \"80%\" }", "exactly one target"),
        ("", "needs a step"),
    ] {
        check(spec, &with(steps), &[&[says]]);
    }
    let again = "[[optimize.recipes]]\nname = \"r\"\nsteps = [{ pass = \"simplify\" }]\n";
    check(spec, &format!("{}{again}", with("{ pass = \"simplify\" }")), &[&["another recipe has this name"]]);
}

#[test]
fn facts_that_a_budget_needs_are_asked_for() {
    let text = "[hardware]\nclock = \"1GHz\"\n[budget]\nlatency.estimate = \"1ms\"\nreal-time-factor = 0.5\n";
    check(
        profile,
        &format!("{PROFILE}{text}"),
        &[
            &["`latency.estimate` needs facts", ":7:20", "add `macs-per-cycle` in [hardware], `memory-bandwidth` in"],
            &["`real-time-factor` needs facts", "[stream]"],
        ],
    );
    check(profile, &format!("{PROFILE}[server]\ninstances = 1\n"), &[&["a device has no `server`"]]);
    check(profile, &format!("{PROFILE}[stream]\nwindow = \"3s\"\nhop = \"4s\"\n"), &[&["longer than the window"]]);
    check(profile, &format!("{PROFILE}[hardware]\nisa = [\"avx3\"]\n"), &[&["there is no `avx3`", "avx2"]]);
}

#[test]
fn contracts_that_contradict_themselves_are_refused() {
    let shaped =
        |dtype: &str, shape: &str, axes: &str| format!("dtype = \"{dtype}\"\nshape = {shape}\naxes = {axes}\n");
    let with = |input: &str, output: &str| {
        let outputs = shaped("f32", "[\"batch\", 2]", "[\"batch\", \"class\"]");
        format!(
            "schema = 1\n[[inputs]]\nname = \"x\"\n{input}\n[[outputs]]\nname = \"y\"\nmeaning = \"logits\"\n{outputs}{output}\n"
        )
    };
    let good = shaped("f32", "[1, 2]", "[\"batch\", \"time\"]");
    let flat = |more: &str| format!("{}{more}", shaped("f32", "[1]", "[\"batch\"]"));
    assert!(contract(&with(&good, "")).is_ok());
    for (input, output, says) in [
        (shaped("f32", "[1, 2]", "[\"batch\"]"), "", "1 axes for 2 dimensions"),
        (shaped("float", "[1]", "[\"batch\"]"), "", "there is no `float`"),
        (shaped("f32", "[0]", "[\"batch\"]"), "", "zero"),
        (flat("sampling-rate = \"1Hz\""), "", "needs a time axis"),
        (flat("range = [3, 1]"), "", "no range"),
        (flat("normalisation = { mean = 0, std = 0 }"), "", "above zero"),
        (good.clone(), "labels = [\"a\"]", "1 labels for 2 classes"),
        (good.clone(), "labels = [\"a\", \"a\"]", "there twice"),
    ] {
        check(contract, &with(&input, output), &[&[says, "help: "]]);
    }
}

#[test]
fn a_model_side_that_the_pipeline_contradicts_is_refused() {
    let pipeline = "schema = 1\n[[inputs]]\nname = \"x\"\ndtype = \"f32\"\nshape = [\"n\", 3]\naxes = [\"batch\", \"channel\"]\n\
                    [[outputs]]\nname = \"y\"\nmeaning = \"logits\"\ndtype = \"f32\"\nshape = [\"n\", 2]\naxes = [\"batch\", \"class\"]\n\
                    labels = [\"a\", \"b\"]\n";
    let input = |more: &str| format!("{pipeline}[[model.inputs]]\nname = \"m\"\nfrom = \"x\"\n{more}\n");
    let output = |more: &str| format!("{pipeline}[[model.outputs]]\nname = \"m\"\nto = \"y\"\n{more}\n");
    assert!(contract(&input("")).is_ok() && contract(&output("")).is_ok());
    for (text, says) in [
        (input("").replace("from = \"x\"", "from = \"z\""), "no `z` among its inputs"),
        (input("").replace("from = \"x\"", "from = [\"x\", \"x\"]"), "along which axis"),
        (input("axes = [\"batch\", \"batch\"]"), "`batch` is there twice"),
        (input("pad = 0.0"), "at which end"),
        (input("align = \"middle\""), "there is no `middle`"),
        (input("take = { channel = [2, 2] }"), "no part of an axis"),
        (input("take = { channel = [0, 1], batch = [0, 1] }"), "several axes"),
        (input("fill = \"zero\""), "there is no `zero`"),
        (input("normalisation = { mean = [1, 2], std = [1, 2, 3] }"), "2 means and 3 standard deviations"),
        (input("normalisation = { mean = [], std = 1 }"), "list is empty"),
        (input("dtype = \"f32\""), "unknown key"),
        (output("").replace("to = \"y\"", "to = \"x\""), "no `x` among its outputs"),
        (output("map = { a = \"b\" }"), "needs the model's labels"),
        (output("labels = [\"a\", \"b\"]\nmap = { c = \"b\" }"), "none of the model's labels"),
        (pipeline.replace("labels =", "threshold = 0.5\nlabels ="), "only a label has a threshold"),
    ] {
        check(contract, &text, &[&[says, "help: "]]);
    }
}

#[test]
fn policies_that_never_reach_everybody_are_refused() {
    let with = |stages: &str, metrics: &str| {
        format!("schema = 1\nname = \"p\"\n[beta]\nsoak = \"30d\"\n{stages}\n{metrics}\n")
    };
    let all = "[[stages]]\nshare = \"100%\"\nsoak = \"1d\"";
    let crash = "[metrics.crashed-devices]\nmargin = \"1pp\"";
    assert!(policy(&with(all, crash)).is_ok());
    for (stages, metrics, says) in [
        ("[[stages]]\nshare = \"50%\"\nsoak = \"1d\"", crash, "not everybody"),
        (&format!("{all}\n{all}"), crash, "more devices than the one before"),
        (all, "[metrics.crashes]\nmargin = \"1pp\"", "unknown metric `crashes`"),
        (all, "[metrics.rating]\nmargin = 0.3\nmax = 4", "write `min`"),
        (all, "[metrics.rating]\nmargin = 7", "no number of points"),
        (all, "[metrics.agreement]", "`margin` is missing"),
        (all, "[metrics.agreement]\nmargin = \"1pp\"", "nothing says what agreement is held against"),
        (all, "[metrics.crashed-devices]\nmargin = \"0pp\"", "no evidence excludes"),
        (all, "[plan]\nenrolled = 5\n[metrics.crashed-devices]\nmargin = \"1pp\"", "`fleet` is missing"),
        (all, "[metrics]", "nothing is watched"),
        ("", crash, "`stages` is missing"),
    ] {
        check(policy, &with(stages, metrics), &[&[says, "help: "]]);
    }
}

#[test]
fn messages_do_not_drive_the_terminal() {
    let error = profile(&format!("{PROFILE}\"\\u001b[2J\" = 1\n")).unwrap_err();
    assert!(!error.render().contains('\u{1b}') && !error.to_string().contains('\u{1b}'));
}

#[test]
fn thousands_of_problems_are_not_all_shown() {
    let text: String = (0..20_000).map(|i| format!("k{i} = 1\n")).collect();
    assert!(profile(&text).unwrap_err().problems().len() <= 50);
}

proptest! {
    #[test]
    fn mangled_files_never_panic(cut in 0usize..7, at in 0usize..2000, junk in "\\PC{0,8}", which in 0usize..6) {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let (name, read): (&str, Read) = [
            ("docs/examples/plimsoll.toml", spec as Read),
            ("docs/examples/contract.toml", contract),
            ("docs/examples/policy.toml", policy),
            ("docs/examples/device.toml", device),
            ("docs/examples/enrolment.toml", enrolment),
            ("profiles/server-x86.toml", profile),
        ][which];
        let text: Vec<char> = fs::read_to_string(root.join(name)).unwrap().chars().collect();
        let (a, b) = (at.min(text.len()), (at + cut).min(text.len()));
        let mangled: String = text[..a].iter().copied().chain(junk.chars()).chain(text[b..].iter().copied()).collect();
        if let Err(error) = read(&mangled) {
            prop_assert!(!error.problems().is_empty());
            prop_assert!(!error.render().is_empty());
        }
    }
}

#[test]
fn a_device_without_identity_consent_or_sense_is_refused() {
    let text = |lines: &str| {
        format!(
            "schema = 1\n[device]\nid = \"d1\"\nstate = \"s\"\n[channel]\nrepository = \"r\"\nroot = \"root.json\"\nname = \"m\"\n{lines}\n"
        )
    };
    device(&text("")).unwrap();
    check(device, &text("follow = \"beta\""), &[&["following beta needs an enrolment list", "help: add"]]);
    check(device, &text("").replace("d1", "Ada's bed"), &[&["no pseudonym", "drawn at random"]]);
    check(device, &text("").replace("\"m\"", "\"../m\""), &[&["no name"]]);
    check(device, &text("[run]\nshadow-energy = \"2J\""), &[&["without the power", "help: add `power`"]]);
    check(device, &text("[run]\ncrashes = 0"), &[&["this is zero"]]);
    check(device, &text("[install]\nquiet-hours = [\"20:00\"]"), &[&["no two times of day"]]);
    check(device, &text("[install]\nquiet-hours = [\"20:00\", \"24:00\"]"), &[&["no time of day", "in UTC"]]);
    let enrolled =
        |lines: &str| format!("schema = 1\n[[enrolled]]\ndevice = \"d\"\nconsent = \"2026-11-03\"\n{lines}\n");
    enrolment(&enrolled("")).unwrap();
    check(enrolment, &enrolled("left = \"2026-11-02\""), &[&["left before it agreed"]]);
    check(enrolment, &enrolled("[[enrolled]]\ndevice = \"d\"\nconsent = \"2026-11-03\""), &[&["there twice"]]);
    check(enrolment, &enrolled("user = \"Ada\""), &[&["unknown key `user`"]]);
}

#[test]
fn a_tolerance_is_a_share_of_its_limit() {
    budget("macs = { max = 5, tolerance = 1 }", "a tolerance of everything");
    budget("macs = { max = 5, tolerance = \"-1%\" }", "");
    budget("macs = { max = 5, tolerence = \"1%\" }", "did you mean `tolerance`?");
    budget("macs = { tolerance = \"1%\" }", "sets no limit");
}

#[test]
fn a_waiver_without_day_reason_or_name_waives_nothing() {
    let waiver = |lines: &str| format!("{SPEC}[[waiver]]\n{lines}\n");
    let whole = "metric = \"macs\"\nuntil = 2026-11-30\nreason = \"the next board\"\nsigned-off-by = \"Ada\"";
    let read = Spec::from_text("s/plimsoll.toml", &waiver(whole)).unwrap();
    assert_eq!((read.waivers[0].until.to_string().as_str(), read.waivers[0].profile.as_deref()), ("2026-11-30", None));
    for (key, says) in
        [("until", "`until` is missing"), ("reason", "`reason` is missing"), ("signed-off-by", "`signed-off-by`")]
    {
        let without: Vec<&str> = whole.lines().filter(|l| !l.starts_with(key)).collect();
        check(spec, &waiver(&without.join("\n")), &[&[says, "p", "help: "]]);
    }
    check(spec, &waiver(&whole.replace("2026-11-30", "\"2026-02-30\"")), &[&["`2026-02-30` is no day", "help: "]]);
    check(spec, &waiver(&whole.replace("2026-11-30", "7")), &[&["no day", "help: "]]);
    check(spec, &waiver(&whole.replace("macs", "mac")), &[&["unknown metric `mac`", "did you mean `macs`?"]]);
    check(spec, &waiver(&whole.replace("reason", "because")), &[&["`reason` is missing"], &["unknown key `because`"]]);
}
