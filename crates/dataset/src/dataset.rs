//! Samples in memory: inputs by name, labels, groups.

use std::{
    collections::BTreeSet,
    ops::{ControlFlow, Range},
    path::{Path, PathBuf},
};

use plimsoll_onnx::{Digest, Tensor, Tensors, ValueSpec};

use crate::{
    Archive, DatasetError, Samples,
    fit::{self, Arrays},
    labels::Labels,
    samples,
};

/// Labelled or unlabelled samples.
#[derive(Debug, Clone)]
pub struct Dataset {
    path: PathBuf,
    inputs: Tensors,
    labels: Labels,
    len: usize,
    /// Inputs in which NaN stands for missing values.
    gaps: BTreeSet<String>,
}

impl Dataset {
    /// Reads an npz archive. `label` and `group` are reserved; every other array is an input by its name. All arrays have the
    /// same first dimension, which counts samples. A `label` of whole numbers holds classes, one of floats the values that a
    /// regression should give.
    pub fn read_npz(path: &Path) -> Result<Self, DatasetError> {
        let archive = Archive::open(path)?;
        let (len, mut inputs) = (archive.count(), Tensors::new());
        archive.read(len, &mut |all| {
            inputs = all;
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(Self { path: path.into(), inputs, labels: archive.into_labels(), len, gaps: BTreeSet::new() })
    }

    /// Samples from memory; `path` names them in messages.
    pub fn new(
        path: &Path,
        inputs: Tensors,
        label: Option<Vec<i64>>,
        group: Option<Vec<i64>>,
    ) -> Result<Self, DatasetError> {
        let labels = Labels { label, target: None, group };
        let len = fit::count(path, &arrays(&inputs), &labels.lengths())?;
        Ok(Self { path: path.into(), inputs, labels, len, gaps: BTreeSet::new() })
    }

    /// The same samples, in some inputs of which NaN stands for missing values, and is not refused.
    pub fn with_gaps(self, inputs: impl IntoIterator<Item = String>) -> Self {
        Self { gaps: inputs.into_iter().collect(), ..self }
    }

    /// The same samples with what a regression should give for them, row-major, as many values a sample as the model has outputs.
    pub fn with_target(mut self, target: Vec<f64>) -> Result<Self, DatasetError> {
        self.labels.target = Some(target);
        self.labels.check_target(&self.path, self.len)?;
        Ok(self)
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
        self.labels.label.as_deref()
    }

    /// What a regression should give, row-major, `samples × outputs`.
    pub fn target(&self) -> Option<&[f64]> {
        self.labels.target.as_deref()
    }

    /// Class of each sample, or an error that says there are none.
    pub fn labels(&self) -> Result<&[i64], DatasetError> {
        self.label().ok_or_else(|| DatasetError::NoLabels(self.path.clone()))
    }

    /// Group of each sample: those of one group are not independent.
    pub fn group(&self) -> Option<&[i64]> {
        self.labels.group.as_deref()
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
            labels: Labels {
                label: first(&self.labels.label),
                target: self.labels.target.as_ref().map(|t| t[..n * (t.len() / self.len)].to_vec()),
                group: first(&self.labels.group),
            },
            len: n,
            gaps: self.gaps.clone(),
        }
    }

    /// Checks names, dtypes, shapes and finiteness against the inputs of a model. Nothing is converted silently.
    pub fn check_against(&self, inputs: &[ValueSpec]) -> Result<(), DatasetError> {
        self.check_shapes(inputs)?;
        fit::check_finite(&self.path, &self.inputs, 0, &self.gaps)
    }

    /// As [`Samples::digest`].
    pub fn digest(&self) -> Digest {
        samples::digest(&samples::digests(&self.inputs, self.len), &self.labels)
    }

    /// As [`overlap`](crate::overlap), of samples in memory.
    pub fn overlap(&self, other: &Self) -> Vec<(usize, usize)> {
        let digests = |set: &Self| samples::digests(&set.inputs, set.len);
        samples::shared(digests(self), digests(other))
    }
}

fn arrays(inputs: &Tensors) -> Arrays<'_> {
    inputs.iter().map(|(name, t)| (name.as_str(), (t.dtype(), t.shape()))).collect()
}

impl Samples for Dataset {
    fn path(&self) -> &Path {
        &self.path
    }

    fn count(&self) -> usize {
        self.len
    }

    fn arrays(&self) -> Arrays<'_> {
        arrays(&self.inputs)
    }

    fn label(&self) -> Option<&[i64]> {
        self.label()
    }

    fn target(&self) -> Option<&[f64]> {
        self.target()
    }

    fn group(&self) -> Option<&[i64]> {
        self.group()
    }

    fn for_each_slice(
        &self,
        size: usize,
        take: &mut dyn FnMut(Tensors) -> ControlFlow<()>,
    ) -> Result<(), DatasetError> {
        let size = size.clamp(1, self.len);
        for start in (0..self.len).step_by(size) {
            let slice = self.batch(start..start + size);
            fit::check_finite(&self.path, &slice, start, &self.gaps)?;
            if take(slice).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn sample_digests(&self) -> Result<Vec<Digest>, DatasetError> {
        Ok(samples::digests(&self.inputs, self.len))
    }

    fn digest(&self) -> Result<Digest, DatasetError> {
        Ok(self.digest())
    }
}
