//! The reserved arrays: classes or targets, and groups.

use std::{collections::BTreeMap, path::Path};

use sha2::{Digest as _, Sha256};

use crate::{DatasetError, npy::Array};

/// What is known of each sample besides its inputs.
#[derive(Debug, Clone, Default)]
pub(crate) struct Labels {
    pub(crate) label: Option<Vec<i64>>,
    /// Row-major, samples × outputs.
    pub(crate) target: Option<Vec<f64>>,
    pub(crate) group: Option<Vec<i64>>,
}

impl Labels {
    /// Takes the arrays `label` and `group`. A label of whole numbers holds classes, one of floats targets, which are not yet checked.
    pub(crate) fn new(path: &Path, label: Option<Array>, group: Option<Array>) -> Result<Self, DatasetError> {
        let whole_numbers = |name: &str, array| {
            let wrong = |reason| DatasetError::Codes { path: path.into(), array: name.into(), reason };
            codes(array, name == "group").map_err(wrong)
        };
        let group = group.map(|array| whole_numbers("group", array)).transpose()?;
        let (label, target) = match label {
            Some(Array::Numbers(target)) if target.dtype().is_float() => {
                let wrong = |e: String| DatasetError::Codes { path: path.into(), array: "label".into(), reason: e };
                (None, Some(target.to_f64().map_err(|e| wrong(e.to_string()))?))
            }
            Some(array) => (Some(whole_numbers("label", array)?), None),
            None => (None, None),
        };
        Ok(Self { label, target, group })
    }

    /// Refuses targets that are no table of finite numbers, one row a sample.
    pub(crate) fn check_target(&self, path: &Path, len: usize) -> Result<(), DatasetError> {
        let Some(target) = &self.target else { return Ok(()) };
        let wrong = |reason| DatasetError::Codes { path: path.into(), array: "label".into(), reason };
        if target.is_empty() || !target.len().is_multiple_of(len) {
            return Err(wrong(format!("it holds {} values for {len} samples", target.len())));
        }
        if let Some(at) = target.iter().position(|v| !v.is_finite()) {
            return Err(wrong(format!("it holds {} for sample {}", target[at], at / (target.len() / len))));
        }
        Ok(())
    }

    /// How many samples the arrays are of.
    pub(crate) fn lengths(&self) -> [(&'static str, Option<usize>); 2] {
        [("label", self.label.as_ref().map(Vec::len)), ("group", self.group.as_ref().map(Vec::len))]
    }

    pub(crate) fn hash_into(&self, hasher: &mut Sha256) {
        for (tag, values) in [(b"label", &self.label), (b"group", &self.group)] {
            if let Some(values) = values {
                hasher.update(tag);
                values.iter().for_each(|v| hasher.update(v.to_le_bytes()));
            }
        }
        if let Some(target) = &self.target {
            hasher.update(b"target");
            target.iter().for_each(|v| hasher.update(v.to_le_bytes()));
        }
    }
}

/// Whole numbers as they are; texts, where they may be any, numbered in sorted order. Labels may not: which text is which column
/// of the scores is for the user to say, and a set in which one is missing would be numbered otherwise.
fn codes(array: Array, texts_too: bool) -> Result<Vec<i64>, String> {
    match array {
        Array::Numbers(t) if t.shape().len() == 1 && !t.dtype().is_float() => t.to_i64().map_err(|e| e.to_string()),
        Array::Numbers(t) => {
            Err(format!("it is {} {:?}; whole numbers, one a sample, are needed", t.dtype(), t.shape()))
        }
        Array::Texts(_) if !texts_too => Err("it holds texts; whole numbers, one a sample, are needed".into()),
        Array::Texts(texts) => {
            let sorted: BTreeMap<&String, i64> = {
                let mut unique: Vec<&String> = texts.iter().collect();
                unique.sort();
                unique.dedup();
                unique.into_iter().zip(0..).collect()
            };
            Ok(texts.iter().map(|t| sorted[t]).collect())
        }
    }
}
