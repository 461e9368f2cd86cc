//! Weights that are stored in fewer bits while everything is computed in float32: which constants they are, and how they and
//! corrected biases are written. Chooses no number and runs nothing.

use std::collections::BTreeMap;

use plimsoll_onnx::{Model, NodeId, Patch, Tensor, Use, View, attr, node, proto::NodeProto};

use super::{
    Granularity, QuantizeOptions,
    affine::Codebook,
    anchor::{Anchor, BiasPlace},
    emit::Emitter,
    f16::constants,
    float_constant, replace_constant, rounding,
    solution::{Layer, Site, Solution},
    table::{self, Coded},
    writer::{Form, Written, with_input},
};
use crate::Refusal;

/// Below this many elements codes, scales and names cost more than the float32 data.
const FEWEST: usize = 256;

/// A constant that gets codes.
#[derive(Debug)]
pub(super) struct StoredWeight<'m> {
    /// Its name.
    pub(super) name: &'m str,
    /// Where it is read first.
    pub(super) site: Site,
    /// Its data.
    pub(super) tensor: Tensor,
    /// The axis along which it gets a scale each; `None`: one scale.
    pub(super) axis: Option<usize>,
}

impl StoredWeight<'_> {
    /// Nearest codes, under the scales of the least squared error.
    pub(super) fn nearest(&self, book: Codebook) -> Result<Layer, Refusal> {
        let values = self.tensor.to_vec::<f32>()?;
        let weight = rounding::least_error(&values, self.tensor.shape(), self.axis, book, |_| 0.0);
        Ok(Layer { weight, bias: None })
    }
}

/// The constants of a model that get codes, and those among them that are fitted with a bias.
#[derive(Debug, Default)]
pub(super) struct StoredWeights<'m> {
    pub(super) weights: Vec<StoredWeight<'m>>,
    /// Weights that one Conv, Gemm or MatMul alone reads.
    pub(super) anchors: BTreeMap<NodeId, Anchor<'m>>,
    /// Why others stay as they are.
    pub(super) left: Vec<String>,
}

impl<'m> StoredWeights<'m> {
    /// Every weight of a model.
    pub(super) fn of(model: &'m Model, view: &View<'m>, options: &QuantizeOptions) -> Result<Self, Refusal> {
        let mut found = Self::but(model, view, options, |_| false)?;
        for weight in &mut found.weights {
            let id = weight.site.node;
            if view.uses(weight.name).len() == 1
                && weight.site == Site::anchor(id)
                && let Some(anchor) = Anchor::of(view, id)?
            {
                // Both factors of a Gemm are in the operands.
                weight.tensor = Tensor::from_elements(&anchor.operands.shape, &anchor.operands.weight)?;
                found.anchors.insert(id, anchor);
            }
        }
        Ok(found)
    }

    /// The weights of a model that a scheme does not take otherwise; none is fitted.
    pub(super) fn but(
        model: &'m Model,
        view: &View<'m>,
        options: &QuantizeOptions,
        taken: impl Fn(&str) -> bool,
    ) -> Result<Self, Refusal> {
        let mut found = Self::default();
        for name in constants(model).filter(|name| !taken(name)) {
            let Some(tensor) = float_constant(view, name)? else { continue };
            if tensor.len() < FEWEST || view.is_output(name) {
                continue;
            }
            let (site, axis) = match axis_of(view, name, &tensor, options) {
                Ok(found) => found,
                Err(Some(why)) => {
                    found.left.push(format!("`{name}` stays in float32: {why}"));
                    continue;
                }
                Err(None) => continue,
            };
            if !tensor.is_finite() {
                found.left.push(format!("`{name}` stays in float32: it is not finite"));
                continue;
            }
            let axis = if table::first_look_up(view, name).is_some() {
                table::axis(&tensor, options.granularity, Codebook::EIGHT)?
            } else {
                // A scale for every few elements is no saving.
                let sparse = |a: &usize| tensor.shape()[*a] * 8 <= tensor.len();
                axis.filter(|_| options.granularity == Granularity::PerChannel).filter(sparse)
            };
            found.weights.push(StoredWeight { name, site, tensor, axis });
        }
        Ok(found)
    }

    /// Writes a solution on top of a patch.
    pub(super) fn write(
        &self,
        model: &'m Model,
        view: &View<'m>,
        solution: &Solution<'m>,
        form: Form,
        patch: Patch,
    ) -> Result<Written, Refusal> {
        let mut out = Emitter::new(model, patch);
        self.write_weights(view, solution, form, &mut out)?;
        let mut inputs = BTreeMap::new();
        for (&id, anchor) in &self.anchors {
            let n = view.node(id);
            inputs.insert(id, n.input[0].clone());
            let corrected = solution.layers.get(&Site::anchor(id)).and_then(|l| l.bias.as_ref());
            let factor = |f: &str| attr::float(n, f).unwrap_or(1.0);
            let scaled = node::is(n, "Gemm") && (factor("alpha") != 1.0 || factor("beta") != 1.0);
            let own = matches!(anchor.place, BiasPlace::Own);
            let mut changed = n.clone();
            if scaled {
                attr::remove(&mut changed, "alpha");
                attr::remove(&mut changed, "beta");
            }
            if let Some(bias) = corrected.or(anchor.operands.bias.as_ref().filter(|_| scaled)).filter(|_| own) {
                let name = out.store("b", &Tensor::vector(bias));
                changed = with_input(changed, 2, &name);
            }
            if changed != *n {
                out.patch.replace(id, vec![changed]);
            }
            if let (BiasPlace::Sum { node, slot, shape, .. }, Some(bias)) = (&anchor.place, corrected) {
                let name = out.store("b", &Tensor::from_elements(shape, bias)?);
                out.patch.replace(*node, vec![with_input(view.node(*node).clone(), *slot, &name)]);
            }
        }
        Ok(Written { patch: out.patch, inputs })
    }

    /// Writes the weights alone.
    pub(super) fn write_weights(
        &self,
        view: &View<'m>,
        solution: &Solution<'m>,
        form: Form,
        out: &mut Emitter,
    ) -> Result<(), Refusal> {
        for stored in &self.weights {
            let Some(layer) = solution.layers.get(&stored.site) else { continue };
            let (name, weight) = (stored.name, &layer.weight);
            match form {
                Form::Stored => {
                    if table::first_look_up(view, name).is_some() && weight.book.bits == 8 {
                        let coded = Coded::store(weight, out)?;
                        for (id, n) in view.users(name) {
                            let nodes = coded.looked_up(n, out);
                            out.patch.replace(id, nodes);
                        }
                    } else {
                        let dequantize = out.weight(weight, name)?;
                        replace_constant(&mut out.patch, view, name, dequantize);
                    }
                    let scales = weight
                        .axis
                        .map_or("one scale".into(), |a| format!("{} scales along axis {a}", weight.scales.len()));
                    let shape = stored.tensor.shape();
                    out.patch.because(format!("`{name}` {shape:?} is stored as int{}, {scales}", weight.book.bits));
                }
                Form::Twin => {
                    if let Some((id, _)) = view.producer(name) {
                        out.patch.remove(id);
                    }
                    out.patch.set_initializer(name, &Tensor::from_elements(&weight.shape, &weight.values())?);
                }
            }
        }
        Ok(())
    }
}

/// Where a constant is read first, and the channel axis that every use of it agrees on. `Err(None)`: no weight at all;
/// `Err(Some(why))`: a weight to be left.
fn axis_of(
    view: &View<'_>,
    name: &str,
    tensor: &Tensor,
    options: &QuantizeOptions,
) -> Result<(Site, Option<usize>), Option<String>> {
    let mut found: Vec<(Site, usize)> = Vec::new();
    for u in view.uses(name) {
        let &Use::Input { node: id, slot } = u else { return Err(None) };
        let n = view.node(id);
        let Some(axis) = weight_axis(n, slot, tensor.shape()) else { return Err(None) };
        if options.excludes(n) {
            return Err(Some(format!("node `{}` is excluded", node::label(n))));
        }
        found.push((Site { node: id, slot }, axis));
    }
    match found.split_first() {
        None => Err(None),
        Some(((site, first), rest)) => Ok((*site, Some(*first).filter(|_| rest.iter().all(|(_, a)| a == first)))),
    }
}

/// The output-channel axis of a weight, where this input of this node is one.
pub(super) fn weight_axis(n: &NodeProto, slot: usize, shape: &[usize]) -> Option<usize> {
    let rank = shape.len();
    if !node::is_default_domain(&n.domain) {
        return None;
    }
    match (n.op_type.as_str(), slot) {
        ("Conv", 1) if rank >= 3 => Some(0),
        ("ConvTranspose", 1) if rank >= 3 => Some(1),
        ("Gemm", 1) if rank == 2 => Some(if attr::int(n, "transB").unwrap_or(0) != 0 { 0 } else { 1 }),
        ("MatMul", 1) if rank >= 2 => Some(rank - 1),
        // Rows of gates; both directions share the scale of a row.
        ("LSTM" | "GRU" | "RNN", 1 | 2) if rank == 3 => Some(1),
        _ => table::looks_up(n, slot, rank).then_some(0),
    }
}
