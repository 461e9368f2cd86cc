//! `check --changed-since`: pull requests played in repositories of their own.

mod common;

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use common::{error, expect, json, model, plimsoll_in, write_model};
use plimsoll_onnx::{Tensor, node};

const PROFILE: &str = "schema = 1
kind = \"device\"
executor = \"tract\"
[budget]
macs = { max = \"60\", max-increase = \"10%\" }
artifact-size = \"4KiB\"
";

const SPEC: &str = "schema = 1
profiles = [\"../profiles/bed.toml\"]
[release]
name = \"bed\"
version = \"1.0.0\"
[model]
path = \"model.onnx\"
";

const MARKDOWN: [&str; 5] = ["check", "--changed-since", "base", "--format", "markdown"];
const GITHUB: [&str; 5] = ["check", "--changed-since", "base", "--format", "github"];

/// A repository with a spec, a profile and a model, tagged `base`.
struct Clone {
    folder: tempfile::TempDir,
}

impl Clone {
    fn new() -> Self {
        let clone = Self { folder: tempfile::tempdir().unwrap() };
        clone.git(&["init", "-q", "-b", "main"]);
        fs::create_dir_all(clone.path().join("bed")).unwrap();
        fs::create_dir_all(clone.path().join("profiles")).unwrap();
        clone.write("profiles/bed.toml", PROFILE);
        clone.write("bed/plimsoll.toml", SPEC);
        clone.write("README.md", "a product\n");
        clone.model("bed/model.onnx", 10);
        clone.commit();
        clone.git(&["tag", "base"]);
        clone
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path().join(name), text).unwrap();
    }

    /// Two layers of 5 multiply-accumulates a hidden unit in all.
    fn model(&self, name: &str, hidden: usize) {
        let weight = |name: &str, rows: usize, columns: usize| {
            let values: Vec<f32> = (0..rows * columns).map(|i| (i % 7) as f32 - 3.0).collect();
            Tensor::from_elements(&[rows, columns], &values).unwrap().to_proto(name)
        };
        let mut first = node::new("MatMul", &["x", "a"], &["h"]);
        first.name = "first".into();
        let nodes = vec![first, node::new("MatMul", &["h", "b"], &["y"])];
        write_model(self.path(), name, &model(nodes, vec![weight("a", 3, hidden), weight("b", hidden, 2)]));
    }

    fn git(&self, args: &[&str]) -> String {
        let output = git_in(self.path(), args);
        assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn commit(&self) {
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "-m", "a change"]);
    }

    /// What a check of the change prints, where it ends in `code`; it leaves the work tree and the index as they are.
    #[track_caller]
    fn check(&self, code: i32, args: &[&str]) -> String {
        let state = || (self.git(&["status", "--porcelain"]), fs::read(self.path().join(".git/index")).unwrap());
        let before = state();
        let text = expect(self.path(), code, args);
        assert!(before == state(), "the check changed the work tree or the index");
        text
    }
}

fn git_in(folder: &Path, args: &[&str]) -> Output {
    let who = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"];
    let command = Command::new("git").args(who).args(args).current_dir(folder).env("GIT_CONFIG_GLOBAL", "").output();
    command.unwrap()
}

#[track_caller]
fn says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "`{part}` is not in\n{text}");
    }
}

#[test]
fn a_model_that_grew_fails_with_what_moved_and_the_line_of_its_budget() {
    let clone = Clone::new();
    clone.model("bed/model.onnx", 13);
    clone.commit();
    let text = clone.check(100, &MARKDOWN);
    says(&text, &["plimsoll check: fail (1 spec changed since base)", "bed/model.onnx changed"]);
    says(&text, &["| macs | 50 | 65 | +30.0 % |", "max-increase 10%", "`profiles/bed.toml:5`"]);
    says(&text, &["<details><summary>nodes that changed: 2</summary>", "| first | MatMul | 30 | 39 | 120 B | 156 B |"]);
    let annotations = clone.check(100, &GITHUB);
    let line = annotations.lines().find(|l| l.contains("max 60")).unwrap();
    says(
        line,
        &["::error file=profiles/bed.toml,line=5,endLine=5,col=16,endColumn=20,title=macs violates its budget (bed)::"],
    );
    // The same before it is committed.
    clone.git(&["reset", "-q", "--soft", "base"]);
    says(&clone.check(100, &MARKDOWN), &["+30.0 %"]);
}

#[test]
fn a_budget_that_is_tightened_is_judged_as_it_is_now() {
    let clone = Clone::new();
    clone.write("profiles/bed.toml", &PROFILE.replace("\"60\"", "\"40\""));
    clone.commit();
    let text = clone.check(100, &MARKDOWN);
    says(&text, &["profiles/bed.toml changed", "No counted figure moved", "`max 40`"]);
    assert!(!text.contains("loosened"), "{text}");
}

#[test]
fn a_change_of_a_file_that_a_profile_extends_is_a_change_of_the_profile() {
    let clone = Clone::new();
    let (facts, budget) = PROFILE.split_once("[budget]").unwrap();
    clone.write("profiles/base.toml", &format!("schema = 1\n[budget]{budget}"));
    clone.write("profiles/bed.toml", &format!("{facts}extends = \"base.toml\"\n"));
    clone.commit();
    clone.git(&["tag", "-f", "base"]);
    clone.write("profiles/base.toml", &format!("schema = 1\n[budget]{}", budget.replace("\"60\"", "\"40\"")));
    clone.commit();
    says(&clone.check(100, &MARKDOWN), &["profiles/base.toml changed", "`max 40`", "`profiles/base.toml:3`"]);
    // Loosened together with a heavier model: judged as the file was, which the revision alone still has.
    clone.write("profiles/base.toml", &format!("schema = 1\n[budget]{}", budget.replace("\"60\"", "\"90\"")));
    clone.model("bed/model.onnx", 13);
    clone.commit();
    says(&clone.check(100, &MARKDOWN), &["**loosened**: the limit was `max 60` and is now max 90"]);
    // A broken one is told where it stands.
    clone.write("profiles/base.toml", "schema = 1\n[budget]\nmcas = 5\n");
    clone.commit();
    let annotations = clone.check(96, &GITHUB);
    says(&annotations, &["file=profiles/base.toml,line=3", "did you mean `macs`?"]);
}

#[test]
fn a_budget_that_is_loosened_for_a_heavier_model_still_fails_the_old_one() {
    let clone = Clone::new();
    clone.write("profiles/bed.toml", &PROFILE.replace("\"60\"", "\"100\"").replace("\"10%\"", "\"50%\""));
    clone.model("bed/model.onnx", 13);
    clone.commit();
    let text = clone.check(100, &MARKDOWN);
    says(&text, &["**loosened**: the limit was `max 60` and is now max 100", "`profiles/bed.toml:5` before"]);
    says(&text, &["**loosened**: the limit was `max-increase 10%` and is now max-increase 50%"]);
    let annotations = clone.check(100, &GITHUB);
    says(&annotations, &["title=macs violates the budget that this change loosens (bed)", "col=16,endColumn=21"]);
    // Whoever accepts this model answers for it; the report still says that the budget is another.
    let accept = [&MARKDOWN[..], &["--accept", "wider for the new sensor"]].concat();
    expect(clone.path(), 0, &accept);
    let text = clone.check(0, &MARKDOWN);
    says(
        &text,
        &["**loosened**", "fail (warns)", "wider for the new sensor", "this model is the one that was accepted"],
    );
    // Another model was not accepted.
    clone.model("bed/model.onnx", 14);
    says(&clone.check(100, &MARKDOWN), &["**loosened**", "**fail**"]);
}

#[test]
fn a_budget_that_only_warns_now_or_is_gone_counts_as_loosened() {
    let clone = Clone::new();
    clone.write(
        "profiles/bed.toml",
        &PROFILE.replace("\"10%\" }", "\"10%\", level = \"warn\" }").replace("artifact", "# artifact"),
    );
    let text = clone.check(0, &MARKDOWN);
    says(&text, &["now max 60, and only warns", "the limit was `max 4KiB` and is no longer limited"]);
    says(&clone.check(0, &GITHUB), &["::notice title=artifact-size has its budget loosened (bed)::"]);
    // A tolerance is a wider limit by another name.
    clone.write("profiles/bed.toml", &PROFILE.replace("\"10%\" }", "\"10%\", tolerance = \"20%\" }"));
    says(&clone.check(0, &MARKDOWN), &["the limit was `max 60` and is now max 60 (tolerance 20%)"]);
    clone.write("profiles/bed.toml", &PROFILE.replace("\"10%\" }", "\"10%\", level = \"warn\" }"));
    clone.model("bed/model.onnx", 13);
    says(&clone.check(100, &MARKDOWN), &["and only warns", "**fail** | bed | `macs` | `max 60`"]);
    // A spec that names the profile no more has loosened all of it.
    let own = "[budget]\nmacs = \"1k\"\n";
    clone.write("bed/plimsoll.toml", &(SPEC.replace("\"../profiles/bed.toml\"", "") + own));
    says(&clone.check(100, &MARKDOWN), &["the limit was `max-increase 10%` and is no longer limited"]);
}

#[test]
fn a_broken_profile_is_bad_input_at_its_place() {
    let clone = Clone::new();
    clone.write("profiles/bed.toml", &PROFILE.replace("artifact-size", "artefact-size"));
    clone.commit();
    let annotations = clone.check(96, &GITHUB);
    says(
        &annotations,
        &["::error file=profiles/bed.toml,line=6,col=1,title=cannot be checked::bed/plimsoll.toml", "artifact-size"],
    );
    let text = clone.check(96, &MARKDOWN);
    says(&text, &["cannot be checked", "`profiles/bed.toml:6:1`", "did you mean \\`artifact-size\\`?"]);
    let document = json(clone.path(), 96, &["check", "--changed-since", "base", "--json"]);
    assert_eq!((&document["schema"], &document["faults"][0]["line"]), (&"plimsoll.check/1".into(), &6.into()));
    // Mended, it can be compared with nothing there; the change that mends it passes.
    clone.git(&["tag", "broken"]);
    clone.write("profiles/bed.toml", PROFILE);
    says(&clone.check(0, &["check", "--changed-since", "broken"]), &["is not compared with broken", "pass"]);
}

#[test]
fn an_unrelated_change_checks_nothing_and_passes() {
    let clone = Clone::new();
    // Even beside a spec that was broken before.
    clone.write("broken.toml", &SPEC.replace("[model]", "[model]\ncolour = 1"));
    clone.commit();
    clone.git(&["tag", "-f", "base"]);
    clone.write("README.md", "a better product\n");
    clone.commit();
    for args in [MARKDOWN, GITHUB] {
        says(&clone.check(0, &args), &["plimsoll check: pass (no spec changed since base, 2 unchanged)"]);
    }
    let document = json(clone.path(), 0, &["check", "--changed-since", "base", "--json"]);
    assert_eq!(document["unchanged"], serde_json::json!(["bed/plimsoll.toml", "broken.toml"]));
}

#[test]
fn waivers_hold_until_their_day() {
    let waiver = |until: &str| {
        format!(
            "{SPEC}[[waiver]]\nmetric = \"macs\"\nuntil = \"{until}\"\nreason = \"the next board\"\nsigned-off-by = \"Ada\"\n"
        )
    };
    let clone = Clone::new();
    clone.model("bed/model.onnx", 13);
    clone.write("bed/plimsoll.toml", &waiver("9999-12-31"));
    let text = clone.check(0, &MARKDOWN);
    says(&text, &["2 waived", "**waived** until 9999-12-31, signed off by Ada: the next board", "**fail (waived)**"]);
    says(&clone.check(0, &["check", "bed/plimsoll.toml"]), &["waived until 9999-12-31 by Ada: the next board"]);
    clone.write("bed/plimsoll.toml", &waiver("2020-02-29"));
    let text = clone.check(100, &MARKDOWN);
    says(&text, &["expired on 2020-02-29", "**fail** "]);
    assert!(!text.contains("(waived)"), "{text}");
    // A waiver of what nobody limits, and one that nobody needs, are told.
    clone.write("bed/plimsoll.toml", &waiver("9999-12-31").replace("metric = \"macs\"", "metric = \"params\""));
    says(&clone.check(100, &MARKDOWN), &["names no budget"]);
    clone.model("bed/model.onnx", 10);
    clone.write("bed/plimsoll.toml", &waiver("9999-12-31"));
    says(&clone.check(0, &MARKDOWN), &["is not needed"]);
}

#[test]
fn many_small_increases_are_held_against_what_was_accepted() {
    let clone = Clone::new();
    let check = ["check", "bed/plimsoll.toml"];
    expect(clone.path(), 0, &[&check[..], &["--accept", "first release"]].concat());
    clone.model("bed/model.onnx", 11);
    clone.commit();
    clone.git(&["tag", "-f", "base"]);
    says(&clone.check(0, &check), &["+10.0 %: 55 after 50", "first release", "macs over the accepted baselines: 50 ("]);
    // 9 % more than the last change, 20 % more than what was accepted.
    clone.model("bed/model.onnx", 12);
    says(&clone.check(100, &MARKDOWN), &["| macs | 55 | 60 | +9.1 % |", "+20.0 %: 60 after 50"]);
    expect(clone.path(), 0, &[&check[..], &["--accept", "more beds"]].concat());
    let history = fs::read_to_string(clone.path().join("bed/history.jsonl")).unwrap();
    assert_eq!(history.lines().count(), 2, "{history}");
    says(&clone.check(0, &MARKDOWN), &["more beds"]);
    // A line that is no baseline is refused where it stands.
    clone.write("bed/history.jsonl", &format!("{history}{{}}\n"));
    says(&clone.check(96, &GITHUB), &["file=bed/history.jsonl,line=3"]);
}

#[test]
fn a_spec_that_is_new_or_has_another_name_is_known() {
    let clone = Clone::new();
    clone.git(&["mv", "bed", "cot"]);
    clone.model("cot/model.onnx", 13);
    let text = clone.check(100, &MARKDOWN);
    says(&text, &["the spec was bed/plimsoll.toml before", "cot/plimsoll.toml", "+30.0 %"]);
    assert!(!text.contains("Removed"), "{text}");
    clone.git(&["mv", "cot", "bed"]);
    clone.model("bed/model.onnx", 10);
    fs::create_dir(clone.path().join("second")).unwrap();
    clone.write("second/plimsoll.toml", &SPEC.replace("\"bed\"", "\"second\""));
    clone.model("second/model.onnx", 10);
    says(&clone.check(0, &MARKDOWN), &["the spec is new", "1 spec changed since base, 1 unchanged"]);
    fs::remove_file(clone.path().join("bed/plimsoll.toml")).unwrap();
    says(&clone.check(0, &MARKDOWN), &["**Removed**", "`bed/plimsoll.toml`"]);
    // Only what is named is looked at.
    says(&clone.check(0, &["check", "second/plimsoll.toml", "--changed-since", "base"]), &["1 spec changed"]);
    says(&error(clone.path(), 96, &["check", "second/model.onnx", "--changed-since", "base"]), &["no release spec"]);
}

#[test]
fn specs_are_found_from_any_folder_of_the_clone() {
    let clone = Clone::new();
    clone.model("bed/model.onnx", 13);
    let text = expect(&clone.path().join("profiles"), 100, &GITHUB);
    says(&text, &["file=profiles/bed.toml,line=5"]);
}

#[test]
fn what_git_cannot_say_is_a_plain_error() {
    let clone = Clone::new();
    let unknown = ["check", "--changed-since", "no-such-branch"];
    says(&error(clone.path(), 96, &unknown), &["git knows no revision `no-such-branch`", "`git fetch` it first"]);
    says(&error(clone.path(), 96, &["check", "--changed-since=--upload-pack=x"]), &["git knows no revision"]);
    let elsewhere = tempfile::tempdir().unwrap();
    says(&error(elsewhere.path(), 96, &MARKDOWN), &["is in no git repository"]);
    let shallow = tempfile::tempdir().unwrap();
    clone.write("README.md", "once more\n");
    clone.commit();
    let from = format!("file://{}", clone.path().display());
    let output = git_in(shallow.path(), &["clone", "-q", "--depth", "1", "--no-tags", &from, "."]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    says(&error(shallow.path(), 96, &MARKDOWN), &["git knows no revision `base`", "this clone is shallow"]);
    let output =
        Command::new(env!("CARGO_BIN_EXE_plimsoll")).args(MARKDOWN).current_dir(clone.path()).env("PATH", "").output();
    let output = output.unwrap();
    assert_eq!(output.status.code(), Some(96));
    says(&String::from_utf8_lossy(&output.stderr), &["the program `git` is not installed"]);
}

#[test]
fn a_pointer_of_git_lfs_is_no_model() {
    let clone = Clone::new();
    clone.write("bed/model.onnx", "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n");
    clone.commit();
    clone.git(&["tag", "-f", "base"]);
    clone.model("bed/model.onnx", 10);
    says(&error(clone.path(), 96, &MARKDOWN), &["is a pointer of Git LFS", "git lfs fetch"]);
}

#[test]
fn every_format_tells_the_same_failure() {
    let clone = Clone::new();
    clone.model("bed/model.onnx", 13);
    let args = |format| ["check", "--changed-since", "base", "--format", format];
    for format in ["terminal", "markdown", "github", "junit", "sarif", "json"] {
        says(&clone.check(100, &args(format)), &["profiles/bed.toml", "macs", "max-increase 10%"]);
    }
    let one = plimsoll_in(clone.path(), &["check", "bed/plimsoll.toml", "--format", "sarif"]);
    assert!(String::from_utf8_lossy(&one.stdout).contains("\"2.1.0\""));
}

#[test]
fn an_idea_without_weights_is_compared_by_its_costs() {
    let clone = Clone::new();
    let outline = |hidden: i64| {
        let declared = |name: &str, dims: [i64; 2]| {
            let (name, dims) = (name.to_owned(), dims.to_vec());
            plimsoll_onnx::proto::TensorProto { name, data_type: 1, dims, ..Default::default() }
        };
        let nodes = vec![node::new("MatMul", &["x", "a"], &["h"]), node::new("MatMul", &["h", "b"], &["y"])];
        let proto = model(nodes, vec![declared("a", [3, hidden]), declared("b", [hidden, 2])]);
        write_model(clone.path(), "bed/model.onnx", &proto);
        clone.commit();
    };
    outline(10);
    clone.git(&["tag", "-f", "base"]);
    outline(13);
    let text = clone.check(100, &[MARKDOWN.as_slice(), &["--cost-only"]].concat());
    says(&text, &["| macs | 50 | 65 | +30.0 % |", "max-increase 10%"]);
    // A comparison that takes a run needs the weights.
    assert!(error(clone.path(), 96, &MARKDOWN).contains("check --cost-only"));
}
