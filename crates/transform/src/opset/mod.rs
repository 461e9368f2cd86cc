//! Raising the imported operator set, one upgrader an operator; and lowering it, as far as that is exact (`down`).
//!
//! A model keeps its results: an operator whose meaning did not change between the two versions stays as it is, one whose form
//! changed is rewritten by its upgrader, and one that is not known here, or whose old meaning has no new form, is refused with
//! the reason. What changed is taken from the operator schemas of ONNX 1.17 (versions 7 to 21 of the default domain). This
//! module must not know what needs the newer operator set, nor run anything.

mod axes;
mod down;
mod layers;
mod scope;
mod softmax;
mod table;

#[cfg(test)]
mod tests;

use plimsoll_onnx::{Model, Patch, node, proto::NodeProto};

use crate::{Context, Effect, Pass, Refusal};
use scope::Scope;

/// The oldest version that is raised.
pub const OLDEST: i64 = 7;
/// The newest version that is known here.
pub const NEWEST: i64 = 21;

pub use down::lower;

/// The model in at least a version of the default operator set; why not, where there is no way.
pub(crate) fn raised(model: &Model, to: i64) -> Result<Model, String> {
    let mut patch = Patch::new();
    raise(model, model.opset("").unwrap_or(1), to, &mut patch)?;
    let mut raised = model.clone();
    patch.apply(&mut raised).map_err(|e| e.to_string())?;
    Ok(raised)
}

/// Raises the default operator set to at least a version; a model that imports it already stays as it is.
#[derive(Debug, Clone, Copy)]
pub struct RaiseOpset {
    /// The version.
    pub to: i64,
}

impl Pass for RaiseOpset {
    fn name(&self) -> &'static str {
        "raise-opset"
    }

    fn effect(&self) -> Effect {
        Effect::Exact
    }

    fn run(&self, model: &Model, _: &Context<'_>) -> Result<Patch, Refusal> {
        let from = model.opset("").unwrap_or(1);
        if from >= self.to {
            return Err(Refusal::NoMatch);
        }
        let mut patch = Patch::new();
        raise(model, from, self.to, &mut patch).map_err(Refusal::CheckFailed)?;
        Ok(patch)
    }
}

/// Makes sure that the model imports at least this version, raising it in the patch where no node has to be rewritten for that.
/// A patch that rewrites nodes cannot be joined with one that quantizes the same nodes; [`RaiseOpset`] goes before, then.
pub(crate) fn require(model: &Model, least: i64, what: &str, patch: &mut Patch) -> Result<(), Refusal> {
    let from = model.opset("").unwrap_or(1);
    if from >= least {
        return Ok(());
    }
    let refuse = |why: String| Refusal::CheckFailed(format!("{what} needs opset {least}, the model has {from}; {why}"));
    let mut raised = Patch::new();
    let rewritten = raise(model, from, least, &mut raised).map_err(refuse)?;
    if let Some(label) = rewritten.first() {
        return Err(refuse(format!("node `{label}` has to be rewritten for that, by the pass raise-opset")));
    }
    patch.set_opset("", least).because(unchanged(from, least));
    Ok(())
}

fn unchanged(from: i64, to: i64) -> String {
    format!("opset raised from {from} to {to}: no operator of the model changed")
}

/// Fills the patch; the nodes that were rewritten, by label.
fn raise(model: &Model, from: i64, to: i64, patch: &mut Patch) -> Result<Vec<String>, String> {
    if !(OLDEST..=NEWEST).contains(&from) || to > NEWEST {
        return Err(format!("from {from} to {to} is not known to be safe, only from {OLDEST} on and up to {NEWEST}"));
    }
    if !model.proto().functions.is_empty() {
        return Err("the model defines functions, whose operators would have to be raised too".into());
    }
    let view = model.view();
    let mut scope = Scope::new(model, &view, from, to);
    let mut rewritten = Vec::new();
    for (id, n) in view.nodes() {
        if let Some(nodes) = upgrade(n, &mut scope)? {
            rewritten.push(node::label(n));
            patch.replace(id, nodes);
        }
    }
    for (name, tensor) in scope.take_constants() {
        patch.set_initializer(&name, &tensor);
    }
    patch.set_opset("", to).because(match rewritten.len() {
        0 => unchanged(from, to),
        n => format!("opset raised from {from} to {to}; nodes rewritten: {n} ({})", rewritten.join(", ")),
    });
    Ok(rewritten)
}

/// A node in its newer form, graphs inside it included; `None` where that is its old form.
fn upgrade(n: &NodeProto, scope: &mut Scope<'_>) -> Result<Option<Vec<NodeProto>>, String> {
    let mut nodes = match node::is_default_domain(&n.domain) {
        true => {
            let named = |why: String| format!("node `{}` ({}): {why}", node::label(n), n.op_type);
            table::upgrader(&n.op_type).ok_or_else(|| named("this operator is not known here".into()))?(n, scope)
                .map_err(named)?
        }
        // Other domains have versions of their own.
        false => None,
    };
    // Only operators that hold graphs have some, and those are not rewritten themselves.
    let holds_graphs = n.attribute.iter().any(|a| a.g.is_some() || !a.graphs.is_empty());
    if holds_graphs && nodes.is_none() {
        let mut changed = n.clone();
        let mut any = false;
        for attribute in &mut changed.attribute {
            for graph in attribute.g.as_mut().into_iter().chain(&mut attribute.graphs) {
                let mut inner = Vec::with_capacity(graph.node.len());
                for old in std::mem::take(&mut graph.node) {
                    match scope.nested(|scope| upgrade(&old, scope))? {
                        Some(new) => {
                            any = true;
                            inner.extend(new);
                        }
                        None => inner.push(old),
                    }
                }
                graph.node = inner;
            }
        }
        nodes = any.then(|| vec![changed]);
    }
    Ok(nodes)
}
