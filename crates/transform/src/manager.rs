//! The pass manager: order, application, and the proof that exact passes are exact.

use plimsoll_onnx::{Model, PatchError};

use crate::{
    Context, Effect, Pass, Refusal,
    verify::{self, Checked, Difference},
};

/// What one pass did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The pass.
    pub pass: &'static str,
    /// What came of it.
    pub outcome: Outcome,
    /// One line a change.
    pub reasons: Vec<String>,
    /// Nodes before and after.
    pub nodes: [usize; 2],
    /// Bytes of the encoded model before and after.
    pub bytes: [usize; 2],
}

/// What came of a pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Its patch was applied.
    Applied,
    /// There was nothing for it to do.
    NothingToDo,
    /// An exact pass that would not touch this model; a lossy one that refuses is an error instead.
    Refused(String),
}

/// Why a pipeline did not come to its end. The model given is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PipelineError {
    /// The order of the passes contradicts what one of them asks for.
    #[error("pass `{pass}` must stand after `{after}`")]
    Order {
        /// The pass.
        pass: &'static str,
        /// What must stand before it.
        after: &'static str,
    },
    /// A pass that was asked for refused.
    #[error("pass `{pass}` refused: {source}")]
    Refused {
        /// The pass.
        pass: &'static str,
        /// Why.
        source: Refusal,
    },
    /// A pass yielded a patch that breaks the graph: a defect of the pass.
    #[error("pass `{pass}` is defective: {source}")]
    Patch {
        /// The pass.
        pass: &'static str,
        /// What is wrong.
        source: PatchError,
    },
    /// A pass that is declared exact changed the results: a defect of the pass.
    #[error("pass `{pass}` changed the results: {difference}")]
    Differs {
        /// The pass.
        pass: &'static str,
        /// Where, and by how much.
        difference: Difference,
    },
}

impl PipelineError {
    /// What the user can do about it.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Refused { source, .. } => source.help(),
            _ => None,
        }
    }
}

/// Runs a pipeline over a model, `rounds` times at the most, until nothing changes any more; then checks exact passes by running
/// the model before and after them.
pub fn run(
    model: &Model,
    passes: &[&dyn Pass],
    rounds: usize,
    context: &Context<'_>,
) -> Result<(Model, Vec<Step>, Checked), PipelineError> {
    check_order(passes)?;
    let mut current = model.clone();
    let mut steps = Vec::new();
    for _ in 0..rounds.max(1) {
        let before = steps.len();
        for pass in passes {
            steps.push(apply(&mut current, *pass, context)?);
        }
        if steps[before..].iter().all(|s| s.outcome != Outcome::Applied) {
            break;
        }
    }
    let exact = passes.iter().all(|p| p.effect() == Effect::Exact);
    if !exact {
        return Ok((current, steps, Checked::NotChecked("the passes are lossy".into())));
    }
    match verify::same(model, &current, context) {
        Ok(checked) => Ok((current, steps, checked)),
        Err(difference) => Err(culprit(model, passes, rounds, context, difference)),
    }
}

fn check_order(passes: &[&dyn Pass]) -> Result<(), PipelineError> {
    for (i, pass) in passes.iter().enumerate() {
        let late = |name: &&&'static str| passes[i..].iter().any(|p| p.name() == **name);
        if let Some(after) = pass.after().iter().find(late) {
            return Err(PipelineError::Order { pass: pass.name(), after });
        }
    }
    Ok(())
}

fn apply(model: &mut Model, pass: &dyn Pass, context: &Context<'_>) -> Result<Step, PipelineError> {
    let size = |m: &Model| [m.graph().node.len(), m.to_bytes().map_or(0, |b| b.len())];
    let before = size(model);
    let step = |outcome, reasons, after: [usize; 2]| Step {
        pass: pass.name(),
        outcome,
        reasons,
        nodes: [before[0], after[0]],
        bytes: [before[1], after[1]],
    };
    match pass.run(model, context) {
        Ok(patch) if patch.is_empty() => Ok(step(Outcome::NothingToDo, vec![], before)),
        Ok(patch) => {
            let reasons = patch.reasons().to_vec();
            patch.apply(model).map_err(|source| PipelineError::Patch { pass: pass.name(), source })?;
            Ok(step(Outcome::Applied, reasons, size(model)))
        }
        Err(Refusal::NoMatch) if pass.effect() == Effect::Exact => Ok(step(Outcome::NothingToDo, vec![], before)),
        Err(refusal) if pass.effect() == Effect::Exact => {
            Ok(step(Outcome::Refused(refusal.to_string()), vec![], before))
        }
        Err(source) => Err(PipelineError::Refused { pass: pass.name(), source }),
    }
}

/// Runs the pipeline again pass by pass and names the first one after which the results differ.
fn culprit(
    model: &Model,
    passes: &[&dyn Pass],
    rounds: usize,
    context: &Context<'_>,
    difference: Difference,
) -> PipelineError {
    let mut current = model.clone();
    let mut last = passes.last().map_or("none", |p| p.name());
    for pass in (0..rounds.max(1)).flat_map(|_| passes) {
        match apply(&mut current, *pass, context) {
            Err(error) => return error,
            Ok(step) if step.outcome == Outcome::Applied => {
                last = step.pass;
                if let Err(difference) = verify::same(model, &current, context) {
                    return PipelineError::Differs { pass: last, difference };
                }
            }
            Ok(_) => {}
        }
    }
    PipelineError::Differs { pass: last, difference }
}
