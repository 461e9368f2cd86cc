//! What the docs say is there: every path that they name exists.

use std::{
    fs,
    path::{Path, PathBuf},
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Words in backquotes or link targets that start with a folder of the repository.
fn paths(text: &str) -> Vec<String> {
    let folders = ["crates/", "profiles/", "fixtures/", "benches/", "xtask/", "docs/", ".ci/"];
    let words = text.split(|c: char| c.is_whitespace() || "`()[]<>\"',;".contains(c));
    let clean = |w: &str| w.trim_end_matches('.').split(['#', ':']).next().unwrap_or_default().to_owned();
    // Patterns and placeholders stand for many paths.
    let concrete = |w: &String| !w.contains(['*', '{', '}', '…', '$', '|']);
    words.filter(|w| folders.iter().any(|f| w.starts_with(f))).map(clean).filter(concrete).collect()
}

#[test]
fn a_path_in_the_docs_that_does_not_exist_is_found() {
    let root = root();
    let mut seen = 0;
    for doc in [
        "README.md",
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "fixtures/README.md",
        "profiles/README.md",
        "docs/capacity.md",
        "docs/checking.md",
        "docs/contracts.md",
        "docs/cost.md",
        "docs/devices.md",
        "docs/measuring.md",
        "docs/pruning.md",
        "docs/quantization.md",
        "docs/releasing.md",
        "docs/rollout.md",
    ] {
        let text = fs::read_to_string(root.join(doc)).unwrap_or_else(|e| panic!("{doc}: {e}"));
        for path in paths(&text) {
            assert!(root.join(&path).exists(), "{doc} names {path}, which does not exist");
            seen += 1;
        }
    }
    assert!(seen > 20, "only {seen} paths were found: the test looks at the wrong words");
}

#[test]
fn the_two_commands_of_the_readme_are_those_that_ci_runs() {
    let root = root();
    let readme = fs::read_to_string(root.join("README.md")).unwrap();
    let ci = fs::read_to_string(root.join(".ci/run")).unwrap();
    for command in ["cargo xtask release", "cargo test --release --locked --workspace"] {
        assert!(readme.contains(command) && ci.contains(command), "`{command}` is not in both");
    }
}
