//! Whether arrays fit the inputs of a model. Nothing is converted silently.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use plimsoll_onnx::{DType, DimSpec, Tensors, ValueSpec};

use crate::DatasetError;

/// Arrays by name, with dtype and shape; the first axis counts samples.
pub type Arrays<'a> = BTreeMap<&'a str, (DType, &'a [usize])>;

/// Checks names, dtypes and shapes.
pub(crate) fn check(path: &Path, arrays: &Arrays<'_>, inputs: &[ValueSpec]) -> Result<(), DatasetError> {
    for spec in inputs {
        let Some(&(dtype, shape)) = arrays.get(spec.name.as_str()) else {
            let near = nearest(&spec.name, arrays.keys().copied());
            return Err(DatasetError::Missing { path: path.into(), input: spec.name.clone(), near });
        };
        if !fits(dtype, shape, spec) {
            return Err(DatasetError::Mismatch {
                path: path.into(),
                array: spec.name.clone(),
                found: format!("{dtype} {shape:?}"),
                expected: describe(spec),
                remedy: remedy(dtype, shape, spec),
            });
        }
    }
    if let Some(array) = arrays.keys().find(|name| inputs.iter().all(|s| s.name != **name)) {
        let inputs: Vec<&str> = inputs.iter().map(|s| s.name.as_str()).collect();
        return Err(DatasetError::Extra { path: path.into(), array: (*array).into(), inputs: inputs.join(", ") });
    }
    Ok(())
}

/// Refuses infinite values, and NaN but where it stands for missing values, naming array and sample; `first` is the number of the
/// first sample.
pub(crate) fn check_finite(
    path: &Path,
    samples: &Tensors,
    first: usize,
    gaps: &BTreeSet<String>,
) -> Result<(), DatasetError> {
    for (array, tensor) in samples.iter().filter(|(_, t)| t.dtype().is_float()) {
        let values = tensor.to_f64().unwrap_or_default();
        let gaps = gaps.contains(array);
        if let Some(at) = values.iter().position(|v| !(v.is_finite() || (gaps && v.is_nan()))) {
            let stride = values.len() / tensor.shape().first().copied().unwrap_or(1).max(1);
            let (value, sample) = (values[at], first + at / stride.max(1));
            return Err(DatasetError::NotFinite { path: path.into(), array: array.clone(), value, sample });
        }
    }
    Ok(())
}

/// The number of samples, which all arrays, labels and groups must have in common.
pub(crate) fn count(path: &Path, arrays: &Arrays<'_>, others: &[(&str, Option<usize>)]) -> Result<usize, DatasetError> {
    let array_error = |array: &str, reason| DatasetError::Array { path: path.into(), array: array.into(), reason };
    let mut lengths = arrays.iter().map(|(name, (_, shape))| (*name, shape.first().copied().unwrap_or(0)));
    let Some((first, len)) = lengths.next() else {
        return Err(DatasetError::Archive { path: path.into(), reason: "it holds no input array".into() });
    };
    let others = others.iter().filter_map(|(name, n)| Some((*name, (*n)?)));
    if let Some((name, n)) = lengths.chain(others).find(|(_, n)| *n != len) {
        return Err(array_error(name, format!("it holds {n} samples, `{first}` holds {len}")));
    }
    if len == 0 {
        return Err(array_error(first, "it holds no samples".into()));
    }
    if let Some((name, (dtype, _))) = arrays.iter().find(|(_, (dtype, _))| dtype.bits() % 8 != 0) {
        return Err(array_error(name, format!("{dtype} is packed; samples are whole bytes")));
    }
    Ok(len)
}

fn fits(dtype: DType, shape: &[usize], spec: &ValueSpec) -> bool {
    let same = spec.dtype.is_none_or(|d| d == dtype);
    let fixed = |(axis, (d, n)): (usize, (&DimSpec, &usize))| match d {
        // A fixed batch only says how many samples go into one run.
        DimSpec::Fixed(fixed) => axis == 0 || *fixed as usize == *n,
        _ => true,
    };
    let alike = |dims: &Vec<DimSpec>| dims.len() == shape.len() && dims.iter().zip(shape).enumerate().all(fixed);
    same && spec.dims.as_ref().is_none_or(alike)
}

/// What makes the array fit. Nothing is cast silently: rounding and truncation are the user's to decide.
fn remedy(dtype: DType, shape: &[usize], spec: &ValueSpec) -> String {
    let dims = spec.dims.as_deref().unwrap_or(&[]);
    match spec.dtype {
        Some(wanted) if wanted != dtype => {
            format!("convert it before saving: array.astype(\"{wanted}\"), if no information is lost by that")
        }
        _ if dims.len() == shape.len() + 1 => {
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
fn nearest<'n>(name: &str, names: impl Iterator<Item = &'n str>) -> Option<String> {
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
    names.map(|n| (distance(n), n)).min().filter(|(d, n)| *d * 2 <= n.chars().count().max(2)).map(|(_, n)| n.to_owned())
}
