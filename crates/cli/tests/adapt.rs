//! What `adapt` says, writes and refuses, through the binary: models against the contracts of pipelines that are not theirs.

mod common;

use std::{fs, path::Path};

use common::{error, expect, fixture, floats, json, npy, plimsoll_in, write_npz};
use plimsoll_dataset::Dataset;
use plimsoll_onnx::Model;
use serde_json::Value;

/// The executors that are on this machine; onnxruntime comes from a wheel.
fn executors() -> Vec<&'static str> {
    let folder = tempfile::tempdir().unwrap();
    let test = fixture("digits", "test.npz");
    let probe = ["evaluate", &fixture("digits", "model.onnx"), "--data", &test, "--executor", "onnxruntime"];
    let there = plimsoll_in(folder.path(), &probe).status.success();
    if there { vec!["tract", "onnxruntime"] } else { vec!["tract"] }
}

fn labels(data: &Dataset, change: impl Fn(i64) -> i64) -> Vec<u8> {
    let labels = data.label().unwrap();
    npy("<i8", &[labels.len()], &labels.iter().flat_map(|l| change(*l).to_le_bytes()).collect::<Vec<_>>())
}

fn accuracy(folder: &Path, model: &str, data: &str, executor: &str) -> f64 {
    let args = ["evaluate", model, "--data", data, "--metric", "accuracy", "--executor", executor, "--json"];
    json(folder, 0, &args)["figures"][0]["value"].as_f64().unwrap()
}

fn operators(folder: &Path, model: &str) -> Vec<String> {
    let found = json(folder, 0, &["inspect", model, "--json"]);
    found["nodes"].as_array().unwrap().iter().map(|n| n["op"].as_str().unwrap().to_owned()).collect()
}

/// Adapts in each executor, each with its proof; what was printed by the last.
fn adapt(folder: &Path, model: &str, contract: &str, inputs: &str) -> Value {
    let mut found = Value::Null;
    for executor in executors() {
        let args = ["adapt", model, "--contract", contract, "-o", "adapted.onnx", "--executor", executor, "--json"];
        found = json(folder, 0, &args);
        assert_eq!((&found["verdict"], &found["proof"]["inputs"]), (&"adapts".into(), &inputs.into()), "{found}");
        assert_eq!(found["proof"]["executor"], executor);
    }
    found
}

/// One of the sleep-wake fixture's windows as its sensor might deliver it: five times as often, the layout turned, with gaps.
struct Bed {
    data: Dataset,
}

const HEADS: [(&str, &str, &str); 4] = [
    ("heart_rate", "beats/min", "[30, 200]"),
    ("breathing", "breaths/min", "[4, 40]"),
    ("variability", "ms", "[0, 250]"),
    ("movement", "counts", "[0, 60]"),
];

impl Bed {
    fn new() -> Self {
        Self { data: Dataset::read_npz(Path::new(&fixture("sleep-wake", "test.npz"))).unwrap().take(400) }
    }

    fn write(&self, folder: &Path, name: &str) {
        let mut members = Vec::new();
        for (name, ..) in HEADS {
            let values = self.data.inputs()[name].to_vec::<f32>().unwrap();
            // Values of one bucket differ and have their mean; some are missing, never all.
            let raw: Vec<f32> = values
                .iter()
                .enumerate()
                .flat_map(|(i, v)| {
                    let spread = [-0.5f32, -0.25, 0.0, 0.25, 0.5].map(|d| v + d);
                    let gap = i % 7 == 3;
                    spread.map(move |x| if gap && (x - v).abs() > 0.3 { f32::NAN } else { x })
                })
                .collect();
            members.push((name, floats(&[self.data.len(), 750, 1], &raw)));
        }
        members.push(("label", labels(&self.data, |l| 1 - l)));
        let group = self.data.group().unwrap();
        members.push((
            "group",
            npy("<i8", &[group.len()], &group.iter().flat_map(|g| g.to_le_bytes()).collect::<Vec<_>>()),
        ));
        write_npz(folder, name, &members);
    }

    fn contract(rate: &str) -> String {
        let mut text = "schema = 1\n".to_owned();
        for (name, unit, range) in HEADS {
            text += &format!(
                "[[inputs]]\nname = \"{name}\"\ndtype = \"f32\"\nshape = [\"n\", 750, 1]\naxes = [\"batch\", \"time\", \"channel\"]\n\
                 unit = \"{unit}\"\nrange = {range}\nsampling-rate = \"{rate}\"\nmissing = \"nan\"\n"
            );
        }
        text += "[[outputs]]\nname = \"shares\"\ndtype = \"f32\"\nshape = [\"n\", 2]\naxes = [\"batch\", \"class\"]\n\
                 meaning = \"probabilities\"\nlabels = [\"wake\", \"sleep\"]\n";
        for (name, ..) in HEADS {
            text += &format!(
                "[[model.inputs]]\nname = \"{name}\"\naxes = [\"batch\", \"channel\", \"time\"]\nsampling-rate = \"0.2Hz\"\nfill = \"mean\"\n"
            );
        }
        text + "[[model.outputs]]\nname = \"scores\"\nto = \"shares\"\nmeaning = \"logits\"\nlabels = [\"sleep\", \"wake\"]\n"
    }
}

#[test]
fn a_pipeline_of_another_rate_layout_gaps_and_class_order_is_served_exactly() {
    let (folder, bed) = (tempfile::tempdir().unwrap(), Bed::new());
    let at = folder.path();
    bed.write(at, "raw.npz");
    fs::write(at.join("c.toml"), Bed::contract("1Hz") + "[recorded]\ninputs = \"raw.npz\"\n").unwrap();
    // Labels are no inputs, and are passed over.
    let model = fixture("sleep-wake", "model.onnx");
    let found = adapt(at, &model, "c.toml", "recorded");
    assert_eq!(found["proof"]["samples"], 400);
    let operators = operators(at, "adapted.onnx");
    for gone in ["Transpose", "Gather"] {
        assert!(!operators.iter().any(|o| o == gone), "{gone} is left: {operators:?}");
    }
    let mut original = Vec::new();
    for (name, ..) in HEADS {
        original.push((name, floats(&[400, 1, 150], &bed.data.inputs()[name].to_vec::<f32>().unwrap())));
    }
    original.push(("label", labels(&bed.data, |l| l)));
    write_npz(at, "original.npz", &original);
    for executor in executors() {
        let before = accuracy(at, &model, "original.npz", executor);
        let after = accuracy(at, "adapted.onnx", "raw.npz", executor);
        assert!((before - after).abs() <= 0.002 + 1e-9, "{executor}: {before} {after}");
    }
}

/// The digits with another side.
fn digits(dtype: &str, shape: &str, axes: &str, range: &str, model: &str) -> String {
    format!(
        "schema = 1\n[[inputs]]\nname = \"photo\"\ndtype = \"{dtype}\"\nshape = {shape}\naxes = {axes}\nrange = {range}\n\
         [[outputs]]\nname = \"digit\"\ndtype = \"i64\"\nshape = [\"n\"]\naxes = [\"batch\"]\nmeaning = \"label\"\n\
         [[model.inputs]]\nname = \"image\"\nfrom = \"photo\"\naxes = [\"batch\", \"channel\", \"height\", \"width\"]\n{model}\n\
         [[model.outputs]]\nname = \"scores\"\nto = \"digit\"\nmeaning = \"logits\"\n"
    )
}

#[test]
fn a_scale_and_a_layout_leave_no_node() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let model = fixture("digits", "model.onnx");
    expect(at, 0, &["simplify", &model, "-o", "simple.onnx"]);
    let simple = operators(at, "simple.onnx");
    let (shape, axes) = ("[\"n\", 8, 8, 1]", "[\"batch\", \"height\", \"width\", \"channel\"]");
    fs::write(at.join("c.toml"), digits("f32", shape, axes, "[0, 1]", "range = [0, 16]")).unwrap();
    adapt(at, &model, "c.toml", "drawn");
    let adapted = operators(at, "adapted.onnx");
    let more: Vec<&String> = adapted.iter().filter(|o| !simple.contains(o)).collect();
    assert_eq!(more, ["Reshape", "ArgMax"], "{adapted:?}");
    assert!(adapted.len() <= simple.len() + 2, "{simple:?} {adapted:?}");
}

#[test]
fn bytes_are_classified_as_their_floats_were() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let data = Dataset::read_npz(Path::new(&fixture("digits", "test.npz"))).unwrap();
    let bytes: Vec<u8> = data.inputs()["image"].to_vec::<f32>().unwrap().iter().map(|v| *v as u8).collect();
    write_npz(at, "raw.npz", &[("photo", npy("|u1", &[data.len(), 64], &bytes))]);
    let truth: Vec<u8> = data.label().unwrap().iter().flat_map(|l| l.to_le_bytes()).collect();
    write_npz(at, "truth.npz", &[("digit", npy("<i8", &[data.len()], &truth))]);
    let text = digits("u8", "[\"n\", 64]", "[\"batch\", \"feature\"]", "[0, 16]", "");
    fs::write(at.join("c.toml"), text + "[recorded]\ninputs = \"raw.npz\"\noutputs = \"truth.npz\"\n").unwrap();
    let model = fixture("digits", "model.onnx");
    let found = adapt(at, &model, "c.toml", "recorded");
    let before = accuracy(at, &model, &fixture("digits", "test.npz"), "tract");
    let after = found["incumbent"][0]["agreement"].as_f64().unwrap();
    assert!((before - after).abs() < 1e-9, "{before} {after}");
}

#[test]
fn what_is_missing_is_named_and_ends_with_100() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let model = fixture("sleep-wake", "model.onnx");
    let check = |text: &str, says: &[&str]| {
        fs::write(at.join("c.toml"), text).unwrap();
        let message = error(at, 100, &["adapt", &model, "--contract", "c.toml", "--check"]);
        says.iter().for_each(|s| assert!(message.contains(s), "{s}: {message}"));
        error(at, 100, &["adapt", &model, "--contract", "c.toml", "-o", "adapted.onnx"]);
        assert!(!at.join("adapted.onnx").exists());
    };
    let good = Bed::contract("1Hz");
    let cut = |from: &str, to: &str| {
        let (a, b) = (good.find(from).unwrap(), good.find(to).unwrap());
        format!("{}{}", &good[..a], &good[b..])
    };
    // The pipeline has no movement.
    let without = cut("[[inputs]]\nname = \"movement\"", "[[outputs]]");
    let at_model = without.rfind("[[model.inputs]]\nname = \"movement\"").unwrap();
    let end = without.find("[[model.outputs]]").unwrap();
    check(
        &format!("{}{}", &without[..at_model], &without[end..]),
        &["`movement`", "delivers no `movement`", "c.toml:"],
    );
    check(&Bed::contract("0.1Hz"), &["sampling rate", "more slowly than the model needs"]);
    check(&good.replace("[\"wake\", \"sleep\"]", "[\"wake\", \"dream\"]"), &["labels", "`sleep`"]);
    check(&good.replace("fill = \"mean\"\n", "missing = \"never\"\n"), &["missing values", "write fill ="]);
    check(&(good.clone() + "[executor]\noperators = [\"Conv\", \"Relu\"]\n"), &["the model needs", "Gemm"]);
    check(&(good.clone() + "[executor]\nmax-opset = 9\n"), &["opset", "17"]);
    check(&good.replace("750", "700"), &["window", "align"]);
}

#[test]
fn a_contract_with_errors_ends_with_96_and_shows_each_line() {
    let folder = tempfile::tempdir().unwrap();
    let text = Bed::contract("1Hz")
        .replace("fill = \"mean\"", "fill = \"guess\"")
        .replace("to = \"shares\"", "to = \"share\"");
    fs::write(folder.path().join("c.toml"), text).unwrap();
    let message =
        error(folder.path(), 96, &["adapt", &fixture("sleep-wake", "model.onnx"), "--contract", "c.toml", "--check"]);
    for says in ["there is no `guess`", "the pipeline has no `share`", "c.toml", "help: "] {
        assert!(message.contains(says), "{says}: {message}");
    }
    let missing =
        "schema = 1\n[recorded]\ninputs = \"nowhere.npz\"\n".to_owned() + &Bed::contract("1Hz")["schema = 1\n".len()..];
    fs::write(folder.path().join("c.toml"), missing).unwrap();
    let message =
        error(folder.path(), 96, &["adapt", &fixture("sleep-wake", "model.onnx"), "--contract", "c.toml", "--check"]);
    assert!(message.contains("`nowhere.npz` does not exist"), "{message}");
}

#[test]
fn a_drafted_contract_is_one_that_its_model_fits() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["digits", "sleep-wake"] {
        let (model, file) = (fixture(name, "model.onnx"), format!("{name}.toml"));
        expect(folder.path(), 0, &["contract", "init", &model, "--data", &fixture(name, "test.npz"), "-o", &file]);
        let found = json(folder.path(), 0, &["adapt", &model, "--contract", &file, "--check", "--json"]);
        assert_eq!(found["verdict"], "fits");
        // Somebody's work is not overwritten.
        error(folder.path(), 96, &["contract", "init", &model, "-o", &file]);
    }
}

#[test]
fn check_judges_a_model_by_the_contract_and_an_adapted_one_fits() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    fs::write(at.join("c.toml"), Bed::contract("1Hz")).unwrap();
    let model = fixture("sleep-wake", "model.onnx");
    let spec = |model: &str| {
        let text = format!(
            "schema = 1\ncontract = \"c.toml\"\n[release]\nname = \"bed\"\nversion = \"1.0.0\"\n[model]\npath = \"{model}\"\n\
             [budget]\nartifact-size = \"1MB\"\n"
        );
        fs::write(at.join("plimsoll.toml"), text).unwrap();
    };
    spec(&model);
    let report = json(at, 100, &["check", "plimsoll.toml", "--cost-only", "--json"]);
    let rows = |report: &Value| {
        report["rows"].as_array().unwrap().iter().filter(|r| r["metric"] == "contract").cloned().collect::<Vec<_>>()
    };
    let unfit = rows(&report);
    assert!(
        unfit.len() > 4
            && unfit.iter().all(|r| r["verdict"] == "fail" && r["note"].as_str().unwrap().contains("plimsoll adapt"))
    );
    assert!(unfit.iter().all(|r| r["source"]["line"].as_u64().unwrap() > 1), "{unfit:?}");
    for format in ["terminal", "markdown", "junit", "sarif", "github", "html"] {
        let text = expect(at, 100, &["check", "plimsoll.toml", "--cost-only", "--format", format]);
        assert!(text.contains("contract"), "{format}: {text}");
    }
    expect(at, 0, &["adapt", &model, "--contract", "c.toml", "-o", "adapted.onnx"]);
    spec("adapted.onnx");
    let fit = rows(&json(at, 0, &["check", "plimsoll.toml", "--cost-only", "--json"]));
    assert_eq!((fit.len(), fit[0]["verdict"].as_str()), (1, Some("pass")));
    // A comment changes nothing; another rate is another pipeline.
    fs::write(at.join("c.toml"), format!("# today\n{}", Bed::contract("1Hz"))).unwrap();
    expect(at, 0, &["check", "plimsoll.toml", "--cost-only"]);
    fs::write(at.join("c.toml"), Bed::contract("2Hz").replace("fill =", "align = \"end\"\npad = 0.0\nfill =")).unwrap();
    let message = error(at, 100, &["adapt", "adapted.onnx", "--contract", "c.toml", "--check"]);
    assert!(message.contains("an adapter for other terms"), "{message}");
}

#[test]
fn the_same_contract_gives_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("c.toml"), Bed::contract("1Hz")).unwrap();
    let adapt = |name: &str| {
        expect(folder.path(), 0, &["adapt", &fixture("sleep-wake", "model.onnx"), "--contract", "c.toml", "-o", name]);
        fs::read(folder.path().join(name)).unwrap()
    };
    let bytes = adapt("a.onnx");
    assert!(bytes == adapt("b.onnx"));
    let model = Model::from_bytes(&bytes).unwrap();
    let names: Vec<String> = model.inputs().into_iter().map(|i| i.name).collect();
    assert_eq!(names, HEADS.map(|(name, ..)| name));
    assert_eq!(model.outputs()[0].name, "shares");
}
