//! Nodes that multiply by a constant weight, with the place where a bias of theirs lives or could live. Graph reasoning only.

use plimsoll_onnx::{NodeId, Tensor, View, node, proto::NodeProto};

use super::{
    float_constant,
    plan::{Operands, spread},
};
use crate::Refusal;

/// A Conv, Gemm or MatMul with constant operands.
#[derive(Debug)]
pub(super) struct Anchor<'m> {
    /// The node.
    pub(super) id: NodeId,
    /// Its constants.
    pub(super) operands: Operands<'m>,
    /// Where its bias is.
    pub(super) place: BiasPlace,
}

/// Where a bias of a node is.
#[derive(Debug)]
pub(super) enum BiasPlace {
    /// The node's third input, given or not.
    Own,
    /// The constant of the Add that alone reads the node.
    Sum {
        /// The Add.
        node: NodeId,
        /// Which of its inputs is the constant.
        slot: usize,
        /// The shape of the constant.
        shape: Vec<usize>,
        /// Its values, one a channel.
        values: Vec<f32>,
    },
    /// The operator has none, and no Add follows.
    Nowhere,
}

impl<'m> Anchor<'m> {
    /// The node as an anchor; `None` where its operands are not constant or of another form.
    pub(super) fn of(view: &View<'m>, id: NodeId) -> Result<Option<Self>, Refusal> {
        let n = view.node(id);
        let Some(operands) = Operands::of(view, n)? else { return Ok(None) };
        let place = if node::is(n, "MatMul") { after(view, n, operands.channels())? } else { BiasPlace::Own };
        Ok(Some(Self { id, operands, place }))
    }

    /// The bias, one a channel, zeros where there is room for one; `None` where there is none.
    pub(super) fn bias(&self) -> Option<Vec<f32>> {
        match &self.place {
            BiasPlace::Own => Some(self.own_bias()),
            BiasPlace::Sum { values, .. } => Some(values.clone()),
            BiasPlace::Nowhere => None,
        }
    }

    /// What the node itself adds, one a channel.
    pub(super) fn own_bias(&self) -> Vec<f32> {
        self.operands.bias.clone().unwrap_or_else(|| vec![0.0; self.operands.channels()])
    }
}

fn after(view: &View<'_>, n: &NodeProto, channels: usize) -> Result<BiasPlace, Refusal> {
    let user = n.output.first().and_then(|o| view.sole_user(o));
    let Some((id, sum, slot)) = user.filter(|(_, s, _)| node::is(s, "Add") && s.input.len() == 2) else {
        return Ok(BiasPlace::Nowhere);
    };
    let other = 1 - slot.min(1);
    let constant: Option<Tensor> = match node::input(sum, other) {
        Some(name) => float_constant(view, name)?,
        None => None,
    };
    // A constant of more axes than the product would widen the result; its leading axes must be 1 (`spread` counts elements).
    Ok(match constant.filter(|t| t.len() == channels).and_then(|t| Some((spread(&t, channels)?, t.shape().to_vec()))) {
        Some((values, shape)) => BiasPlace::Sum { node: id, slot: other, shape, values },
        None => BiasPlace::Nowhere,
    })
}
