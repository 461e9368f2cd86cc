//! Dependency groups: which channels of a graph must go together, and which must stay.
//!
//! Every layer that makes channels (Conv, Gemm, MatMul, an embedding) gets one label an output channel. Labels are carried
//! through the graph (`propagate`); where two values meet element by element their labels become one (union-find), as in
//! "DepGraph: Towards Any Structural Pruning" (Fang et al., arXiv 2301.12900). What cannot be shown to keep channels apart fixes
//! the labels that reach it, with a typed reason. Knows graphs and shapes, not scores.

use std::collections::{BTreeMap, BTreeSet};

use plimsoll_onnx::{
    Model, NodeId, Use, View, node,
    shape::{Bindings, Shapes, infer},
};

/// Labels of all values together: small files may describe long chains of wide values.
const MOST_LABELS: usize = 1 << 24;

/// Why channels must stay.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[non_exhaustive]
pub enum Reason {
    /// They are what the model returns.
    #[error("they are the model's output `{0}`")]
    Output(String),
    /// A sub-graph reads them.
    #[error("a sub-graph of node `{0}` reads them")]
    Captured(String),
    /// An operator that is not known to keep channels apart.
    #[error("node `{node}` ({op}) is not known to keep channels apart")]
    Operator {
        /// The node.
        node: String,
        /// Its operator.
        op: String,
    },
    /// A grouped layer whose groups cannot be told from its weight.
    #[error("node `{0}` has groups that do not divide its channels")]
    Grouped(String),
    /// They meet channels that cannot be tracked.
    #[error("node `{0}` combines them with channels that are not computed by a prunable layer")]
    Mixed(String),
    /// They are reduced, normalised or split as a whole.
    #[error("node `{node}` ({op}) works across them")]
    Across {
        /// The node.
        node: String,
        /// Its operator.
        op: String,
    },
    /// A weight or operand that is computed at run time.
    #[error("node `{0}` has a weight that is no constant")]
    ComputedWeight(String),
    /// A weight that other places read in another way.
    #[error("weight `{0}` is used in another way elsewhere")]
    SharedWeight(String),
    /// A shape that could not be inferred.
    #[error("the shape of `{0}` is not known")]
    UnknownShape(String),
    /// A model whose channels, value by value, are more than are followed.
    #[error("value `{0}` is one of too many channels to follow")]
    TooMany(String),
    /// Their number is read at run time.
    #[error("node `{0}` reads their number")]
    Counted(String),
    /// The user wants them to stay.
    #[error("node `{0}` is excluded")]
    Excluded(String),
}

/// The channels along one axis of a value: a label each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Track {
    pub(super) axis: usize,
    pub(super) labels: Vec<usize>,
}

/// What a label does to a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// The slice makes the channel.
    Makes,
    /// The slice reads the channel, or belongs to it (bias, scale).
    Follows,
}

/// One axis of a parameter that shrinks with its labels.
#[derive(Debug, Clone)]
pub(super) struct Cut<'m> {
    pub(super) param: &'m str,
    pub(super) node: NodeId,
    pub(super) axis: usize,
    pub(super) labels: Vec<usize>,
    pub(super) role: Role,
}

/// A change to a node that must follow its channels.
#[derive(Debug, Clone)]
pub(super) enum Edit {
    /// An attribute counts these: `group`, `hidden_size`, `num_groups`.
    Count { attribute: &'static str, labels: Vec<usize> },
    /// Input `slot` becomes a constant shape, whose entry `index` counts these.
    Shape { slot: usize, dims: Vec<i64>, index: usize, labels: Vec<usize> },
    /// The sizes of a Split's parts count these; from operator set 13 on they are an input, before an attribute.
    Parts { input: bool, parts: Vec<Vec<usize>> },
    /// A Gather takes these positions along the labelled axis.
    Picks { labels: Vec<usize>, at: Vec<usize> },
    /// A Slice takes these positions along the labelled axis.
    Slice { window: Window, labels: Vec<usize>, at: Vec<usize> },
    /// Input `slot` holds zeros, as if it were absent, and is left out.
    Zeros { slot: usize, labels: Vec<usize> },
}

/// The bounds of a Slice, an entry an axis.
#[derive(Debug, Clone)]
pub(super) struct Window {
    pub(super) starts: Vec<i64>,
    pub(super) ends: Vec<i64>,
    pub(super) axes: Vec<i64>,
    pub(super) steps: Vec<i64>,
    /// Which entry is that of the labelled axis.
    pub(super) entry: usize,
    /// The labelled axis.
    pub(super) axis: usize,
    /// Whether the bounds are inputs; attributes before operator set 10.
    pub(super) inputs: bool,
}

/// A layer that makes channels.
#[derive(Debug, Clone)]
pub(super) struct Producer {
    pub(super) label: String,
    pub(super) first: usize,
    pub(super) count: usize,
}

/// Labels that may turn out to be the same channel.
#[derive(Debug, Default)]
pub(super) struct Labels {
    parent: Vec<usize>,
    fixed: Vec<Option<Reason>>,
}

impl Labels {
    pub(super) fn fresh(&mut self, count: usize) -> Vec<usize> {
        let first = self.parent.len();
        self.parent.extend(first..first + count);
        self.fixed.resize(first + count, None);
        (first..first + count).collect()
    }

    pub(super) fn root(&self, mut label: usize) -> usize {
        while self.parent[label] != label {
            label = self.parent[label];
        }
        label
    }

    /// The root, halving the way to it.
    fn find(&mut self, mut label: usize) -> usize {
        while self.parent[label] != label {
            self.parent[label] = self.parent[self.parent[label]];
            label = self.parent[label];
        }
        label
    }

    pub(super) fn unite(&mut self, a: usize, b: usize) {
        let (a, b) = (self.find(a), self.find(b));
        if a == b {
            return;
        }
        let (keep, gone) = (a.min(b), a.max(b));
        self.parent[gone] = keep;
        if self.fixed[keep].is_none() {
            self.fixed[keep] = self.fixed[gone].take();
        }
    }

    pub(super) fn fix(&mut self, labels: &[usize], reason: &Reason) {
        for &label in labels {
            let root = self.find(label);
            self.fixed[root].get_or_insert_with(|| reason.clone());
        }
    }

    /// Unites every label with the one `apart` places before it, from the second stretch on.
    pub(super) fn unite_stretches(&mut self, labels: &[usize], apart: usize) {
        for i in apart.max(1)..labels.len() {
            self.unite(labels[i - apart.max(1)], labels[i]);
        }
    }

    /// Unites the labels of each block.
    pub(super) fn unite_blocks(&mut self, labels: &[usize], block: usize) {
        labels.chunks(block.max(1)).for_each(|b| b.iter().for_each(|l| self.unite(b[0], *l)));
    }

    fn fixed(&self, label: usize) -> Option<&Reason> {
        self.fixed[self.root(label)].as_ref()
    }

    /// Every label points at its root directly.
    fn flatten(&mut self) {
        for label in 0..self.parent.len() {
            self.parent[label] = self.root(label);
        }
    }
}

/// Channels that are removed together with others of the same layers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// The layers that make them.
    pub layers: Vec<String>,
    /// The removable channels, by their number in the model.
    pub channels: Vec<usize>,
    /// How many channels of all its layers they are: coupled ones count each.
    pub width: usize,
}

/// The removable channels of a model, and what must change with them.
#[derive(Debug)]
pub struct Groups<'m> {
    /// Groups with something to remove, in graph order.
    pub groups: Vec<Group>,
    /// Layers whose channels must stay (all, or some of them), and why.
    pub refused: Vec<(String, Reason)>,
    pub(super) labels: Labels,
    pub(super) cuts: Vec<Cut<'m>>,
    pub(super) edits: BTreeMap<NodeId, Vec<Edit>>,
    pub(super) tracked: BTreeMap<&'m str, Vec<usize>>,
    /// Along which axis.
    #[cfg(test)]
    pub(super) axes: BTreeMap<&'m str, usize>,
    /// Sets of channels of which some must stay: those of each producer, in order, then those that something else reads apart
    /// from the rest (a part of a Split).
    pub(super) floors: Vec<Vec<usize>>,
}

/// The state of the walk over a graph.
pub(super) struct Walk<'v, 'm> {
    pub(super) view: &'v View<'m>,
    /// Shapes at batch 1.
    pub(super) shapes: Shapes,
    /// Shapes as they are in every run.
    pub(super) open: Shapes,
    pub(super) tracks: BTreeMap<&'m str, Track>,
    pub(super) labels: Labels,
    /// The operator set of the default domain.
    pub(super) opset: i64,
    /// How many labels of values may still be held.
    pub(super) left: usize,
    /// No axis longer than this is followed: what reads it needs a weight that is as long.
    pub(super) most: usize,
    pub(super) cuts: Vec<Cut<'m>>,
    pub(super) edits: BTreeMap<NodeId, Vec<Edit>>,
    pub(super) producers: Vec<Producer>,
    /// Channels that something reads apart from the rest of their axis.
    pub(super) parts: Vec<Vec<usize>>,
}

impl<'m> Groups<'m> {
    /// Finds the groups of a model. Nodes named in `exclude` (by node name or by a value that they compute) keep their channels.
    pub fn of(model: &'m Model, exclude: &[String]) -> Self {
        let view = model.view();
        let mut walk = Walk {
            view: &view,
            shapes: infer(model, &Bindings::batch(1)),
            open: infer(model, &Bindings::none()),
            tracks: BTreeMap::new(),
            opset: model.opset("").unwrap_or(1),
            labels: Labels::default(),
            left: MOST_LABELS,
            most: model.encoded_len(),
            cuts: Vec::new(),
            edits: BTreeMap::new(),
            producers: Vec::new(),
            parts: Vec::new(),
        };
        for (id, n) in view.nodes() {
            walk.node(id, n);
            if exclude.iter().any(|e| *e == n.name || n.output.contains(e) || *e == node::label(n)) {
                for cut in walk.cuts.iter().filter(|c| c.node == id && c.role == Role::Makes) {
                    walk.labels.fix(&cut.labels, &Reason::Excluded(node::label(n)));
                }
            }
        }
        walk.fix_held();
        walk.fix_shared();
        walk.finish()
    }
}

impl Groups<'_> {
    /// What can be removed together and what must stay, a line each, for people to read.
    pub fn explain(&self) -> Vec<String> {
        let group = |g: &Group| {
            let units = g.channels.len();
            let several = if g.width > units { format!(", {} channels in all", g.width) } else { String::new() };
            let unit = if units == 1 { "unit" } else { "units" };
            format!("`{}`: {units} removable {unit}{several}", g.layers.join("`, `"))
        };
        let refused = |(layer, reason): &(String, Reason)| format!("`{layer}` keeps channels: {reason}");
        self.groups.iter().map(group).chain(self.refused.iter().map(refused)).collect()
    }
}

impl<'m> Walk<'_, 'm> {
    /// What leaves the graph keeps its shape.
    fn fix_held(&mut self) {
        for (value, track) in &self.tracks {
            if self.view.is_output(value) {
                self.labels.fix(&track.labels, &Reason::Output((*value).into()));
            }
            for u in self.view.uses(value) {
                if let Use::Captured(id) = u {
                    self.labels.fix(&track.labels, &Reason::Captured(node::label(self.view.node(*id))));
                }
            }
        }
    }

    /// A weight with several readers is cut for all of them alike, or not at all.
    fn fix_shared(&mut self) {
        let mut by_param: BTreeMap<(&str, usize), Vec<usize>> = BTreeMap::new();
        for (i, cut) in self.cuts.iter().enumerate() {
            by_param.entry((cut.param, cut.axis)).or_default().push(i);
        }
        for ((param, _), cuts) in by_param {
            let all_agree = cuts.len() == self.view.uses(param).len()
                && cuts.windows(2).all(|w| self.cuts[w[0]].labels.len() == self.cuts[w[1]].labels.len());
            for &i in &cuts {
                if !all_agree {
                    self.labels.fix(&self.cuts[i].labels, &Reason::SharedWeight(param.into()));
                }
                for (a, b) in self.cuts[cuts[0]].labels.iter().zip(&self.cuts[i].labels) {
                    self.labels.unite(*a, *b);
                }
            }
        }
    }

    fn finish(self) -> Groups<'m> {
        let Self { mut labels, producers, cuts, edits, tracks, parts, .. } = self;
        labels.flatten();
        let mut refused = Vec::new();
        // Layers that share a channel form one group.
        let mut owner: BTreeMap<usize, usize> = BTreeMap::new();
        let mut group_of: Vec<usize> = (0..producers.len()).collect();
        for (p, producer) in producers.iter().enumerate() {
            let mut reasons = BTreeSet::new();
            for label in producer.first..producer.first + producer.count {
                match labels.fixed(label) {
                    Some(reason) => _ = reasons.insert(reason.clone()),
                    None => {
                        let before = *owner.entry(labels.root(label)).or_insert(p);
                        let (from, to) = (group_of[p].max(group_of[before]), group_of[p].min(group_of[before]));
                        group_of.iter_mut().filter(|g| **g == from).for_each(|g| *g = to);
                    }
                }
            }
            refused.extend(reasons.into_iter().map(|r| (producer.label.clone(), r)));
        }
        let mut groups: BTreeMap<usize, Group> = BTreeMap::new();
        for (p, producer) in producers.iter().enumerate() {
            let all = producer.first..producer.first + producer.count;
            let free: Vec<usize> = all.filter(|&l| labels.fixed(l).is_none()).map(|l| labels.root(l)).collect();
            if free.is_empty() {
                continue;
            }
            let group = groups.entry(group_of[p]).or_insert_with(|| Group {
                layers: Vec::new(),
                channels: Vec::new(),
                width: 0,
            });
            group.layers.push(producer.label.clone());
            group.width += free.len();
            group.channels.extend(free);
        }
        let mut groups: Vec<Group> = groups.into_values().collect();
        for group in &mut groups {
            group.channels.sort_unstable();
            group.channels.dedup();
        }
        let whole = |p: &Producer| (p.first..p.first + p.count).map(|l| labels.root(l)).collect();
        let apart = parts.iter().map(|part| part.iter().map(|l| labels.root(*l)).collect());
        let floors = producers.iter().map(whole).chain(apart).collect();
        #[cfg(test)]
        let axes = tracks.iter().map(|(v, t)| (*v, t.axis)).collect();
        let tracked = tracks.into_iter().map(|(v, t)| (v, t.labels)).collect();
        Groups {
            groups,
            refused,
            labels,
            cuts,
            edits,
            tracked,
            #[cfg(test)]
            axes,
            floors,
        }
    }
}
