//! The pass manager: order, application, and the proof that exact passes are exact.

use plimsoll_cost::analyse;
use plimsoll_onnx::{
    Model, PatchError,
    shape::{Bindings, infer},
};

use crate::{
    Context, Effect, Pass, Refusal, quantize,
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
    /// Multiply-accumulates at batch 1 before and after, of the nodes where they are known.
    pub macs: [u64; 2],
    /// Parameters before and after.
    pub params: [u64; 2],
}

/// What a model costs on paper.
#[derive(Debug, Clone, Copy)]
struct Size {
    nodes: usize,
    bytes: usize,
    macs: u64,
    params: u64,
}

impl Size {
    fn of(model: &Model) -> Self {
        let cost = analyse(model, &infer(model, &Bindings::batch(1)));
        Self { nodes: model.graph().node.len(), bytes: model.encoded_len(), macs: cost.macs, params: cost.params }
    }
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
    /// A pass that is declared exact changed the results, or a lossy one left a model that does not run: a defect of the pass,
    /// or (where a model does not run) of the executor.
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
    let mut size = Size::of(model);
    let mut steps = Vec::new();
    for _ in 0..rounds.max(1) {
        let before = steps.len();
        for pass in passes {
            steps.push(apply(&mut current, &mut size, *pass, context)?);
        }
        if steps[before..].iter().all(|s| s.outcome != Outcome::Applied) {
            break;
        }
    }
    let exact = passes.iter().all(|p| p.effect() == Effect::Exact);
    if !exact {
        // What changes by design is not compared; that it still runs is.
        let last = passes.iter().rev().find(|p| p.effect() != Effect::Exact).map_or("none", |p| p.name());
        verify::runs(model, &current, context)
            .map_err(|difference| PipelineError::Differs { pass: last, difference })?;
        let how = if quantize::holds_int4(&current) { "; it runs with its 4-bit weights as float32" } else { "" };
        return Ok((current, steps, Checked::NotChecked(format!("the passes are lossy{how}"))));
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

/// Applies one pass; `size` is that of the model, before and after.
fn apply(model: &mut Model, size: &mut Size, pass: &dyn Pass, context: &Context<'_>) -> Result<Step, PipelineError> {
    let before = *size;
    let mut reasons = Vec::new();
    let outcome = match pass.run(model, context) {
        Ok(patch) if patch.is_empty() => Outcome::NothingToDo,
        Ok(patch) => {
            reasons = patch.reasons().to_vec();
            patch.apply(model).map_err(|source| PipelineError::Patch { pass: pass.name(), source })?;
            *size = Size::of(model);
            Outcome::Applied
        }
        Err(Refusal::NoMatch) if pass.effect() == Effect::Exact => Outcome::NothingToDo,
        Err(refusal) if pass.effect() == Effect::Exact => Outcome::Refused(refusal.to_string()),
        Err(source) => return Err(PipelineError::Refused { pass: pass.name(), source }),
    };
    Ok(Step {
        pass: pass.name(),
        outcome,
        reasons,
        nodes: [before.nodes, size.nodes],
        bytes: [before.bytes, size.bytes],
        macs: [before.macs, size.macs],
        params: [before.params, size.params],
    })
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
    let mut size = Size::of(model);
    let mut last = passes.last().map_or("none", |p| p.name());
    for pass in (0..rounds.max(1)).flat_map(|_| passes) {
        match apply(&mut current, &mut size, *pass, context) {
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

#[cfg(test)]
mod tests {
    use plimsoll_onnx::{Patch, Tensor, node};
    use plimsoll_runtime::TractExecutor;

    use super::*;
    use crate::{
        Ranges,
        testing::{F32, Net},
    };

    /// A pass that does what a test wants it to do.
    struct Fake {
        effect: Effect,
        run: fn(&Model) -> Result<Patch, Refusal>,
    }

    impl Pass for Fake {
        fn name(&self) -> &'static str {
            "fake"
        }
        fn effect(&self) -> Effect {
            self.effect
        }
        fn run(&self, model: &Model, _: &Context<'_>) -> Result<Patch, Refusal> {
            (self.run)(model)
        }
    }

    fn model() -> Model {
        let net = Net::new().input("x", F32, &[-1, 4]).random("w", &[4]).node(node::new("Mul", &["x", "w"], &["m"]));
        net.node(node::new("Relu", &["m"], &["y"])).output("y", F32).build()
    }

    fn check(
        effect: Effect,
        run: fn(&Model) -> Result<Patch, Refusal>,
    ) -> Result<(Model, Vec<Step>, Checked), PipelineError> {
        let ranges = Ranges::from([("x".to_owned(), [-1.0, 1.0])]);
        let context = Context { ranges: Some(&ranges), ..Context::new(&TractExecutor) };
        super::run(&model(), &[&Fake { effect, run }], 1, &context)
    }

    fn halved(model: &Model) -> Result<Patch, Refusal> {
        let view = model.view();
        let weight = Tensor::from_proto(view.initializer("w").unwrap())?.to_vec::<f32>()?;
        let mut patch = Patch::new();
        patch.set_initializer("w", &Tensor::vector(&weight.iter().map(|v| v / 2.0).collect::<Vec<_>>()));
        Ok(patch)
    }

    #[test]
    fn an_exact_pass_that_changes_results_is_named() {
        let error = check(Effect::Exact, halved).unwrap_err();
        assert!(matches!(error, PipelineError::Differs { pass: "fake", .. }), "{error}");
    }

    #[test]
    fn a_lossy_pass_may_change_results_and_says_that_it_was_not_checked() {
        let (changed, steps, checked) = check(Effect::Lossy("halves"), halved).unwrap();
        assert_ne!(changed.digest(), model().digest());
        assert_eq!(steps[0].outcome, Outcome::Applied);
        assert_eq!((steps[0].nodes, steps[0].params), ([2, 2], [4, 4]));
        assert!(matches!(checked, Checked::NotChecked(_)));
    }

    #[test]
    fn a_lossy_pass_must_leave_a_model_that_runs() {
        let odd = |model: &Model| {
            let mut patch = Patch::new();
            let (id, n) = model.view().producer("m").unwrap();
            let mut changed = n.clone();
            changed.op_type = "NoSuchOperator".into();
            patch.replace(id, vec![changed]);
            Ok(patch)
        };
        let error = check(Effect::Lossy("odd"), odd).unwrap_err();
        assert!(matches!(error, PipelineError::Differs { difference: Difference::Run(_), .. }), "{error}");
    }

    #[test]
    fn a_patch_that_breaks_the_graph_or_its_interface_is_a_defect_of_the_pass() {
        let broken = |_: &Model| {
            let mut patch = Patch::new();
            patch.remove(plimsoll_onnx::NodeId(0));
            Ok(patch)
        };
        let error = check(Effect::Lossy("breaks"), broken).unwrap_err();
        assert!(matches!(error, PipelineError::Patch { pass: "fake", source: PatchError::Broken(_) }), "{error}");
        let mut unchanged = model();
        let mut patch = Patch::new();
        patch.remove(plimsoll_onnx::NodeId(0)).drop_initializer("w").set_opset("", 18);
        assert!(patch.apply(&mut unchanged).is_err());
        assert_eq!(unchanged.proto(), model().proto());
    }

    #[test]
    fn refusals_stop_lossy_passes_only() {
        let refuses = |_: &Model| Err(Refusal::CheckFailed("no".into()));
        let error = check(Effect::Lossy("would"), refuses).unwrap_err();
        assert!(matches!(error, PipelineError::Refused { pass: "fake", .. }), "{error}");
        let (_, steps, _) = check(Effect::Exact, refuses).unwrap();
        assert_eq!(steps[0].outcome, Outcome::Refused("no".into()));
        let (_, steps, _) = check(Effect::Exact, |_| Err(Refusal::NoMatch)).unwrap();
        assert_eq!(steps[0].outcome, Outcome::NothingToDo);
    }
}
