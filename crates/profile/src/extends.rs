//! The files that a file extends: found one after the other, each once.
//!
//! This file must not know what the files say apart from `schema` and `extends`.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use toml::de::DeTable;

use crate::{
    error::Problem,
    reader::{self, Problems, shortened},
    source::{Source, Span, Spanned},
    spec::resolve,
};

/// Files in a row, at most: nobody keeps track of more.
const MOST: usize = 8;

/// What reads the text of an extended file, or says why it cannot.
pub(crate) type Load<'l> = &'l dyn Fn(&Path) -> Result<String, String>;

/// The text of a file that a human wrote, or why there is none.
pub fn read_text(path: &Path) -> Result<String, String> {
    let opened = reader::open(path).map(|source| source.text().to_owned());
    opened.map_err(|e| e.problems().first().map(|p| p.message.clone()).unwrap_or_default())
}

/// A file with all that it extends, and what is wrong with the way there.
pub(crate) fn follow(own: Source, load: Load<'_>) -> (Arc<Source>, Problems) {
    let problems = Problems::default();
    let mut found: Vec<Source> = Vec::new();
    let mut offset = 0;
    loop {
        let last = found.last().unwrap_or(&own);
        let (next, wrong) = next(last, offset, found.is_empty());
        wrong.into_iter().for_each(|problem| problems.add(problem));
        let Some(next) = next else { break };
        let at = |message: String| Problem::at(next.span, message);
        let path = resolve(last, next.clone()).path;
        let before: Vec<&Path> = std::iter::once(&own).chain(&found).map(Source::path).collect();
        if let Some(start) = before.iter().position(|p| *p == path) {
            let names: Vec<String> = before.iter().skip(start).map(|p| p.display().to_string()).collect();
            let problem = at(format!("the file extends itself: {} → {}", names.join(" → "), path.display()));
            problems.add(problem.help("take one of these `extends` out"));
            break;
        }
        if before.len() >= MOST {
            problems
                .add(at(format!("this is the {MOST}th file in a row that extends another")).help("join some of them"));
            break;
        }
        match load(&path) {
            Ok(text) => {
                offset += last.text().len() + 1;
                found.push(Source::new(path, text));
            }
            Err(why) => {
                let problem = at(format!("`{}` cannot be extended: {why}", shortened(&next.value)));
                problems.add(problem.help("paths are relative to the folder of the file that names them"));
                break;
            }
        }
    }
    (Arc::new(own.extending(found)), problems)
}

/// The paths of all files that a file extends, as far as they can be read.
pub(crate) fn paths(path: &Path, load: Load<'_>) -> Vec<PathBuf> {
    let Ok(text) = load(path) else { return Vec::new() };
    let (source, _) = follow(Source::new(path, text), load);
    source.files().skip(1).map(|f| f.path().to_owned()).collect()
}

/// What a file extends, and what is wrong with how it says so. `own`: the file that is read, whose reader looks at `schema` itself.
fn next(source: &Source, offset: usize, own: bool) -> (Option<Spanned<String>>, Vec<Problem>) {
    let (tree, errors) = DeTable::parse_recoverable(source.text());
    let tree = tree.get_ref();
    let shift = |span: std::ops::Range<usize>| Span { start: span.start + offset, end: span.end + offset };
    let mut problems = Vec::new();
    // Broken syntax is told by whoever reads the file.
    let is_one = |v: &toml::Spanned<reader::Value<'_>>| v.get_ref().as_integer().is_some_and(|i| i.as_str() == "1");
    if !own && errors.is_empty() && !tree.get("schema").is_some_and(is_one) {
        let span = tree.get("schema").map_or(Span { start: offset, end: offset }, |v| shift(v.span()));
        let problem = Problem::at(span, "an extended file does not say `schema = 1`");
        problems.push(problem.help("write `schema = 1` in its first line; this version reads no other"));
    }
    let Some(value) = tree.get("extends") else { return (None, problems) };
    let span = shift(value.span());
    match value.get_ref().as_str().map(str::trim) {
        Some(written) if !written.is_empty() && !written.chars().any(char::is_control) => {
            (Some(Spanned { value: written.to_owned(), span }), problems)
        }
        _ => {
            let problem = Problem::at(span, "this names no file");
            problems.push(problem.help("write the path of another profile, such as extends = \"device.toml\""));
            (None, problems)
        }
    }
}
