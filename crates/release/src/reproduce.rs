//! A payload that is built again: what was recorded, and where the one on disk differs.

use std::{collections::BTreeMap, path::Path};

use plimsoll_record::{Figures, Recipe, ReleaseRecord, Report};
use plimsoll_trust::{oms::FolderManifest, read_bounded};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{BASELINE, EVIDENCE, PAYLOAD, RECIPE, RECORD, REPORT, ReleaseError};

/// No document of a release is longer.
const LIMIT: u64 = 64 << 20;
/// No file of a release is longer.
const LONGEST: u64 = 4 << 30;

/// What a release records besides its inputs.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// What it is.
    pub record: ReleaseRecord,
    /// How its model was made.
    pub recipe: Recipe,
    /// Its figures.
    pub figures: Figures,
    /// Those of what it was compared with.
    pub baseline: Figures,
    /// What was said of them.
    pub report: Report,
}

/// Reads the records of a release folder.
pub fn recorded(folder: &Path) -> Result<Recorded, ReleaseError> {
    Ok(Recorded {
        record: document(folder, RECORD)?,
        recipe: document(folder, RECIPE)?,
        figures: document(folder, EVIDENCE)?,
        baseline: document(folder, BASELINE)?,
        report: document(folder, REPORT)?,
    })
}

fn document<T: DeserializeOwned>(folder: &Path, name: &str) -> Result<T, ReleaseError> {
    let bytes = read_bounded(&folder.join(PAYLOAD).join(name), LIMIT)?;
    serde_json::from_slice(&bytes)
        .map_err(|e| ReleaseError::Refused { what: format!("{PAYLOAD}/{name}"), reason: e.to_string() })
}

/// The first file that differs, in the order of names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Path in the payload.
    pub file: String,
    /// What differs in it.
    pub what: String,
}

/// Where the payload of a release folder differs from one that was built again; `None` where they are the same, byte for byte.
pub fn difference(folder: &Path, again: &BTreeMap<String, Vec<u8>>) -> Result<Option<Difference>, ReleaseError> {
    let payload = folder.join(PAYLOAD);
    let there = FolderManifest::of_folder(&payload)?;
    let mut names: Vec<&str> = there.files.iter().map(|f| f.path.as_str()).collect();
    names.extend(again.keys().map(String::as_str));
    names.sort_unstable();
    names.dedup();
    for name in names {
        let found = |what: String| Ok(Some(Difference { file: name.into(), what }));
        let Some(built) = again.get(name) else { return found("it is not built again".into()) };
        if there.get(name).is_none() {
            return found("it is built, and is not there".into());
        }
        let bytes = read_bounded(&payload.join(name), LONGEST)?;
        if bytes != *built {
            return found(unlike(&bytes, built));
        }
    }
    Ok(None)
}

/// The first thing in which two files differ: a value of a document, else a line, else a byte.
fn unlike(there: &[u8], again: &[u8]) -> String {
    let document = |bytes| serde_json::from_slice::<Value>(bytes).ok();
    if let (Some(there), Some(again)) = (document(there), document(again))
        && let Some(what) = first(&there, &again, "")
    {
        return what;
    }
    let at = there.iter().zip(again).take_while(|(a, b)| a == b).count();
    let [was, is] = [there, again].map(|bytes| bytes.len());
    match std::str::from_utf8(there) {
        Ok(text) => {
            let line = text.bytes().take(at).filter(|b| *b == b'\n').count() + 1;
            format!("line {line} differs, at byte {at}; it has {was} bytes, built again {is}")
        }
        Err(_) => format!("byte {at} differs; it has {was} bytes, built again {is}"),
    }
}

fn first(there: &Value, again: &Value, at: &str) -> Option<String> {
    let shown = |v: Option<&Value>| {
        let text = v.map_or("nothing".into(), Value::to_string);
        let short: String = text.chars().take(80).collect();
        if short.len() < text.len() { format!("{short}…") } else { short }
    };
    match (there, again) {
        (Value::Object(a), Value::Object(b)) => {
            let mut keys: Vec<&String> = a.keys().chain(b.keys()).collect();
            keys.sort_unstable();
            keys.dedup();
            keys.into_iter().find_map(|key| match (a.get(key), b.get(key)) {
                (Some(x), Some(y)) => first(x, y, &format!("{at}/{key}")),
                (x, y) => Some(format!("{at}/{key} is {}, built again {}", shown(x), shown(y))),
            })
        }
        (Value::Array(a), Value::Array(b)) => (0..a.len().max(b.len())).find_map(|i| match (a.get(i), b.get(i)) {
            (Some(x), Some(y)) => first(x, y, &format!("{at}/{i}")),
            (x, y) => Some(format!("{at}/{i} is {}, built again {}", shown(x), shown(y))),
        }),
        (a, b) if a == b => None,
        (a, b) => Some(format!("{at} is {}, built again {}", shown(Some(a)), shown(Some(b)))),
    }
}

#[cfg(test)]
mod tests {
    use super::unlike;

    fn check(there: &str, again: &str, says: &str) {
        assert_eq!(unlike(there.as_bytes(), again.as_bytes()), says);
    }

    #[test]
    fn the_first_difference_is_named_as_closely_as_the_file_allows() {
        check(r#"{"a":[1,{"b":2}]}"#, r#"{"a":[1,{"b":3}]}"#, "/a/1/b is 2, built again 3");
        check(r#"{"a":[1]}"#, r#"{"a":[1,2]}"#, "/a/1 is nothing, built again 2");
        check(r#"{"a":1}"#, "{}", "/a is 1, built again nothing");
        check("a\nb\nc", "a\nB\nc", "line 2 differs, at byte 2; it has 5 bytes, built again 5");
        // The same document, written otherwise.
        check("{\"a\":1}", "{\"a\": 1}", "line 1 differs, at byte 5; it has 7 bytes, built again 8");
        assert!(unlike(&[0xff, 1, 2], &[0xff, 1, 3]).starts_with("byte 2 differs"));
    }
}
