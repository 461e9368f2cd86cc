//! What passes find, as documents hold it: numbers that JSON has none for are left out.

use plimsoll_record::{NodeSensitivity, OutputDamage};
use plimsoll_transform::quantize::{Damage, NodeCost};

/// The distance between the outputs of two models.
pub fn damage(found: &Damage) -> OutputDamage {
    OutputDamage {
        divergence: found.divergence.filter(|d| d.is_finite()),
        agreement: found.agreement,
        sqnr: found.sqnr().filter(|d| d.is_finite()),
        samples: found.samples as u64,
    }
}

/// What quantizing nodes costs.
pub fn node(cost: NodeCost) -> NodeSensitivity {
    NodeSensitivity {
        nodes: cost.nodes,
        exclude: cost.outputs,
        operators: cost.operators,
        bytes_saved: cost.bytes_saved,
        damage: damage(&cost.damage),
    }
}
