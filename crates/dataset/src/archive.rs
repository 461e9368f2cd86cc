//! Samples that stay in their npz archive and are read in slices: memory is bounded by a slice, not by the file.
//!
//! Members stored and deflated are both read as a stream, all inputs side by side. An array in Fortran order cannot be cut into
//! samples without its end, and is held whole while it is read. Labels, groups and the digests of samples (32 bytes each) are kept.

use std::{
    collections::BTreeSet,
    io::{Cursor, Read},
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use plimsoll_onnx::{DType, Digest, Tensors};

use crate::{
    DatasetError, Samples,
    fit::{self, Arrays},
    labels::Labels,
    npy::Array,
    npz::{self, Member, of_array},
    samples,
};

/// Labelled or unlabelled samples in an npz archive.
#[derive(Debug)]
pub struct Archive {
    path: PathBuf,
    inputs: Vec<(DType, Member)>,
    labels: Labels,
    len: usize,
    /// Of the samples; known after the first whole pass.
    digests: OnceLock<Vec<Digest>>,
    /// Inputs in which NaN stands for missing values.
    gaps: BTreeSet<String>,
}

impl Archive {
    /// Reads the headers of all arrays, and of the data only the reserved `label` and `group`. What is asked of an archive is told at
    /// [`Dataset::read_npz`](crate::Dataset::read_npz).
    pub fn open(path: &Path) -> Result<Self, DatasetError> {
        let (mut label, mut group) = (None, None);
        let mut inputs = Vec::new();
        for member in npz::members(path)? {
            let wrong = |reason: &str| of_array(path, &member.name, reason.into());
            match (member.name.as_str(), member.header.dtype()) {
                ("label", _) => label = Some(member.whole(path)?),
                ("group", _) => group = Some(member.whole(path)?),
                (_, None) => return Err(wrong("it holds texts")),
                (_, Some(_)) if member.header.shape.is_empty() => {
                    return Err(wrong("it is a scalar; the first axis must count samples"));
                }
                (_, Some(dtype)) => inputs.push((dtype, member)),
            }
        }
        let labels = Labels::new(path, label, group)?;
        let len = fit::count(path, &arrays(&inputs), &labels.lengths())?;
        labels.check_target(path, len)?;
        Ok(Self { path: path.into(), inputs, labels, len, digests: OnceLock::new(), gaps: BTreeSet::new() })
    }

    /// The same samples, in some inputs of which NaN stands for missing values, and is not refused.
    pub fn with_gaps(self, inputs: impl IntoIterator<Item = String>) -> Self {
        Self { gaps: inputs.into_iter().collect(), ..self }
    }

    /// As [`Samples::for_each_slice`], without a look at the values.
    pub(crate) fn read(
        &self,
        size: usize,
        take: &mut dyn FnMut(Tensors) -> Result<ControlFlow<()>, DatasetError>,
    ) -> Result<(), DatasetError> {
        let readers = self.inputs.iter().map(|_| npz::open(&self.path)).collect::<Result<Vec<_>, _>>()?;
        let mut readers = readers;
        let mut sources = Vec::new();
        for ((_, member), reader) in self.inputs.iter().zip(&mut readers) {
            sources.push(if member.header.is_interleaved() {
                let Array::Numbers(whole) = member.whole(&self.path)? else { continue };
                Source { member, data: Box::new(Cursor::new(whole.into_bytes())), converted: true }
            } else {
                Source { member, data: member.data(&self.path, reader)?, converted: false }
            });
        }
        let mut done = 0;
        while done < self.len {
            let now = size.clamp(1, self.len - done);
            let slice = sources.iter_mut().map(|s| s.next(&self.path, now)).collect::<Result<Tensors, _>>()?;
            done += now;
            if take(slice)?.is_break() {
                return Ok(());
            }
        }
        sources.iter_mut().try_for_each(|s| s.member.end(&self.path, &mut s.data))
    }

    pub(crate) fn into_labels(self) -> Labels {
        self.labels
    }
}

fn arrays(inputs: &[(DType, Member)]) -> Arrays<'_> {
    inputs.iter().map(|(dtype, m)| (m.name.as_str(), (*dtype, m.header.shape.as_slice()))).collect()
}

/// An array that is being read.
struct Source<'a> {
    member: &'a Member,
    data: Box<dyn Read + 'a>,
    /// Held whole, as native row-major bytes.
    converted: bool,
}

impl Source<'_> {
    fn next(&mut self, path: &Path, samples: usize) -> Result<(String, plimsoll_onnx::Tensor), DatasetError> {
        let header = &self.member.header;
        let found = if self.converted {
            header.native(&mut self.data, samples)
        } else {
            header.numbers(&mut self.data, samples)
        };
        let tensor = found.map_err(|reason| of_array(path, &self.member.name, reason))?;
        Ok((self.member.name.clone(), tensor))
    }
}

impl Samples for Archive {
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
        self.labels.label.as_deref()
    }

    fn target(&self) -> Option<&[f64]> {
        self.labels.target.as_deref()
    }

    fn group(&self) -> Option<&[i64]> {
        self.labels.group.as_deref()
    }

    fn for_each_slice(
        &self,
        size: usize,
        take: &mut dyn FnMut(Tensors) -> ControlFlow<()>,
    ) -> Result<(), DatasetError> {
        // The first whole pass takes the digests along.
        let mut digests = self.digests.get().is_none().then(|| Vec::with_capacity(self.len.min(1 << 20)));
        let mut first = 0;
        self.read(size, &mut |slice| {
            let len = size.clamp(1, self.len - first);
            fit::check_finite(&self.path, &slice, first, &self.gaps)?;
            if let Some(digests) = &mut digests {
                digests.extend(samples::digests(&slice, len));
            }
            first += len;
            Ok(take(slice))
        })?;
        if let Some(digests) = digests.filter(|d| d.len() == self.len) {
            // Another thread's pass gave the same.
            self.digests.set(digests).ok();
        }
        Ok(())
    }

    fn sample_digests(&self) -> Result<Vec<Digest>, DatasetError> {
        /// Samples a slice.
        const SLICE: usize = 32;
        if self.digests.get().is_none() {
            self.for_each_slice(SLICE, &mut |_| ControlFlow::Continue(()))?;
        }
        Ok(self.digests.get().cloned().unwrap_or_default())
    }

    fn digest(&self) -> Result<Digest, DatasetError> {
        Ok(samples::digest(&self.sample_digests()?, &self.labels))
    }
}
