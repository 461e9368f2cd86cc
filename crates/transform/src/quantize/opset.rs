//! Raising the imported opset where that is provably without effect on the model. Knows which operators changed, and refuses
//! the rest; rewriting operators for a newer opset is not done here.

use plimsoll_onnx::{Model, Patch, attr, node, proto::NodeProto, subgraphs};

use crate::Refusal;

/// Operators whose meaning, inputs or attributes changed between opset 11 and 13. Everything else there only took in more dtypes.
const CHANGED_BY_13: [&str; 7] = ["Softmax", "LogSoftmax", "Hardmax", "Squeeze", "Unsqueeze", "ReduceSum", "Split"];

/// Makes sure that the model imports at least this opset of the default domain, raising it in the patch where that is safe.
pub(super) fn require(model: &Model, least: i64, what: &str, patch: &mut Patch) -> Result<(), Refusal> {
    let found = model.opset("").unwrap_or(1);
    if found >= least {
        return Ok(());
    }
    let refuse = |why: String| Refusal::CheckFailed(format!("{what} needs opset {least}, the model has {found}{why}"));
    if !(11..13).contains(&found) || least > 13 {
        return Err(refuse("; raising it from there is not known to be safe".into()));
    }
    if !model.proto().functions.is_empty() {
        return Err(refuse("; the model defines functions, whose operators would have to be raised too".into()));
    }
    if let Some(n) = all_nodes(model).find(|n| changed(n)) {
        return Err(refuse(format!("; node `{}` ({}) would mean something else there", node::label(n), n.op_type)));
    }
    patch
        .set_opset("", least)
        .because(format!("opset raised from {found} to {least}: no operator of the model changed"));
    Ok(())
}

fn changed(n: &NodeProto) -> bool {
    CHANGED_BY_13.iter().any(|op| node::is(n, op)) || (node::is(n, "Dropout") && attr::has(n, "ratio"))
}

fn all_nodes(model: &Model) -> impl Iterator<Item = &NodeProto> {
    let mut open: Vec<&NodeProto> = model.graph().node.iter().collect();
    std::iter::from_fn(move || {
        let n = open.pop()?;
        open.extend(subgraphs(n).flat_map(|g| &g.node));
        Some(n)
    })
}
