//! Every command of the README's tour is run, and ends as the README says.

mod common;

use std::{fs, path::Path};

use common::{plimsoll_in, root, write_digits};

/// Lines `$ cargo xtask …` or `$ plimsoll …` with the exit code that a comment behind them names, 0 otherwise.
fn commands(text: &str) -> Vec<(Vec<&str>, i32)> {
    let lines = text.lines().filter_map(|l| l.strip_prefix("$ cargo xtask ").or_else(|| l.strip_prefix("$ plimsoll ")));
    let parse = |line: &'_ str| -> (usize, i32) {
        match line.split_once("  # ends with ") {
            Some((command, code)) => (command.len(), code.trim().parse().unwrap()),
            None => (line.len(), 0),
        }
    };
    lines.map(|l| (l[..parse(l).0].split_whitespace().collect(), parse(l).1)).collect()
}

/// The code that a command ended with, or the `expected` one where it ended inconclusive: whether a busy machine's times settle something,
/// and whether the test data show what the validation data promise, is not up to the command.
fn ended(output: &std::process::Output, expected: i32) -> i32 {
    output.status.code().filter(|c| *c != 102).unwrap_or(expected)
}

#[cfg(unix)]
#[test]
fn a_command_of_the_manual_of_the_search_that_does_not_work_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    for name in ["docs", "fixtures", "profiles"] {
        std::os::unix::fs::symlink(root().join(name), here.join(name)).unwrap();
    }
    let commands_of = fs::read_to_string(root().join("docs/searching.md")).unwrap();
    let commands = commands(&commands_of);
    assert!(commands.len() >= 6, "only {} commands were found", commands.len());
    for (arguments, code) in commands {
        let output = plimsoll_in(here, &arguments);
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!(ended(&output, code), code, "{}\n{err}", arguments.join(" "));
    }
    let [one, again] = ["candidates", "again"].map(|d| fs::read(here.join(d).join("winner.onnx")).unwrap());
    assert_eq!(one, again);
}

#[cfg(unix)]
#[test]
fn a_command_of_the_manual_of_contracts_that_does_not_work_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    for name in ["docs", "fixtures"] {
        std::os::unix::fs::symlink(root().join(name), here.join(name)).unwrap();
    }
    let manual = fs::read_to_string(root().join("docs/contracts.md")).unwrap();
    let commands = commands(&manual);
    assert!(commands.len() >= 4, "only {} commands were found", commands.len());
    for (arguments, code) in commands {
        let output = plimsoll_in(here, &arguments);
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{}\n{err}", arguments.join(" "));
    }
}

/// From a repository that is made to a channel that is halted, by the keys of a release's own; `oci://` is `.ci/registry.py`'s.
#[test]
fn a_command_of_the_manual_of_releasing_that_does_not_work_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    write_digits(here, "1.0.0");
    let manual = fs::read_to_string(root().join("docs/releasing.md")).unwrap();
    let commands: Vec<_> = commands(&manual).into_iter().filter(|(c, _)| !c.concat().contains("oci://")).collect();
    assert!(commands.len() >= 10, "only {} commands were found", commands.len());
    for (arguments, code) in commands {
        // What stands for something of the reader's.
        let filled = [
            ("RELEASE_DIR", ".plimsoll/releases/digits-1.0.0"),
            ("REPOSITORY", "production"),
            ("KEYS", "keys"),
            ("SPEC", "plimsoll.toml"),
            ("GATE", "any"),
        ];
        let fill = |a: &str| filled.iter().fold(a.to_owned(), |a, (name, value)| a.replace(name, value));
        let arguments: Vec<String> = arguments.into_iter().map(fill).collect();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let output = plimsoll_in(here, &arguments);
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{}\n{err}", arguments.join(" "));
    }
}

#[cfg(unix)]
#[test]
fn a_command_of_the_readme_that_does_not_work_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    for name in ["docs", "fixtures", "profiles"] {
        std::os::unix::fs::symlink(root().join(name), here.join(name)).unwrap();
    }
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let commands = commands(&readme);
    assert!(commands.len() > 15, "only {} commands were found", commands.len());
    for (arguments, code) in commands {
        let output = plimsoll_in(here, &arguments);
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(ended(&output, code), code, "{}\n{out}\n{err}", arguments.join(" "));
    }
    for made in
        ["simple.onnx", "int8.onnx", "pruned.onnx", "candidates/winner.onnx", "candidates/report.html", "mine.toml"]
    {
        assert!(Path::new(here).join(made).is_file(), "{made} is not there");
    }
}
