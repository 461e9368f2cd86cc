//! Figures that somebody else took: what is taken over from them, and what is refused.

mod common;

use std::{fs, path::Path};

use common::{error, expect, floats, json, model, npy, small, write_model, write_npz};
use plimsoll_onnx::{Model, node};
use plimsoll_record::{Figure, Figures, Machine};
use plimsoll_release::{FIGURES_TYPE, sign_figures};
use plimsoll_trust::{FileKey, KeySource, dsse::Envelope, to_sorted_json};

/// The board that the profile of these tests is of.
const BOARD: &str = "a board that no test runs on";

/// A folder with a model, a profile of [`BOARD`], and keys.
struct Bench {
    folder: tempfile::TempDir,
}

impl Bench {
    /// With a model that no executor knows: whatever passes has not been run.
    fn unknown_to_executors(budgets: &str) -> Self {
        Self::new(vec![node::new("Frobnicate", &["x"], &["y"])], budgets)
    }

    fn new(nodes: Vec<plimsoll_onnx::proto::NodeProto>, budgets: &str) -> Self {
        let bench = Self { folder: tempfile::tempdir().unwrap() };
        write_model(bench.path(), "m.onnx", &model(nodes, vec![]));
        bench.profile(BOARD, budgets);
        for name in ["device", "stranger"] {
            let key = FileKey::create(&bench.path().join(format!("{name}.pem"))).unwrap();
            fs::write(bench.path().join(format!("{name}.pub.pem")), key.public_key().pem()).unwrap();
        }
        bench
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn profile(&self, cpu: &str, budgets: &str) {
        let text = format!(
            "schema = 1\nkind = \"device\"\nexecutor = \"tract\"\n[hardware]\ncpu = \"{cpu}\"\n[budget]\n{budgets}\n"
        );
        fs::write(self.path().join("p.toml"), text).unwrap();
    }

    fn digest(&self) -> String {
        Model::read(&self.path().join("m.onnx")).unwrap().digest().to_string()
    }

    fn key(&self) -> FileKey {
        FileKey::read(&self.path().join("device.pem")).unwrap()
    }

    /// 5 ms on the board.
    fn latency(&self) -> Figure {
        Figure {
            metric: "latency.p50".into(),
            value: 0.005,
            unit: "s".into(),
            n: 400,
            interval: Some([0.004, 0.006]),
            method: "a test's".into(),
            executor: "tract".into(),
            executor_version: "0.1".into(),
            machine: Machine { cpu: BOARD.into(), isa: vec!["neon".into()], threads: 1 },
            build: "release".into(),
            model_digest: self.digest(),
            data_digest: String::new(),
            baseline_digest: String::new(),
        }
    }

    /// Signs figures, as `bench -o FILE --sign KEY` does on the machine that took them.
    fn sign(&self, figures: Vec<Figure>) {
        let bytes = sign_figures(&Figures::new(figures, vec![]), &self.key()).unwrap();
        fs::write(self.path().join("e.json"), bytes).unwrap();
    }

    /// Signs what is no document of figures.
    fn sign_text(&self, change: impl Fn(String) -> String) {
        let text = to_sorted_json(&Figures::new(vec![self.latency()], vec![])).unwrap();
        let changed = change(String::from_utf8(text.clone()).unwrap());
        assert_ne!(changed.as_bytes(), text, "nothing was changed");
        let envelope = Envelope::sign(FIGURES_TYPE, changed.as_bytes(), &[&self.key()]).unwrap();
        fs::write(self.path().join("e.json"), to_sorted_json(&envelope).unwrap()).unwrap();
    }

    /// The report of `check` on the evidence, where it ends in `code`.
    #[track_caller]
    fn check(&self, code: i32, more: &[&str]) -> serde_json::Value {
        json(self.path(), code, &[&CHECK, more, &["--json"]].concat())
    }

    /// The message of `check` on the evidence, which is refused.
    #[track_caller]
    fn refused(&self, more: &[&str]) -> String {
        let message = error(self.path(), 98, &[&CHECK, more].concat());
        assert!(message.contains("error[evidence-refused]") && message.contains("help:"), "{message}");
        message
    }
}

const CHECK: [&str; 8] =
    ["check", "m.onnx", "--profile", "p.toml", "--evidence", "e.json", "--evidence-key", "device.pub.pem"];

#[track_caller]
fn says(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "`{part}` is not in {message}");
    }
}

#[test]
fn a_boards_own_measurement_settles_its_budget_and_nothing_is_run() {
    let bench = Bench::unknown_to_executors("latency.p50 = \"8ms\"");
    error(bench.path(), 96, &CHECK[..4]);
    bench.sign(vec![bench.latency()]);
    let report = bench.check(0, &[]);
    let row = &report["rows"][0];
    assert_eq!(row["evidence"]["file"], "e.json");
    assert_eq!(row["evidence"]["signer"], bench.key().public_key().id());
    assert_eq!(row["figure"]["machine"]["cpu"], BOARD);
    for format in ["terminal", "markdown"] {
        let text = expect(bench.path(), 0, &[&CHECK[..], &["--format", format]].concat());
        let signer = bench.key().public_key().id();
        says(&text, &["(evidence 1)", "evidence 1: e.json", &signer[..16], BOARD]);
    }
    bench.profile(BOARD, "latency.p50 = \"3ms\"");
    bench.check(100, &[]);
}

#[test]
fn a_faster_machine_of_another_kind_passes_no_time_budget() {
    let bench = Bench::unknown_to_executors("latency.p50 = \"8ms\"");
    let machine = Machine { cpu: "a workstation".into(), ..bench.latency().machine };
    let fast = Figure { value: 1e-6, interval: Some([1e-6, 1e-6]), machine, ..bench.latency() };
    bench.sign(vec![fast.clone()]);
    let report = bench.check(102, &[]);
    assert_eq!(report["verdict"], "inconclusive");
    says(report["rows"][0]["note"].as_str().unwrap(), &["a workstation", "bench --sign"]);
    // The board's own figure settles it, wherever it stands.
    bench.sign(vec![fast, bench.latency()]);
    let report = bench.check(0, &[]);
    assert_eq!(report["rows"][0]["figure"]["machine"]["cpu"], BOARD);
}

#[test]
fn what_can_be_counted_is_never_taken_over() {
    let bench = Bench::unknown_to_executors("artifact-size = \"10B\"");
    let small = Figure { metric: "artifact-size".into(), value: 1.0, unit: "bytes".into(), ..bench.latency() };
    for executor in ["static", "tract"] {
        bench.sign(vec![Figure { executor: executor.into(), interval: None, ..small.clone() }]);
        assert!(bench.check(100, &[])["rows"][0]["evidence"].is_null());
    }
}

#[test]
fn figures_that_nobody_vouches_for_are_refused() {
    let bench = Bench::unknown_to_executors("latency.p50 = \"8ms\"");
    let plain = to_sorted_json(&Figures::new(vec![bench.latency()], vec![])).unwrap();
    fs::write(bench.path().join("e.json"), plain).unwrap();
    says(&bench.refused(&[]), &["not signed", "--sign KEY -o FILE"]);
    // An envelope without a signature is no better.
    bench.sign(vec![bench.latency()]);
    let signed = fs::read(bench.path().join("e.json")).unwrap();
    let mut envelope = Envelope::from_json(&signed).unwrap();
    envelope.signatures.clear();
    fs::write(bench.path().join("e.json"), to_sorted_json(&envelope).unwrap()).unwrap();
    says(&bench.refused(&[]), &["not signed"]);
    // No key is trusted unasked, and a key that somebody else holds is not.
    fs::write(bench.path().join("e.json"), &signed).unwrap();
    let message = error(bench.path(), 98, &CHECK[..6]);
    says(&message, &["error[evidence-refused]", "no key is trusted", "--evidence-key"]);
    let stranger = [&CHECK[..7], &["stranger.pub.pem"]].concat();
    let message = error(bench.path(), 98, &stranger);
    says(&message, &["error[evidence-refused]", &bench.key().public_key().id(), "not trusted"]);
    // Of several keys any will do.
    bench.check(0, &["--evidence-key", "stranger.pub.pem"]);
    // What was signed for another purpose is no evidence.
    let other = Envelope::sign("application/vnd.in-toto+json", b"{}", &[&bench.key()]).unwrap();
    fs::write(bench.path().join("e.json"), to_sorted_json(&other).unwrap()).unwrap();
    says(&bench.refused(&[]), &["application/vnd.in-toto+json"]);
}

#[test]
fn an_edited_or_truncated_file_is_refused() {
    let bench = Bench::unknown_to_executors("latency.p50 = \"8ms\"");
    bench.sign(vec![bench.latency()]);
    let whole = fs::read(bench.path().join("e.json")).unwrap();
    let write = |bytes: &[u8]| fs::write(bench.path().join("e.json"), bytes).unwrap();
    for length in [0, 1, whole.len() / 2, whole.len() - 3] {
        write(&whole[..length]);
        bench.refused(&[]);
    }
    // Another payload under the old signature.
    let faster = Figures::new(vec![Figure { value: 0.001, ..bench.latency() }], vec![]);
    let other = Envelope::from_json(&sign_figures(&faster, &bench.key()).unwrap()).unwrap();
    let mut envelope = Envelope::from_json(&whole).unwrap();
    envelope.payload = other.payload;
    write(&to_sorted_json(&envelope).unwrap());
    says(&bench.refused(&[]), &["is not what the key", &bench.key().public_key().id()]);
    write(&whole);
    bench.check(0, &[]);
}

#[test]
fn figures_of_another_model_data_or_baseline_are_refused_with_both_digests() {
    let bench = Bench::new(vec![node::new("Softplus", &["x"], &["y"])], "latency.p50 = \"8ms\"");
    let data = write_npz(bench.path(), "d.npz", &[("x", floats(&[2, 3], &[0.0; 6]))]);
    let baseline = write_model(bench.path(), "b.onnx", &small());
    let expected = Model::read(&bench.path().join("b.onnx")).unwrap().digest().to_string();
    let other = "f".repeat(64);
    bench.sign(vec![Figure { model_digest: other.clone(), ..bench.latency() }]);
    says(&bench.refused(&[]), &["latency.p50", &other, &bench.digest()]);
    bench.sign(vec![Figure { baseline_digest: other.clone(), ..bench.latency() }]);
    says(&bench.refused(&["--baseline", &baseline]), &[&other, &expected]);
    bench.sign(vec![Figure { data_digest: other.clone(), ..bench.latency() }]);
    let message = bench.refused(&["--data", &data]);
    says(&message, &[&other, "what was given is "]);
    // One figure of many is enough.
    bench.sign(vec![bench.latency(), Figure { model_digest: other.clone(), ..bench.latency() }]);
    bench.refused(&[]);
}

#[test]
fn documents_that_say_too_little_or_too_much_are_refused() {
    let bench = Bench::unknown_to_executors("latency.p50 = \"8ms\"");
    bench.sign_text(|t| t.replace("figures/1", "figures/2"));
    says(&bench.refused(&[]), &["plimsoll.figures/2", "another version"]);
    for no_number in ["NaN", "null", "1e999"] {
        bench.sign_text(|t| t.replace("\"value\": 0.005", &format!("\"value\": {no_number}")));
        bench.refused(&[]);
    }
    bench.sign_text(|t| t.replace("0.004", "0.04"));
    says(&bench.refused(&[]), &["interval"]);
    bench.sign_text(|t| t.replace("\"n\": 400", "\"n\": 0"));
    says(&bench.refused(&[]), &["observations"]);
    bench.sign_text(|t| t.replace(BOARD, ""));
    says(&bench.refused(&[]), &["machine"]);
}

#[test]
fn keys_and_files_that_are_not_there_are_bad_input() {
    let bench = Bench::unknown_to_executors("latency.p50 = \"8ms\"");
    let message = error(bench.path(), 96, &CHECK);
    says(&message, &["e.json"]);
    bench.sign(vec![bench.latency()]);
    for key in ["none.pem", "device.pem", "p.toml"] {
        let message = error(bench.path(), 96, &[&CHECK[..7], &[key]].concat());
        says(&message, &["error[bad-key]", key]);
    }
    error(bench.path(), 2, &[&CHECK[..], &["--cost-only"]].concat());
    error(bench.path(), 2, &["bench", "m.onnx", "--sign", "device.pem"]);
    let message = error(bench.path(), 96, &[&CHECK[..], &["m.onnx"]].concat());
    says(&message, &["several"]);
    // Asked before anything is run: this model cannot be.
    let message = error(bench.path(), 96, &["bench", "m.onnx", "--sign", "p.toml", "-o", "out.json"]);
    says(&message, &["error[bad-key]"]);
    let message = error(bench.path(), 96, &["bench", "m.onnx", "--sign", "device.pem", "-o", "device.pem"]);
    says(&message, &["error[not-written]", "one of the inputs"]);
}

#[test]
fn what_evidence_lacks_is_measured() {
    let budgets = "latency.p50 = \"8ms\"\naccuracy = 0.0\nagreement = 0.0";
    let bench = Bench::new(vec![node::new("Relu", &["x"], &["y"])], budgets);
    let wide = model(vec![node::new("Relu", &["x"], &["h"]), node::new("Relu", &["h"], &["y"])], vec![]);
    write_model(bench.path(), "b.onnx", &wide);
    let labels = npy("<i8", &[6], &[0u8; 48]);
    write_npz(bench.path(), "d.npz", &[("x", floats(&[6, 3], &[0.5; 18])), ("label", labels)]);
    bench.sign(vec![bench.latency()]);
    let report = bench.check(0, &["--data", "d.npz", "--baseline", "b.onnx", "--budget", "0.2"]);
    let (time, others): (Vec<_>, Vec<_>) =
        report["rows"].as_array().unwrap().iter().partition(|r| r["metric"] == "latency.p50");
    assert!(time.iter().all(|r| r["evidence"]["file"] == "e.json"), "{report}");
    assert!(others.len() == 2 && others.iter().all(|r| r["evidence"].is_null() && !r["figure"].is_null()), "{report}");
    // A comparison is held against the baseline that is named, and against none that is not.
    let ratio = Figure {
        metric: "latency.ratio".into(),
        unit: "ratio".into(),
        baseline_digest: Model::read(&bench.path().join("b.onnx")).unwrap().digest().to_string(),
        ..bench.latency()
    };
    bench.profile(BOARD, "latency.ratio = 1.0");
    bench.sign(vec![ratio.clone()]);
    let report = bench.check(0, &["--baseline", "b.onnx"]);
    assert_eq!(report["rows"][0]["evidence"]["file"], "e.json", "{report}");
    let report = bench.check(102, &[]);
    says(report["rows"][0]["note"].as_str().unwrap(), &[&ratio.baseline_digest, "--baseline"]);
}

#[test]
fn what_bench_and_evaluate_sign_is_complete_and_taken_over() {
    let scores = "accuracy = 0.0\nagreement = 0.0";
    let bench = Bench::new(vec![node::new("Relu", &["x"], &["y"])], scores);
    let wide = model(vec![node::new("Relu", &["x"], &["h"]), node::new("Relu", &["h"], &["y"])], vec![]);
    write_model(bench.path(), "b.onnx", &wide);
    let labels = npy("<i8", &[6], &[0u8; 48]);
    write_npz(bench.path(), "d.npz", &[("x", floats(&[6, 3], &[0.5; 18])), ("label", labels)]);
    let common = ["m.onnx", "--data", "d.npz", "--baseline", "b.onnx", "--sign", "device.pem", "--json", "-o"];
    let timed = json(bench.path(), 0, &[&["bench", "--budget", "0.2"], &common[..], &["e.json"]].concat());
    let scored = json(bench.path(), 0, &[&["evaluate"], &common[..], &["s.json"]].concat());
    let baseline = Model::read(&bench.path().join("b.onnx")).unwrap().digest().to_string();
    for document in [&timed, &scored] {
        let figures = Figures::from_json(document.to_string().as_bytes()).unwrap();
        assert!(figures.figures.len() > 1);
        for f in &figures.figures {
            assert_eq!((f.model_digest.clone(), f.data_digest.len()), (bench.digest(), 64), "{f:?}");
            let compares = f.metric.ends_with("-drop") || ["latency.ratio", "agreement"].contains(&f.metric.as_str());
            assert_eq!(f.baseline_digest == baseline, compares || f.metric.starts_with("output-"), "{f:?}");
        }
    }
    let report = bench.check(0, &["--evidence", "s.json", "--data", "d.npz", "--baseline", "b.onnx"]);
    // On a busy machine the times of models this small may settle nothing: then there is no ratio to take over.
    if timed["figures"].as_array().unwrap().iter().any(|f| f["metric"] == "latency.ratio") {
        bench.profile(BOARD, &format!("latency.ratio = 1e6\n{scores}"));
    }
    for row in report["rows"].as_array().unwrap() {
        let file = if row["metric"] == "latency.ratio" { "e.json" } else { "s.json" };
        assert_eq!(row["evidence"]["file"], file, "{report}");
    }
    // Where no data are given, the report says on which the figures were taken.
    bench.profile(BOARD, "accuracy = 0.0");
    fs::rename(bench.path().join("s.json"), bench.path().join("e.json")).unwrap();
    let text = expect(bench.path(), 0, &CHECK);
    says(&text, &["evidence 1: e.json", "data ", &scored["figures"][0]["data_digest"].as_str().unwrap()[..16]]);
    // What was written without a key is what was printed, and is no evidence.
    expect(bench.path(), 0, &["evaluate", "m.onnx", "--data", "d.npz", "-o", "e.json"]);
    assert!(!Figures::from_json(&fs::read(bench.path().join("e.json")).unwrap()).unwrap().figures.is_empty());
    bench.refused(&[]);
}

#[cfg(unix)]
#[test]
fn a_key_that_others_may_read_signs_nothing() {
    use std::os::unix::fs::PermissionsExt;
    let bench = Bench::unknown_to_executors("latency.p50 = \"8ms\"");
    fs::set_permissions(bench.path().join("device.pem"), fs::Permissions::from_mode(0o644)).unwrap();
    let message = error(bench.path(), 96, &["bench", "m.onnx", "--sign", "device.pem", "-o", "out.json"]);
    says(&message, &["error[bad-key]", "chmod 600"]);
    assert!(!bench.path().join("out.json").exists());
}
