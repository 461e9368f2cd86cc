//! Samples: inputs by name, labels, groups.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Range,
    path::{Path, PathBuf},
};

use plimsoll_onnx::{DType, Digest, DimSpec, Tensor, Tensors, ValueSpec};
use sha2::{Digest as _, Sha256};

use crate::{DatasetError, npy::Array, npz};

/// Labelled or unlabelled samples.
#[derive(Debug, Clone)]
pub struct Dataset {
    path: PathBuf,
    inputs: Tensors,
    label: Option<Vec<i64>>,
    target: Option<Vec<f64>>,
    group: Option<Vec<i64>>,
    len: usize,
}

impl Dataset {
    /// Reads an npz archive. `label` and `group` are reserved; every other array is an input by its name. All arrays have the
    /// same first dimension, which counts samples. A `label` of whole numbers holds classes, one of floats the values that a
    /// regression should give.
    pub fn read_npz(path: &Path) -> Result<Self, DatasetError> {
        let array_error =
            |array: &str, reason: String| DatasetError::Array { path: path.into(), array: array.into(), reason };
        let mut arrays = npz::read(path)?;
        let whole_numbers = |name: &str, array| {
            let wrong = |reason| DatasetError::Codes { path: path.into(), array: name.into(), reason };
            codes(array, name == "group").map_err(wrong)
        };
        let group = arrays.remove("group").map(|array| whole_numbers("group", array)).transpose()?;
        let (label, target) = match arrays.remove("label") {
            Some(Array::Numbers(target)) if target.dtype().is_float() => (None, Some(target)),
            Some(array) => (Some(whole_numbers("label", array)?), None),
            None => (None, None),
        };
        let mut inputs = Tensors::new();
        for (name, array) in arrays {
            match array {
                Array::Numbers(tensor) if !tensor.shape().is_empty() => inputs.insert(name, tensor),
                Array::Numbers(_) => {
                    return Err(array_error(&name, "it is a scalar; the first axis must count samples".into()));
                }
                Array::Texts(_) => return Err(array_error(&name, "it holds texts".into())),
            };
        }
        let data = Self::new(path, inputs, label, group)?;
        match target {
            Some(target) => data.with_target(target.to_f64().map_err(|e| array_error("label", e.to_string()))?),
            None => Ok(data),
        }
    }

    /// Samples from memory; `path` names them in messages.
    pub fn new(
        path: &Path,
        inputs: Tensors,
        label: Option<Vec<i64>>,
        group: Option<Vec<i64>>,
    ) -> Result<Self, DatasetError> {
        let array_error =
            |array: &str, reason: String| DatasetError::Array { path: path.into(), array: array.into(), reason };
        let mut lengths = inputs.iter().map(|(name, t)| (name.as_str(), t.shape().first().copied().unwrap_or(0)));
        let Some((first, len)) = lengths.next() else {
            let reason = "it holds no input array".into();
            return Err(DatasetError::Archive { path: path.into(), reason });
        };
        let others = [("label", &label), ("group", &group)];
        let others = others.iter().filter_map(|(n, a)| a.as_ref().map(|a| (*n, a.len())));
        if let Some((name, n)) = lengths.chain(others).find(|(_, n)| *n != len) {
            return Err(array_error(name, format!("it holds {n} samples, `{first}` holds {len}")));
        }
        if len == 0 {
            return Err(array_error(first, "it holds no samples".into()));
        }
        if let Some((name, t)) = inputs.iter().find(|(_, t)| t.dtype().bits() % 8 != 0) {
            return Err(array_error(name, format!("{} is packed; samples are whole bytes", t.dtype())));
        }
        Ok(Self { path: path.into(), inputs, label, target: None, group, len })
    }

    /// The same samples with what a regression should give for them, row-major, as many values a sample as the model has outputs.
    pub fn with_target(self, target: Vec<f64>) -> Result<Self, DatasetError> {
        let wrong = |reason| DatasetError::Codes { path: self.path.clone(), array: "label".into(), reason };
        if target.is_empty() || !target.len().is_multiple_of(self.len) {
            return Err(wrong(format!("it holds {} values for {} samples", target.len(), self.len)));
        }
        if let Some(at) = target.iter().position(|v| !v.is_finite()) {
            return Err(wrong(format!("it holds {} for sample {}", target[at], at / (target.len() / self.len))));
        }
        Ok(Self { target: Some(target), ..self })
    }

    /// Where the samples came from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Number of samples.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Never: a data set has samples.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The inputs, all samples.
    pub fn inputs(&self) -> &Tensors {
        &self.inputs
    }

    /// Class of each sample.
    pub fn label(&self) -> Option<&[i64]> {
        self.label.as_deref()
    }

    /// What a regression should give, row-major, `samples × outputs`.
    pub fn target(&self) -> Option<&[f64]> {
        self.target.as_deref()
    }

    /// Class of each sample, or an error that says there are none.
    pub fn labels(&self) -> Result<&[i64], DatasetError> {
        self.label().ok_or_else(|| DatasetError::NoLabels(self.path.clone()))
    }

    /// Group of each sample: those of one group are not independent.
    pub fn group(&self) -> Option<&[i64]> {
        self.group.as_deref()
    }

    /// The samples of a range, clipped to what is there.
    pub fn batch(&self, range: Range<usize>) -> Tensors {
        let range = range.start.min(self.len)..range.end.min(self.len);
        let cut = |t: &Tensor| {
            let stride = t.bytes().len() / self.len;
            let mut shape = t.shape().to_vec();
            shape[0] = range.len();
            Tensor::new(t.dtype(), shape, t.bytes()[range.start * stride..range.end * stride].to_vec())
        };
        // Whole-byte dtypes only come out of npz files, so that a cut cannot fail.
        self.inputs.iter().filter_map(|(name, t)| Some((name.clone(), cut(t).ok()?))).collect()
    }

    /// One sample as a batch of one; the last one where `index` lies beyond the end.
    pub fn sample(&self, index: usize) -> Tensors {
        let index = index.min(self.len - 1);
        self.batch(index..index + 1)
    }

    /// The first `n` samples.
    pub fn take(&self, n: usize) -> Self {
        let n = n.clamp(1, self.len);
        let first = |v: &Option<Vec<i64>>| v.as_ref().map(|v| v[..n].to_vec());
        Self {
            path: self.path.clone(),
            inputs: self.batch(0..n),
            label: first(&self.label),
            target: self.target.as_ref().map(|t| t[..n * (t.len() / self.len)].to_vec()),
            group: first(&self.group),
            len: n,
        }
    }

    /// The shapes of inputs for one sample of these: the batch is 1 or what the model fixes it at, every other dimension is that of
    /// the arrays. `None` where an input has no array.
    pub fn one_sample(&self, inputs: &[ValueSpec]) -> Option<BTreeMap<String, Vec<usize>>> {
        let shape = |spec: &ValueSpec| {
            let mut shape = self.inputs.get(&spec.name)?.shape().to_vec();
            *shape.first_mut()? = match spec.dims.as_ref().and_then(|d| d.first()) {
                Some(DimSpec::Fixed(n)) => usize::try_from(*n).ok()?,
                _ => 1,
            };
            Some((spec.name.clone(), shape))
        };
        inputs.iter().map(shape).collect()
    }

    /// Checks names, dtypes, shapes and finiteness against the inputs of a model. Nothing is converted silently.
    pub fn check_against(&self, inputs: &[ValueSpec]) -> Result<(), DatasetError> {
        let path = || self.path.clone();
        for spec in inputs {
            let Some(tensor) = self.inputs.get(&spec.name) else {
                let near = nearest(&spec.name, self.inputs.keys());
                return Err(DatasetError::Missing { path: path(), input: spec.name.clone(), near });
            };
            if !fits(tensor, spec) {
                return Err(DatasetError::Mismatch {
                    path: path(),
                    array: spec.name.clone(),
                    found: format!("{} {:?}", tensor.dtype(), tensor.shape()),
                    expected: describe(spec),
                    remedy: remedy(tensor, spec),
                });
            }
        }
        if let Some(array) = self.inputs.keys().find(|name| inputs.iter().all(|s| s.name != **name)) {
            let inputs: Vec<&str> = inputs.iter().map(|s| s.name.as_str()).collect();
            return Err(DatasetError::Extra { path: path(), array: array.clone(), inputs: inputs.join(", ") });
        }
        self.check_finite()
    }

    /// Refuses NaN and infinite inputs, naming array and sample.
    fn check_finite(&self) -> Result<(), DatasetError> {
        for (array, tensor) in self.inputs.iter().filter(|(_, t)| t.dtype().is_float()) {
            let values = tensor.to_f64().unwrap_or_default();
            if let Some(at) = values.iter().position(|v| !v.is_finite()) {
                let sample = at / (values.len() / self.len).max(1);
                return Err(DatasetError::NotFinite {
                    path: self.path.clone(),
                    array: array.clone(),
                    value: values[at],
                    sample,
                });
            }
        }
        Ok(())
    }

    /// The digest of each sample: SHA-256 over (name, dtype, shape without the sample axis, little-endian bytes) of its inputs,
    /// sorted by name.
    pub fn sample_digests(&self) -> Vec<Digest> {
        let digest = |i: usize| {
            let mut hasher = Sha256::new();
            for (name, t) in &self.inputs {
                let stride = t.bytes().len() / self.len;
                hasher.update((name.len() as u64).to_le_bytes());
                hasher.update(name.as_bytes());
                hasher.update(t.dtype().name().as_bytes());
                hasher.update((t.shape().len() as u64 - 1).to_le_bytes());
                t.shape()[1..].iter().for_each(|&d| hasher.update((d as u64).to_le_bytes()));
                hasher.update(&t.bytes()[i * stride..(i + 1) * stride]);
            }
            Digest(hasher.finalize().into())
        };
        (0..self.len).map(digest).collect()
    }

    /// The digest of the whole: SHA-256 over the sample digests, labels, groups and targets, in order.
    pub fn digest(&self) -> Digest {
        let mut hasher = Sha256::new();
        self.sample_digests().iter().for_each(|d| hasher.update(d.0));
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
        Digest(hasher.finalize().into())
    }

    /// Positions of samples that stand in both sets, as (here, there).
    pub fn overlap(&self, other: &Self) -> Vec<(usize, usize)> {
        let there: HashMap<Digest, usize> =
            other.sample_digests().into_iter().enumerate().map(|(i, d)| (d, i)).collect();
        let here = self.sample_digests().into_iter().enumerate();
        here.filter_map(|(i, d)| there.get(&d).map(|&j| (i, j))).collect()
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

fn fits(tensor: &Tensor, spec: &ValueSpec) -> bool {
    let dtype = spec.dtype.is_none_or(|d| d == tensor.dtype());
    let fixed = |(axis, (d, n)): (usize, (&DimSpec, &usize))| match d {
        // A fixed batch only says how many samples go into one run.
        DimSpec::Fixed(fixed) => axis == 0 || *fixed as usize == *n,
        _ => true,
    };
    let shape = spec.dims.as_ref().is_none_or(|dims| {
        dims.len() == tensor.shape().len() && dims.iter().zip(tensor.shape()).enumerate().all(fixed)
    });
    dtype && shape
}

/// What makes the array fit. Nothing is cast silently: rounding and truncation are the user's to decide.
fn remedy(tensor: &Tensor, spec: &ValueSpec) -> String {
    let dims = spec.dims.as_deref().unwrap_or(&[]);
    match spec.dtype {
        Some(dtype) if dtype != tensor.dtype() => {
            format!("convert it before saving: array.astype(\"{dtype}\"), if no information is lost by that")
        }
        _ if dims.len() == tensor.shape().len() + 1 => {
            "the array has one axis too few: the first axis counts samples, the others are the input's own".into()
        }
        _ => "reshape or transpose it before saving; the first axis counts samples".into(),
    }
}

fn describe(spec: &ValueSpec) -> String {
    let dtype = spec.dtype.map_or("of no known dtype", DType::name);
    let dims = spec.dims.iter().flatten().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    format!("{dtype} [{dims}]")
}

/// The name with the fewest edits, where these are fewer than half of its letters.
fn nearest<'n>(name: &str, names: impl Iterator<Item = &'n String>) -> Option<String> {
    let distance = |other: &str| {
        let other: Vec<char> = other.chars().collect();
        let mut row: Vec<usize> = (0..=other.len()).collect();
        for (i, a) in name.chars().enumerate() {
            let mut diagonal = std::mem::replace(&mut row[0], i + 1);
            for (j, b) in other.iter().enumerate() {
                let cost = diagonal + usize::from(a != *b);
                diagonal = row[j + 1];
                row[j + 1] = cost.min(row[j] + 1).min(diagonal + 1);
            }
        }
        row[other.len()]
    };
    names.map(|n| (distance(n), n)).min().filter(|(d, n)| *d * 2 <= n.chars().count().max(2)).map(|(_, n)| n.clone())
}
