//! What a release ships for its devices: inputs drawn from the distribution of the samples, their outputs, and the quantiles of both.

use std::{collections::BTreeMap, ops::ControlFlow};

use plimsoll_device::{Reference, distributions};
use plimsoll_onnx::{Model, Tensor, Tensors};
use plimsoll_runtime::LoadOptions;

use crate::{failure::Failure, manual::Code, project::Project, world::World};

/// Samples that the distributions are of.
const SAMPLES: usize = 512;
/// Inputs that devices run before a swap.
const CASES: usize = 4;

/// Files of the payload, by path in it; none where the spec names no samples. The test data are left alone: they judge.
pub(crate) fn files(world: &World, project: &Project, model: &Model) -> Result<BTreeMap<String, Vec<u8>>, Failure> {
    let sets = project.sets();
    let Some((_, set)) = sets.iter().find(|(name, _)| *name != "test") else { return Ok(BTreeMap::new()) };
    // From all over the set: its order is often that of nights, or of patients.
    let every = set.count().div_ceil(SAMPLES);
    let (mut samples, mut at, mut failed) = (Vec::new(), 0usize, None);
    set.for_each_slice(64, &mut |slice| match each(&slice) {
        Ok(slice) => {
            samples.extend(slice.into_iter().filter(|_| {
                at += 1;
                (at - 1).is_multiple_of(every)
            }));
            ControlFlow::Continue(())
        }
        Err(e) => {
            failed = Some(e);
            ControlFlow::Break(())
        }
    })?;
    if let Some(e) = failed {
        return Err(e);
    }
    let Some(first) = samples.first() else { return Ok(BTreeMap::new()) };
    let mut session = world.executor()?.load(&model.to_bytes()?, &LoadOptions::for_inputs(first))?;
    let outputs = samples.iter().map(|s| session.run(s)).collect::<Result<Vec<_>, _>>()?;
    let made = Reference::make(&mut *session, first, distributions(&samples, &outputs), CASES)?;
    made.files().map_err(internal)
}

fn internal(reason: String) -> Failure {
    Failure::new(Code::Internal, format!("failed to write reference inputs: {reason}"))
}

/// Samples of a batch, one by one.
pub(crate) fn each(batch: &Tensors) -> Result<Vec<Tensors>, Failure> {
    let count = batch.values().next().and_then(|t| t.shape().first().copied()).unwrap_or(0);
    let one = |i: usize| {
        let take = |(name, t): (&String, &Tensor)| {
            let width = t.bytes().len() / count;
            let bytes = t.bytes().get(i * width..(i + 1) * width).unwrap_or_default().to_vec();
            let shape = std::iter::once(1).chain(t.shape().iter().skip(1).copied()).collect();
            Tensor::new(t.dtype(), shape, bytes).map(|t| (name.clone(), t)).map_err(|e| internal(e.to_string()))
        };
        batch.iter().map(take).collect()
    };
    (0..count).map(one).collect()
}
