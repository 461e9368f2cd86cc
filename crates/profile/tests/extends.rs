//! Profiles that extend others: what is inherited, and what is wrong is said in the file where it stands.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use plimsoll_profile::{Bound, ConfigError, Metric, Profile};
use proptest::prelude::*;

const HEAD: &str = "schema = 1\nextends = \"../base.toml\"\n";
const BASE: &str = "schema = 1
name = \"base\"
kind = \"device\"
executor = \"tract\"
[hardware]
isa = [\"neon\"]
clock = \"1GHz\"
memory-bandwidth = \"2GB/s\"
macs-per-cycle = { f32 = 4, i8 = 8 }
[budget]
macs = { max = 10, level = \"warn\", tolerance = \"5%\" }
throughput = { min = 5, offline = 7 }
";

fn read(own: &str, others: &[(&str, &str)]) -> Result<Profile, ConfigError> {
    let files: BTreeMap<PathBuf, &str> = others.iter().map(|(path, text)| (PathBuf::from(path), *text)).collect();
    let load = |path: &Path| files.get(path).map(|t| (*t).to_owned()).ok_or_else(|| "there is no such file".to_owned());
    Profile::from_text_among("p/own.toml", own, &load)
}

fn inherited(own: &str) -> Profile {
    read(&format!("{HEAD}{own}"), &[("base.toml", BASE)]).unwrap_or_else(|e| panic!("{}", e.render()))
}

/// What is wrong with a profile and the files around it: each problem shows all that is expected of it.
fn check(own: &str, others: &[(&str, &str)], expected: &[&[&str]]) {
    let error = read(own, others).unwrap_err();
    let rendered = error.render();
    assert_eq!(error.problems().len(), expected.len(), "{rendered}");
    for (one, parts) in rendered.split("\n\n").zip(expected) {
        for part in *parts {
            assert!(one.contains(part), "`{part}` is not in\n{one}");
        }
    }
}

#[test]
fn a_table_is_extended_key_by_key_and_anything_else_is_replaced() {
    let profile = inherited("[hardware]\nclock = \"2GHz\"\nisa = [\"dotprod\"]\nmacs-per-cycle.i8 = 16\n");
    let hardware = &profile.hardware;
    assert_eq!((hardware.clock.unwrap().0, hardware.memory_bandwidth.unwrap().0), (2e9, 2e9));
    assert_eq!((hardware.macs_per_cycle.f32, hardware.macs_per_cycle.i8), (Some(4.0), Some(16.0)));
    assert_eq!(hardware.isa, ["dotprod"]);
}

#[test]
fn a_profile_keeps_its_own_name() {
    assert_eq!(inherited("").name, "own");
    assert_eq!(inherited("name = \"ward\"\n").name, "ward");
}

#[test]
fn a_budget_that_is_overridden_keeps_nothing_of_the_old_one() {
    let profile = inherited("[budget]\nmacs = 20\n");
    let macs = profile.budgets.get(Metric::Macs).unwrap();
    assert_eq!((macs.limits.len(), macs.limits[0].bound), (1, Bound::Max(20.0)));
    assert_eq!((macs.level.name(), macs.tolerance), ("error", 0.0));
    assert!(profile.source.snippet(macs.limits[0].span, "").starts_with(" --> p/own.toml:4:8"));
    // Throughput of one session and of many are two budgets, however they are written.
    let profile = inherited("[budget]\nthroughput.offline = 9\n");
    let bound = |metric| profile.budgets.get(metric).unwrap().limits[0].bound;
    assert_eq!([bound(Metric::Throughput), bound(Metric::ThroughputOffline)], [Bound::Min(5.0), Bound::Min(9.0)]);
}

#[test]
fn a_budget_that_is_inherited_names_the_line_of_the_file_that_sets_it() {
    let profile = inherited("");
    let span = profile.budgets.get(Metric::Macs).unwrap().limits[0].span;
    assert_eq!(profile.source.slice(span), "10");
    assert!(profile.source.snippet(span, "").contains("--> base.toml:11:16"));
}

#[test]
fn problems_of_all_files_come_at_once_each_in_its_file() {
    let base = BASE.replace("clock = \"1GHz\"", "clok = \"1GHz\"").replace("\"2GB/s\"", "\"2GB\"");
    check(
        &format!("{HEAD}[hardware]\ncores = -1\n[budget]\nlatency.estimate = \"1ms\"\n"),
        &[("base.toml", &base)],
        &[
            &["negative", "p/own.toml:4:9"],
            &["`latency.estimate` needs facts", "p/own.toml:6:20", "add `clock`"],
            &["unknown key `clok` in `hardware`", "base.toml:7:1", "did you mean `clock`?"],
            &["no unit `GB`", "base.toml:8:20"],
        ],
    );
}

#[test]
fn a_wrong_budget_is_told_though_another_file_overrides_it() {
    let base = BASE.replace("max = 10", "max = -10");
    check(&format!("{HEAD}[budget]\nmacs = 5\n"), &[("base.toml", &base)], &[&["negative", "base.toml:11:16"]]);
}

#[test]
fn cycles_are_refused_with_the_files_that_make_them() {
    let base = BASE.replace("schema = 1\n", "schema = 1\nextends = \"p/own.toml\"\n");
    let cycle = "the file extends itself: p/own.toml → base.toml → p/own.toml";
    check(HEAD, &[("base.toml", &base)], &[&[cycle, "base.toml:2:11", "take one of these"]]);
    let itself = "schema = 1\nkind = \"device\"\nexecutor = \"tract\"\nextends = \"own.toml\"\n";
    check(itself, &[], &[&["the file extends itself: p/own.toml → p/own.toml"]]);
}

#[test]
fn an_endless_row_of_files_is_refused() {
    let endless = |path: &Path| {
        let n: usize = path.file_stem().unwrap().to_str().unwrap().parse().unwrap();
        Ok(format!("schema = 1\nextends = \"{}.toml\"\n", n + 1))
    };
    let own = BASE.replace("schema = 1\n", "schema = 1\nextends = \"0.toml\"\n");
    let error = Profile::from_text_among("own.toml", &own, &endless).unwrap_err();
    assert!(error.render().contains("the 8th file in a row"), "{}", error.render());
}

#[test]
fn what_cannot_be_extended_says_where_it_was_named() {
    let itself = BASE.replace("schema = 1\n", "schema = 1\nextends = \"absent.toml\"\n");
    check(&itself, &[], &[&["`absent.toml` cannot be extended: there is no such file", "p/own.toml:2:11", "relative"]]);
    for no_file in ["3", "[\"a.toml\"]", "\"\"", "\"a\\u0007\""] {
        let text = BASE.replace("schema = 1\n", &format!("schema = 1\nextends = {no_file}\n"));
        check(&text, &[], &[&["this names no file", "p/own.toml:2:11"]]);
    }
    let other = BASE.replace("schema = 1", "schema = 2");
    check(HEAD, &[("base.toml", &other)], &[&["does not say `schema = 1`", "base.toml:1:10"]]);
    check(HEAD, &[("base.toml", "kind = ")], &[&["no valid TOML", "base.toml:1:"]]);
}

#[test]
fn what_no_file_says_is_missing_in_the_first() {
    check(HEAD, &[("base.toml", "schema = 1\n")], &[&["`kind` is missing", "p/own.toml"], &["`executor` is missing"]]);
}

#[test]
fn files_are_found_beside_the_one_that_names_them() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    fs::create_dir(folder.path().join("p")).unwrap();
    write("p/own.toml", HEAD);
    write("base.toml", "schema = 1\nextends = \"p/root.toml\"\n");
    write("p/root.toml", BASE);
    let path = folder.path().join("p/own.toml");
    assert!(Profile::read(&path).unwrap().hardware.clock.is_some());
    assert_eq!(Profile::extended(&path), [folder.path().join("base.toml"), folder.path().join("p/root.toml")]);
    // As far as it can be followed.
    fs::remove_file(folder.path().join("p/root.toml")).unwrap();
    assert_eq!(Profile::extended(&path), [folder.path().join("base.toml")]);
}

proptest! {
    #[test]
    fn mangled_files_never_panic(at in 0usize..400, cut in 0usize..9, junk in "\\PC{0,8}") {
        let text: Vec<char> = BASE.chars().collect();
        let (a, b) = (at.min(text.len()), (at + cut).min(text.len()));
        let mangled: String = text[..a].iter().copied().chain(junk.chars()).chain(text[b..].iter().copied()).collect();
        if let Err(error) = read(HEAD, &[("base.toml", &mangled)]) {
            prop_assert!(!error.problems().is_empty() && !error.render().is_empty() && !error.to_string().is_empty());
        }
    }
}
