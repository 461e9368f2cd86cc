//! Releases by keys of one's own: what opens a key, what is demanded of a release, and that it is built again byte for byte.

mod common;

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use common::{error, expect, fixture, json};
use serde_json::Value;

/// Opens with the passphrase `an example`.
const ENCRYPTED: &str = include_str!("../../trust/tests/encrypted.pem");

fn private(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    }
}

fn release(folder: &Path, passphrase: Option<&str>, more: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_plimsoll"));
    command.current_dir(folder).args(["release", "--key", "engineer.pem"]).args(more).env_remove("PLIMSOLL_PASSPHRASE");
    if let Some(passphrase) = passphrase {
        command.env("PLIMSOLL_PASSPHRASE_ENGINEER", passphrase);
    }
    command.output().unwrap()
}

fn spec() -> String {
    format!(
        "schema = 1\n[release]\nname = \"digits\"\nversion = \"1.2.0\"\nlicense = \"MIT\"\n\
         [model]\npath = {model:?}\n[data]\ncalibration = {calib:?}\nvalidation = {valid:?}\ntest = {test:?}\n\
         [margins]\naccuracy-drop = \"5pp\"\n[budget]\nartifact-size = \"40kB\"\n\
         [change]\nticket = \"T-1\"\nin-plan = true\nrequirements = [\"REQ-1\"]\nrisks = [\"RISK-1\"]\n\
         [[optimize.recipes]]\nname = \"simplify+int8-weights\"\n\
         steps = [{{ pass = \"simplify\" }}, {{ pass = \"quantize\", scheme = \"int8-weights\" }}]\n",
        model = fixture("digits", "model.onnx"),
        calib = fixture("digits", "calib.npz"),
        valid = fixture("digits", "valid.npz"),
        test = fixture("digits", "test.npz"),
    )
}

#[test]
fn a_release_by_an_encrypted_key_is_production_and_shows_what_is_demanded() {
    let folder = tempfile::tempdir().unwrap();
    let f = folder.path();
    fs::write(f.join("plimsoll.toml"), spec()).unwrap();
    private(&f.join("engineer.pem"), ENCRYPTED);

    // Nothing is searched before the key opens.
    for (passphrase, says) in [(None, "set PLIMSOLL_PASSPHRASE"), (Some("another one"), "is wrong")] {
        let output = release(f, passphrase, &[]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(96), "{said}");
        assert!(said.contains("error[bad-key]") && said.contains(says), "{said}");
        assert!(!said.contains("another one"), "{said}");
        assert!(!f.join(".plimsoll").exists());
    }
    let output = release(f, Some("an example"), &["--json", "--dossier=dossier.md", "--parent", &"ab".repeat(32)]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let released: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(released["repository"].is_null() && released["channel"].is_null(), "{released}");
    let whole = ".plimsoll/releases/digits-1.2.0";
    let key = format!("{whole}/public_key.pem");
    expect(f, 0, &["verify", whole, "--production", "--public-key", &key]);
    error(f, 98, &["verify", whole, "--production"]);
    let record: Value = serde_json::from_slice(&fs::read(f.join(whole).join("payload/release.json")).unwrap()).unwrap();
    assert_eq!((&record["trial"], &record["change"]["ticket"]), (&false.into(), &"T-1".into()));
    assert_eq!((&record["parent"], &record["rollback"]), (&"ab".repeat(32).into(), &"ab".repeat(32).into()));

    // What is demanded and shown; what is not, with the line that demands it; and what is no policy.
    let verification = json(f, 0, &["verify", whole, "--json"]);
    let signer = verification["steps"][1]["detail"].as_str().unwrap().split(',').next().unwrap().to_owned();
    let demands = format!(
        "schema = 1\n[release]\nname = \"digits\"\ntrial = false\n[signers]\nkeys = [\"{signer}\"]\n[gate]\n\
         passed = [\"digits\"]\n[coverage]\nbudgets = [\"accuracy-drop\", \"artifact-size\"]\nsamples = 100\n"
    );
    fs::write(f.join("demands.toml"), &demands).unwrap();
    let shown = expect(f, 0, &["verify", whole, "--policy", "demands.toml"]);
    assert_eq!(shown.matches("demand: ").count(), 7, "{shown}");
    fs::write(f.join("demands.toml"), demands + "[built]\ncommit = \"0123456789ab\"\n").unwrap();
    let message = error(f, 98, &["verify", whole, "--policy", "demands.toml"]);
    assert!(message.contains("not 0123456789ab (demanded in demands.toml:13)"), "{message}");
    fs::write(f.join("demands.toml"), "schema = 1\n[gate]\npased = []\n").unwrap();
    let message = error(f, 96, &["verify", whole, "--policy", "demands.toml"]);
    assert!(message.contains("demands.toml:3:1") && message.contains("did you mean `passed`?"), "{message}");

    // The dossier is the same however often it is told.
    let dossier = fs::read_to_string(f.join("dossier.md")).unwrap();
    assert!(dossier.contains("| REQ-1 | RISK-1 | digits: artifact-size"), "{dossier}");
    assert_eq!(expect(f, 0, &["release", "--from", whole, "--dossier"]), dossier);

    // Built again it is the same; from other inputs it is not, and the file is named.
    let again = json(f, 0, &["release", "--reproduce", whole, "--json"]);
    assert_eq!(again["steps"].as_array().unwrap().last().unwrap()["name"], "reproduced");
    // A single byte that was changed since is found, where it is.
    let model = f.join(whole).join("payload/model.onnx");
    let mut bytes = fs::read(&model).unwrap();
    bytes[1234] ^= 1;
    fs::write(&model, &bytes).unwrap();
    let message = error(f, 98, &["release", "--reproduce", whole]);
    assert!(message.contains("`model.onnx`: byte 1234 differs"), "{message}");
    bytes[1234] ^= 1;
    fs::write(&model, bytes).unwrap();
    fs::write(f.join("plimsoll.toml"), spec() + "# a remark\n").unwrap();
    let message = error(f, 98, &["release", "--reproduce", whole]);
    assert!(message.contains("`budgets/plimsoll.toml`: line "), "{message}");
    fs::write(f.join("plimsoll.toml"), spec().replace("5pp", "6pp")).unwrap();
    let message = error(f, 98, &["release", "--reproduce", whole]);
    assert!(message.contains("`budgets/plimsoll.toml`"), "{message}");

    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(f.join("engineer.pem"), fs::Permissions::from_mode(0o644)).unwrap();
        let output = release(f, Some("an example"), &[]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(96) && said.contains("chmod 600"), "{said}");
    }
}

fn git(folder: &Path, args: &[&str]) -> String {
    let output = Command::new("git").current_dir(folder).args(args).output().unwrap();
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[test]
fn a_commit_is_claimed_only_where_every_input_is_in_it_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let f = folder.path();
    let mut text = spec();
    for file in ["model.onnx", "calib.npz", "valid.npz", "test.npz"] {
        fs::copy(fixture("digits", file), f.join(file)).unwrap();
        text = text.replace(&format!("{:?}", fixture("digits", file)), &format!("{file:?}"));
    }
    fs::write(f.join("plimsoll.toml"), &text).unwrap();
    plimsoll_trust::FileKey::create(&f.join("engineer.pem")).unwrap();
    git(f, &["init", "--quiet"]);
    git(f, &["add", "plimsoll.toml", "model.onnx", "calib.npz", "valid.npz", "test.npz"]);
    let by = ["-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false"];
    git(f, &[&by[..], &["commit", "--quiet", "--message", "a"]].concat());
    let commit = git(f, &["rev-parse", "HEAD"]);
    fs::write(f.join("demands.toml"), format!("schema = 1\n[built]\ncommit = \"{commit}\"\n")).unwrap();
    assert_eq!(release(f, None, &[]).status.code(), Some(0));
    expect(f, 0, &["verify", ".plimsoll/releases/digits-1.2.0", "--policy", "demands.toml"]);
    // An input that the commit does not hold as it is: nothing is claimed.
    fs::write(f.join("plimsoll.toml"), text.replace("1.2.0", "1.2.1")).unwrap();
    assert_eq!(release(f, None, &[]).status.code(), Some(0));
    let message = error(f, 98, &["verify", ".plimsoll/releases/digits-1.2.1", "--policy", "demands.toml"]);
    assert!(message.contains("its provenance names none"), "{message}");
}

#[test]
fn addresses_and_keys_that_are_none_say_what_to_write() {
    let folder = tempfile::tempdir().unwrap();
    let f = folder.path();
    let message = error(f, 96, &["release", "--key", "pkcs11:token=t;object=k?module-path=m&pin-value=1234"]);
    assert!(message.contains("a PIN stands in it") && !message.contains("1234"), "{message}");
    let message = error(f, 96, &["verify", "oci://sleep-wake:1.0.0"]);
    assert!(message.contains("oci://HOST/REPOSITORY:TAG"), "{message}");
    let message = error(f, 96, &["verify", "oci://127.0.0.1:1/a:1"]);
    assert!(message.contains("check that the registry is up"), "{message}");
    error(f, 2, &["release", "--reproduce", "x", "--push", "oci://registry.example/a:1"]);
}
