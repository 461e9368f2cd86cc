//! How far the outputs of a quantized model are from those of the original on samples that were held back: no labels needed.
//! Probabilities are compared by Kullback-Leibler divergence, everything else by noise over signal. Knows executors by their trait.

use plimsoll_onnx::{DType, Model, Tensor};
use plimsoll_runtime::LoadOptions;

use super::{Part, Runs};
use crate::{Context, Refusal};

/// The outputs of the original on the runs that were held back.
pub(crate) struct Judge<'j> {
    context: &'j Context<'j>,
    runs: Runs<'j>,
    outputs: Vec<String>,
    /// By run, then by output.
    expected: Vec<Vec<Vec<f32>>>,
    /// Length of the last axis where the output holds probabilities.
    classes: Vec<Option<usize>>,
}

impl<'j> Judge<'j> {
    /// Runs the original; `None` where no output is float32.
    pub(crate) fn of(model: &Model, context: &'j Context<'j>, runs: Runs<'j>) -> Result<Option<Self>, Refusal> {
        let outputs = Self::outputs_of(model);
        if outputs.is_empty() {
            return Ok(None);
        }
        let unjudged = Self { context, runs, outputs, expected: Vec::new(), classes: Vec::new() };
        let tensors = unjudged.run(model)?;
        Self::new(context, unjudged.runs, unjudged.outputs, &tensors)
    }

    /// The outputs that are compared.
    pub(crate) fn outputs_of(model: &Model) -> Vec<String> {
        let float = |o: &plimsoll_onnx::ValueSpec| o.dtype == Some(DType::F32);
        model.outputs().into_iter().filter(float).map(|o| o.name).collect()
    }

    /// From the original's outputs in these runs, by run, then by output; `None` where no output is float32.
    pub(crate) fn new(
        context: &'j Context<'j>,
        runs: Runs<'j>,
        outputs: Vec<String>,
        tensors: &[Vec<Tensor>],
    ) -> Result<Option<Self>, Refusal> {
        if outputs.is_empty() {
            return Ok(None);
        }
        let mut judge = Self { context, runs, outputs, expected: Vec::new(), classes: Vec::new() };
        judge.classes = (0..judge.outputs.len())
            .map(|o| {
                let classes = tensors.first()?.get(o)?.shape().last().copied().filter(|c| *c > 1)?;
                tensors.iter().filter_map(|run| run.get(o)).all(|t| probabilities(t, classes)).then_some(classes)
            })
            .collect();
        let floats = |run: &Vec<Tensor>| run.iter().map(Tensor::to_f32).collect::<Result<Vec<_>, _>>();
        judge.expected = tensors.iter().map(floats).collect::<Result<_, _>>()?;
        Ok(Some(judge))
    }

    fn run(&self, model: &Model) -> Result<Vec<Vec<Tensor>>, Refusal> {
        let names: Vec<&str> = self.outputs.iter().map(String::as_str).collect();
        let part = Part::of(model, &names)?;
        let options = LoadOptions::for_inputs(&self.runs.feed(0));
        let parts = self.runs.shared(|span| {
            let mut session = part.load(self.context, &options)?;
            let mut outputs: Vec<Vec<Tensor>> = Vec::with_capacity(span.len());
            session.each(
                span,
                |run| self.runs.feed(run),
                |_, _, mut found| {
                    // An output that is also an input is not computed at all.
                    outputs.push(names.iter().filter_map(|n| found.remove(*n)).collect());
                    Ok(())
                },
            )?;
            Ok(outputs)
        })?;
        Ok(parts.into_iter().flatten().collect())
    }

    /// The distance of a changed model: the mean over outputs of divergence or noise over signal.
    pub(crate) fn distance(&self, model: &Model) -> Result<f64, Refusal> {
        let found = self.run(model)?;
        let mut total = 0.0;
        for (o, classes) in self.classes.iter().enumerate() {
            let (mut noise, mut signal, mut divergence, mut rows) = (0f64, 0f64, 0f64, 0usize);
            for (expected, found) in self.expected.iter().zip(&found) {
                let (Some(expected), Some(found)) = (expected.get(o), found.get(o)) else { continue };
                let found = found.to_f32()?;
                if expected.len() != found.len() {
                    return Ok(f64::INFINITY);
                }
                match *classes {
                    Some(classes) => {
                        rows += expected.len() / classes;
                        divergence += kullback_leibler(expected, &found);
                    }
                    None => {
                        let pairs = expected.iter().zip(&found);
                        noise += pairs.map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum::<f64>();
                        signal += expected.iter().map(|a| f64::from(*a).powi(2)).sum::<f64>();
                    }
                }
            }
            total +=
                if classes.is_some() { divergence / rows.max(1) as f64 } else { noise / signal.max(f64::MIN_POSITIVE) };
        }
        Ok(if total.is_nan() { f64::INFINITY } else { total / self.classes.len().max(1) as f64 })
    }
}

fn probabilities(tensor: &Tensor, classes: usize) -> bool {
    let Ok(values) = tensor.to_f32() else { return false };
    let row = |row: &[f32]| row.iter().all(|v| *v >= 0.0) && (row.iter().sum::<f32>() - 1.0).abs() < 1e-3;
    !values.is_empty() && values.chunks(classes).all(row)
}

/// Σ p ln(p / q), probabilities below one in a million counting as that.
fn kullback_leibler(p: &[f32], q: &[f32]) -> f64 {
    let floor = |v: f32| f64::from(v).max(1e-6);
    p.iter().zip(q).map(|(p, q)| f64::from(*p) * (floor(*p) / floor(*q)).ln()).sum()
}
