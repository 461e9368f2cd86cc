//! The main job through the binary: what it leaves behind verifies, and what was tampered with does not.

mod common;

use std::{
    fs,
    path::{Path, PathBuf},
};

use common::{error, expect, fixture, json, release_digits};

fn release(folder: &Path) -> serde_json::Value {
    release_digits(folder, "1.2.0")
}

fn path(released: &serde_json::Value, key: &str) -> PathBuf {
    released[key].as_str().unwrap_or_else(|| panic!("no {key} in {released}")).into()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn the_main_job_ends_in_a_verified_release_that_no_tampering_survives() {
    let folder = tempfile::tempdir().unwrap();
    let f = folder.path();
    let released = release(f);
    assert_eq!(released["verdict"], "pass");
    let payload = f.join(path(&released, "release_dir"));
    let whole = payload.parent().unwrap();
    let repository = f.join(path(&released, "repository")).display().to_string();
    for key in ["signature", "public_key"] {
        assert!(f.join(path(&released, key)).is_file());
    }
    let verification = json(f, 0, &["verify", &repository, "--json"]);
    assert_eq!(verification["schema"], "plimsoll.verification/1");
    assert!(verification["steps"].as_array().unwrap().len() > 5);
    expect(f, 0, &["verify", whole.to_str().unwrap()]);
    // The winner is smaller than what it came from, and the payload says how it was made.
    let model = fs::metadata(payload.join("model.onnx")).unwrap().len();
    assert!(model < 40_000, "{model} bytes");
    let recipe: serde_json::Value = serde_json::from_slice(&fs::read(payload.join("recipe.json")).unwrap()).unwrap();
    assert_eq!(recipe["name"], "simplify+int8-weights");
    let page = fs::read_to_string(payload.join("report.html")).unwrap();
    for section in ["Load lines", "Before and after", "Candidates", "Cost per node", "Sensitivity to quantization"] {
        assert!(page.contains(section), "{section}");
    }

    for hazard in ["changed byte", "added file", "missing file", "changed signature"] {
        let tampered = f.join("tampered");
        copy(whole, &tampered);
        let inside = tampered.join("payload");
        match hazard {
            "changed byte" => {
                let mut bytes = fs::read(inside.join("model.onnx")).unwrap();
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
                fs::write(inside.join("model.onnx"), bytes).unwrap();
            }
            "added file" => fs::write(inside.join("more.txt"), "more").unwrap(),
            "missing file" => fs::remove_file(inside.join("report.md")).unwrap(),
            _ => {
                let text = fs::read_to_string(tampered.join("model.sig")).unwrap();
                let bundle: serde_json::Value = serde_json::from_str(&text).unwrap();
                let signature = bundle["dsseEnvelope"]["signatures"][0]["sig"].as_str().unwrap();
                // One character in the middle of the DER integers.
                let mut other: Vec<char> = signature.chars().collect();
                other[20] = if other[20] == 'A' { 'B' } else { 'A' };
                let other: String = other.into_iter().collect();
                fs::write(tampered.join("model.sig"), text.replace(signature, &other)).unwrap();
            }
        }
        let message = error(f, 98, &["verify", "tampered"]);
        assert!(message.contains("error[verification-refused]"), "{hazard}: {message}");
        fs::remove_dir_all(tampered).unwrap();
    }

    // Production clients refuse a trial, and say that this is why.
    let message = error(f, 98, &["verify", &repository, "--production"]);
    assert!(message.contains("error[trial-repository]"), "{message}");

    // Promotion, twice: the second time there is nothing to do.
    expect(f, 0, &["channel", "publish", "--channel", "general", "--dry-run"]);
    let before = json(f, 0, &["channel", "status", "--json"]);
    assert!(before["channels"][1]["pointer"].is_null(), "the dry run changed something: {before}");
    assert_eq!(json(f, 0, &["channel", "publish", "--channel", "general", "--json"])["epoch"], 1);
    assert_eq!(json(f, 0, &["channel", "publish", "--channel", "general", "--json"])["epoch"], 1);
    expect(f, 0, &["channel", "refresh"]);
    expect(f, 0, &["verify", &repository]);

    // A changed file in the repository is refused as well.
    let blobs = Path::new(&repository).join("blobs/sha256");
    let blob = fs::read_dir(blobs).unwrap().next().unwrap().unwrap().path();
    fs::write(&blob, "other").unwrap();
    error(f, 98, &["verify", &repository]);
}

#[test]
fn a_release_that_was_killed_before_it_was_published_blocks_no_later_one() {
    let folder = tempfile::tempdir().unwrap();
    let f = folder.path();
    let first = release(f);
    // What a kill between signing and publishing leaves behind: a folder that the repository does not know.
    let payload = f.join(path(&first, "release_dir"));
    let orphan = f.join(".plimsoll/releases/digits-1.2.0_trial.2");
    copy(payload.parent().unwrap(), &orphan);
    fs::write(orphan.join("payload/more.txt"), "more").unwrap();
    let second = release(f);
    assert_eq!(second["version"], "1.2.0+trial.3");
    assert!(orphan.is_dir(), "what was signed was removed");
}

#[test]
fn two_releases_at_once_both_end_well() {
    let folder = tempfile::tempdir().unwrap();
    let f = folder.path();
    release(f);
    let both = [0, 1].map(|_| {
        let f = f.to_owned();
        std::thread::spawn(move || json(&f, 0, &["release", "--json"])["version"].clone())
    });
    let mut versions = both.map(|t| t.join().unwrap().to_string());
    versions.sort();
    assert_eq!(versions, ["\"1.2.0+trial.2\"", "\"1.2.0+trial.3\""]);
    expect(f, 0, &["verify", ".plimsoll/repository/digits"]);
}

#[test]
fn a_release_that_keeps_no_budget_is_refused_and_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let f = folder.path();
    release(f);
    fs::remove_dir_all(f.join(".plimsoll")).unwrap();
    let profile = "schema = 1\nkind = \"device\"\nexecutor = \"tract\"\n[budget]\nartifact-size = \"1kB\"\n";
    fs::write(f.join("any.toml"), profile).unwrap();
    let message = error(f, 100, &["release"]);
    assert!(message.contains("error[gate-failed]"), "{message}");
    assert!(!f.join(".plimsoll/releases").exists() && !f.join(".plimsoll/repository").exists());
}

#[test]
fn overlapping_data_and_missing_files_are_shown_where_the_spec_names_them() {
    let folder = tempfile::tempdir().unwrap();
    let f = folder.path();
    release(f);
    let spec = fs::read_to_string(f.join("plimsoll.toml")).unwrap();
    fs::copy(fixture("digits", "test.npz"), f.join("copy.npz")).unwrap();
    fs::write(f.join("plimsoll.toml"), spec.replace(&fixture("digits", "valid.npz"), "copy.npz")).unwrap();
    let message = error(f, 96, &["release"]);
    assert!(message.contains("error[data-overlap]") && message.contains("copy.npz"), "{message}");
    fs::write(f.join("plimsoll.toml"), spec.replace("any.toml", "none.toml")).unwrap();
    let message = error(f, 96, &["check", "plimsoll.toml"]);
    assert!(message.contains("plimsoll.toml:2:13") && message.contains("none.toml"), "{message}");
}
