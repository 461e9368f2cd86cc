//! Samples wherever they are: what evaluation needs of them.

use std::{
    collections::{BTreeMap, HashMap},
    ops::ControlFlow,
    path::Path,
};

use plimsoll_onnx::{Digest, DimSpec, Tensors, ValueSpec};
use sha2::{Digest as _, Sha256};

use crate::{
    DatasetError,
    fit::{self, Arrays},
    labels::Labels,
};

/// Labelled or unlabelled samples, in memory ([`Dataset`](crate::Dataset)) or in a file ([`Archive`](crate::Archive)).
pub trait Samples: Sync {
    /// Where they came from.
    fn path(&self) -> &Path;
    /// Number of samples; never 0.
    fn count(&self) -> usize;
    /// The inputs' dtypes and shapes; the first axis counts samples.
    fn arrays(&self) -> Arrays<'_>;
    /// Class of each sample.
    fn label(&self) -> Option<&[i64]>;
    /// What a regression should give, row-major, `samples × outputs`.
    fn target(&self) -> Option<&[f64]>;
    /// Group of each sample: those of one group are not independent.
    fn group(&self) -> Option<&[i64]>;
    /// Hands on all samples in order, `size` at a time and fewer in the last, until there are no more or `take` breaks off. Infinite
    /// inputs are refused, and NaN but where it stands for missing values, naming array and sample.
    fn for_each_slice(&self, size: usize, take: &mut dyn FnMut(Tensors) -> ControlFlow<()>)
    -> Result<(), DatasetError>;
    /// The digest of each sample: SHA-256 over (name, dtype, shape without the sample axis, little-endian bytes) of its inputs,
    /// sorted by name.
    fn sample_digests(&self) -> Result<Vec<Digest>, DatasetError>;
    /// The digest of the whole: SHA-256 over the sample digests, labels, groups and targets, in order.
    fn digest(&self) -> Result<Digest, DatasetError>;

    /// Checks names, dtypes and shapes against the inputs of a model. Nothing is converted silently.
    fn check_shapes(&self, inputs: &[ValueSpec]) -> Result<(), DatasetError> {
        fit::check(self.path(), &self.arrays(), inputs)
    }

    /// The first `n` samples, or as many as there are.
    fn first(&self, n: usize) -> Result<Tensors, DatasetError> {
        let mut found = Tensors::new();
        self.for_each_slice(n.max(1), &mut |slice| {
            found = slice;
            ControlFlow::Break(())
        })?;
        Ok(found)
    }

    /// The shapes of inputs for one sample of these: the batch is 1 or what the model fixes it at, every other dimension is that of
    /// the arrays. `None` where an input has no array.
    fn one_sample(&self, inputs: &[ValueSpec]) -> Option<BTreeMap<String, Vec<usize>>> {
        let arrays = self.arrays();
        let shape = |spec: &ValueSpec| {
            let mut shape = arrays.get(spec.name.as_str())?.1.to_vec();
            *shape.first_mut()? = match spec.dims.as_ref().and_then(|d| d.first()) {
                Some(DimSpec::Fixed(n)) => usize::try_from(*n).ok()?,
                _ => 1,
            };
            Some((spec.name.clone(), shape))
        };
        inputs.iter().map(shape).collect()
    }
}

/// Positions of samples that stand in both sets, as (here, there), by the digests of their inputs.
pub fn overlap(here: &dyn Samples, there: &dyn Samples) -> Result<Vec<(usize, usize)>, DatasetError> {
    Ok(shared(here.sample_digests()?, there.sample_digests()?))
}

pub(crate) fn shared(here: Vec<Digest>, there: Vec<Digest>) -> Vec<(usize, usize)> {
    let there: HashMap<Digest, usize> = there.into_iter().enumerate().map(|(i, d)| (d, i)).collect();
    here.into_iter().enumerate().filter_map(|(i, d)| there.get(&d).map(|&j| (i, j))).collect()
}

/// The digests of the samples of a slice.
pub(crate) fn digests(slice: &Tensors, len: usize) -> Vec<Digest> {
    let digest = |i: usize| {
        let mut hasher = Sha256::new();
        for (name, t) in slice {
            let stride = t.bytes().len() / len;
            hasher.update((name.len() as u64).to_le_bytes());
            hasher.update(name.as_bytes());
            hasher.update(t.dtype().name().as_bytes());
            hasher.update((t.shape().len() as u64 - 1).to_le_bytes());
            t.shape()[1..].iter().for_each(|&d| hasher.update((d as u64).to_le_bytes()));
            hasher.update(&t.bytes()[i * stride..(i + 1) * stride]);
        }
        Digest(hasher.finalize().into())
    };
    (0..len).map(digest).collect()
}

/// The digest of samples with what is known of them.
pub(crate) fn digest(samples: &[Digest], labels: &Labels) -> Digest {
    let mut hasher = Sha256::new();
    samples.iter().for_each(|d| hasher.update(d.0));
    labels.hash_into(&mut hasher);
    Digest(hasher.finalize().into())
}
