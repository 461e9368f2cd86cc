//! The page of a check: written whole or not at all, the same for the same inputs, and proof against what stands in models.

mod common;

use std::fs;

use common::{error, expect, fixture, model, plimsoll_in, value, write_model};
use plimsoll_onnx::{Tensor, node};

const PROFILE: &str = "schema = 1\nkind = \"device\"\nexecutor = \"tract\"\n[budget]\nartifact-size = \"1MiB\"\n";

#[test]
fn the_same_check_gives_the_same_bytes_in_a_file_and_on_stdout() {
    let folder = tempfile::tempdir().unwrap();
    let spec = fixture("digits", "plimsoll.toml");
    let check = ["check", &spec, "--cost-only", "--format", "html"];
    let printed = plimsoll_in(folder.path(), &check);
    let file = folder.path().join("report.html");
    let written = plimsoll_in(folder.path(), &[&check[..], &["-o", "report.html"]].concat());
    assert_eq!(printed.status.code(), written.status.code());
    assert!(written.stdout.is_empty(), "{}", String::from_utf8_lossy(&written.stdout));
    assert_eq!(fs::read(&file).unwrap(), printed.stdout);
    let page = String::from_utf8(printed.stdout).unwrap();
    assert!(page.starts_with("<!DOCTYPE html>") && page.ends_with("</html>\n"));
    for section in ["Load lines", "Cost per node", "Where the figures come from"] {
        assert!(page.contains(section), "{section}");
    }
}

#[test]
fn names_in_a_hostile_model_stay_text() {
    let folder = tempfile::tempdir().unwrap();
    let weight = Tensor::from_elements(&[3, 2], &[1f32; 6]).unwrap();
    let mut first = node::new("MatMul", &["x", "w"], &["h"]);
    first.name = "</td><script>alert(1)</script>\u{202e}".into();
    let mut second = node::new("Relu", &["h"], &["y"]);
    second.name = "\"'><".repeat(2_500);
    let mut proto = model(vec![first, second], vec![weight.to_proto("w")]);
    proto.graph.as_mut().unwrap().input = vec![value("x", &[-1, 3])];
    write_model(folder.path(), "a<b>.onnx", &proto);
    fs::write(folder.path().join("p.toml"), PROFILE).unwrap();
    let page =
        expect(folder.path(), 0, &["check", "a<b>.onnx", "--profile", "p.toml", "--cost-only", "--format", "html"]);
    assert!(page.contains("&lt;script&gt;alert(1)") && page.contains("a&lt;b&gt;.onnx"));
    assert!(!page.contains("<script") && !page.contains('\u{202e}') && !page.contains("a<b>"));
    assert!(page.len() < 100_000, "{}", page.len());
}

#[test]
fn what_cannot_be_checked_is_on_the_page_too() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("bad.toml"), "schema = 1\nnonsense = 2\n").unwrap();
    let page = expect(folder.path(), 96, &["check", "bad.toml", "--cost-only", "--format", "html"]);
    assert!(
        page.contains("What cannot be checked") && page.contains("bad.toml") && page.contains("nonsense"),
        "{page}"
    );
}

#[test]
fn a_report_is_not_written_over_what_is_checked() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("bad.toml"), "schema = 1\n").unwrap();
    let said = error(folder.path(), 96, &["check", "bad.toml", "--cost-only", "--format", "html", "-o", "bad.toml"]);
    assert!(said.contains("it is one of the inputs"), "{said}");
    assert_eq!(fs::read_to_string(folder.path().join("bad.toml")).unwrap(), "schema = 1\n");
}
