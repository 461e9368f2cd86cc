//! Changes to nodes that count or pick channels, once some are gone. Knows nodes and what is left of labels, not how they were
//! found.

use plimsoll_onnx::{Names, Patch, Tensor, attr, node, proto::NodeProto};

use super::groups::{Edit, Window};

/// Beyond the end of every axis.
const TO_THE_END: i64 = i32::MAX as i64;

/// Writes changed nodes and the constants that they read.
pub(super) struct Editor<'e, K: Fn(&[usize]) -> Vec<usize>> {
    pub(super) names: &'e mut Names,
    pub(super) patch: &'e mut Patch,
    /// The places of labels that stay.
    pub(super) kept: &'e K,
}

impl<K: Fn(&[usize]) -> Vec<usize>> Editor<'_, K> {
    /// Changes the last of the nodes that stand in the place of one.
    pub(super) fn edit(&mut self, edit: &Edit, nodes: &mut Vec<NodeProto>) {
        let Some(mut n) = nodes.pop() else { return };
        match edit {
            Edit::Count { attribute, labels } if self.gone(labels) => {
                attr::set(&mut n, attr::from_int(attribute, self.left(labels)));
            }
            Edit::Shape { slot, dims, index, labels } if self.gone(labels) => {
                let mut dims = dims.clone();
                if let Some(entry) = dims.get_mut(*index) {
                    *entry = self.left(labels);
                }
                self.list(&mut n, *slot, "shape", &dims);
            }
            Edit::Parts { input, parts } if parts.iter().any(|p| self.gone(p)) => {
                let sizes: Vec<i64> = parts.iter().map(|p| self.left(p)).collect();
                if *input {
                    attr::remove(&mut n, "num_outputs");
                    self.list(&mut n, 1, "parts", &sizes);
                } else {
                    attr::set(&mut n, attr::from_ints("split", &sizes));
                }
            }
            Edit::Picks { labels, at } if self.gone(labels) => {
                let places = self.still(labels, at);
                self.list(&mut n, 1, "picks", &places);
            }
            Edit::Slice { window, labels, at } if self.gone(labels) => {
                let (places, count) = (self.still(labels, at), self.left(labels));
                match progression(&places) {
                    Some((first, last, step)) if window.inputs || step == 1 => {
                        // Before the first place there is none to name: from the end it is one beyond the whole length.
                        let end = if last + step < 0 { -count - 1 } else { last + step };
                        self.window(&mut n, window, [first, end, step]);
                    }
                    _ => {
                        nodes.extend(self.gather(&mut n, window, &places));
                        return;
                    }
                }
            }
            Edit::Zeros { slot, labels } if self.gone(labels) => {
                if let Some(input) = n.input.get_mut(*slot) {
                    input.clear();
                }
                while n.input.last().is_some_and(String::is_empty) {
                    n.input.pop();
                }
            }
            _ => {}
        }
        nodes.push(n);
    }

    fn left(&self, labels: &[usize]) -> i64 {
        (self.kept)(labels).len() as i64
    }

    fn gone(&self, labels: &[usize]) -> bool {
        (self.kept)(labels).len() < labels.len()
    }

    /// Makes an input a constant list.
    fn list(&mut self, n: &mut NodeProto, slot: usize, base: &str, values: &[i64]) {
        let name = self.names.fresh(base);
        self.patch.set_initializer(&name, &Tensor::vector(values));
        if n.input.len() <= slot {
            n.input.resize(slot + 1, String::new());
        }
        n.input[slot] = name;
    }

    /// Where the places `at` are now, without those that are gone themselves.
    fn still(&self, labels: &[usize], at: &[usize]) -> Vec<i64> {
        let mut now = vec![None; labels.len()];
        for (place, before) in (self.kept)(labels).into_iter().enumerate() {
            now[before] = Some(place as i64);
        }
        at.iter().filter_map(|&p| now.get(p).copied().flatten()).collect()
    }

    /// Bounds of a Slice, with those of the channels' axis as given.
    fn window(&mut self, n: &mut NodeProto, window: &Window, [start, end, step]: [i64; 3]) {
        let with = |list: &[i64], value: i64| -> Vec<i64> {
            list.iter().enumerate().map(|(i, &v)| if i == window.entry { value } else { v }).collect()
        };
        let (starts, ends, steps) = (with(&window.starts, start), with(&window.ends, end), with(&window.steps, step));
        if !window.inputs {
            attr::set(n, attr::from_ints("starts", &starts));
            attr::set(n, attr::from_ints("ends", &ends));
            return;
        }
        // All four have one type: none of the old ones is kept.
        self.list(n, 1, "starts", &starts);
        self.list(n, 2, "ends", &ends);
        self.list(n, 3, "axes", &window.axes);
        if n.input.len() > 4 || steps.iter().any(|s| *s != 1) {
            self.list(n, 4, "steps", &steps);
        }
    }

    /// Places without one step between them are gathered; a Slice stays for the other axes.
    fn gather(&mut self, n: &mut NodeProto, window: &Window, places: &[i64]) -> Vec<NodeProto> {
        let (Some(data), Some(output)) = (n.input.first().cloned(), n.output.first().cloned()) else {
            return vec![n.clone()];
        };
        let axis = vec![attr::from_int("axis", window.axis as i64)];
        let others = window.axes.len() > 1;
        let between = if others { self.names.fresh(&output) } else { data };
        let mut gather = node::with("Gather", &[&between, ""], &[&output], axis);
        gather.name = n.name.clone();
        self.list(&mut gather, 1, "picks", places);
        if !others {
            return vec![gather];
        }
        let mut slice = n.clone();
        slice.name.clear();
        slice.output[0] = between;
        self.window(&mut slice, window, [0, TO_THE_END, 1]);
        vec![slice, gather]
    }
}

/// First, last and step of places that have one step between them.
fn progression(places: &[i64]) -> Option<(i64, i64, i64)> {
    let (first, last) = (*places.first()?, *places.last()?);
    let step = places.windows(2).map(|w| w[1] - w[0]).next().unwrap_or(1);
    let even = places.windows(2).all(|w| w[1] - w[0] == step);
    (even && step != 0).then_some((first, last, step))
}
