//! How recurrent layers carry channel labels: a hidden unit has rows in every gate, a row and a column in the recurrence, and a
//! place in every state. Both directions have the same number of units: those in the same place go together. Knows operators,
//! not scores.

use plimsoll_onnx::{NodeId, Tensor, View, attr, node, proto::NodeProto};

use super::groups::{Edit, Reason, Role, Track, Walk};

/// How far back a state of zeros is looked for.
const MOST_STEPS: usize = 16;

impl<'m> Walk<'_, 'm> {
    pub(super) fn recurrent(&mut self, id: NodeId, n: &'m NodeProto) -> Option<()> {
        let gates = match n.op_type.as_str() {
            "LSTM" => 4,
            "GRU" => 3,
            _ => 1,
        };
        let (weight, recurrence) = (node::input(n, 1)?, node::input(n, 2)?);
        let (bias, peepholes) = (node::input(n, 3), node::input(n, 7));
        let parameters = [Some(weight), Some(recurrence), bias, peepholes];
        if parameters.into_iter().flatten().any(|p| self.view.constant(p).is_none()) {
            return self.refuse(n, Reason::ComputedWeight(node::label(n)));
        }
        let [directions, _, units] = *self.shape(recurrence)?.as_slice() else { return None };
        let rows = units.checked_mul(gates)?;
        let [_, _, width] = *self.shape(weight)?.as_slice() else { return None };
        let fits = |value: Option<&str>, shape: &[usize]| value.is_none_or(|v| self.shape(v).as_deref() == Some(shape));
        let whole = fits(Some(weight), &[directions, rows, width])
            && fits(Some(recurrence), &[directions, rows, units])
            && fits(bias, &[directions, 2 * rows])
            && fits(peepholes, &[directions, 3 * units]);
        if !whole || units > self.most || attr::int(n, "hidden_size").is_some_and(|h| h != units as i64) {
            return None;
        }
        if n.input.get(4).is_some_and(|v| self.tracks.contains_key(v.as_str())) {
            return None;
        }
        if let Some(read) = self.track(n, 0) {
            if read.axis != 2 || read.labels.len() != width {
                return self.across(n);
            }
            self.cut(id, weight, 2, &read.labels, Role::Follows);
        }
        let made = self.produce(n, units);
        let times = |k: usize| -> Vec<usize> { (0..k).flat_map(|_| made.iter().copied()).collect() };
        self.cut(id, weight, 1, &times(gates), Role::Makes);
        self.cut(id, recurrence, 1, &times(gates), Role::Makes);
        self.cut(id, recurrence, 2, &made, Role::Follows);
        if let Some(bias) = bias {
            self.cut(id, bias, 1, &times(2 * gates), Role::Follows);
        }
        if let Some(peepholes) = peepholes {
            self.cut(id, peepholes, 1, &times(3), Role::Follows);
        }
        for slot in [5, 6] {
            self.state(id, n, slot, &made);
        }
        if attr::has(n, "hidden_size") {
            self.edits.entry(id).or_default().push(Edit::Count { attribute: "hidden_size", labels: made.clone() });
        }
        for (output, axis) in n.output.iter().zip([3, 2, 2]).filter(|(o, _)| !o.is_empty()) {
            self.follow(output, Track { axis, labels: made.clone() });
        }
        Some(())
    }

    /// The state that a layer starts from: zeros are left out, a constant is cut, another layer's units become the same.
    fn state(&mut self, id: NodeId, n: &'m NodeProto, slot: usize, made: &[usize]) {
        let Some(value) = node::input(n, slot) else { return };
        if is_zero(self.view, value, MOST_STEPS) {
            self.edits.entry(id).or_default().push(Edit::Zeros { slot, labels: made.to_vec() });
        } else if let Some(track) = self.tracks.get(value).cloned().filter(|t| t.axis == 2) {
            if track.labels.len() == made.len() {
                track.labels.iter().zip(made).for_each(|(a, b)| self.labels.unite(*a, *b));
            } else {
                self.labels.fix(&track.labels, &Reason::Mixed(node::label(n)));
                self.labels.fix(made, &Reason::Mixed(node::label(n)));
            }
        } else if self.view.constant(value).is_some()
            && self.shape(value).is_some_and(|s| s.len() == 3 && s[2] == made.len())
        {
            self.cut(id, value, 2, made, Role::Follows);
        } else {
            self.labels.fix(made, &Reason::Mixed(node::label(n)));
            if let Some(track) = self.tracks.get(value).cloned() {
                self.labels.fix(&track.labels, &Reason::Mixed(node::label(n)));
            }
        }
    }
}

/// Whether every element of a value is zero in every run.
fn is_zero(view: &View<'_>, value: &str, steps: usize) -> bool {
    if let Some(constant) = view.constant(value) {
        return Tensor::from_proto(constant).and_then(|t| t.to_f64()).is_ok_and(|v| v.iter().all(|x| *x == 0.0));
    }
    let Some((_, n)) = view.producer(value).filter(|_| steps > 0) else { return false };
    if !node::is_default_domain(&n.domain) {
        return false;
    }
    let zero = |v: &String| is_zero(view, v, steps - 1);
    match n.op_type.as_str() {
        "ConstantOfShape" => attr::tensor(n, "value")
            .is_none_or(|t| Tensor::from_proto(t).and_then(|t| t.to_f64()).is_ok_and(|v| v.iter().all(|x| *x == 0.0))),
        "Expand" | "Tile" | "Reshape" | "Transpose" | "Squeeze" | "Unsqueeze" | "Slice" | "Gather" | "Identity"
        | "Cast" | "Flatten" | "Split" => n.input.first().is_some_and(zero),
        "Concat" => !n.input.is_empty() && n.input.iter().all(zero),
        _ => false,
    }
}
