//! What was decided: scales of activations, codes of weights, corrected biases. Between the plan (which nodes) and the writer
//! (which bytes); calibration and repair only ever change a solution. Knows neither executors nor how a node is written.

use std::collections::{BTreeMap, HashMap};

use plimsoll_onnx::{NodeId, Tensor, TensorError, View};
use plimsoll_stats::Range;

use super::{
    ActivationType,
    affine::{Codes, Weight},
    plan::{Kind, Plan},
};

/// Where a weight is read: an input of a node; where several nodes read it, the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Site {
    pub(super) node: NodeId,
    pub(super) slot: usize,
}

impl Site {
    /// The weight of a Conv, Gemm or MatMul.
    pub(super) fn anchor(node: NodeId) -> Self {
        Self { node, slot: 1 }
    }
}

/// One weight, and the bias that goes with it.
#[derive(Debug, Clone)]
pub(super) struct Layer {
    /// The weight.
    pub(super) weight: Weight,
    /// The corrected bias in float, one a channel, where the node's own (see [`Anchor`](super::anchor::Anchor)) is to be replaced.
    pub(super) bias: Option<Vec<f32>>,
}

/// The numbers of a quantized model.
#[derive(Debug, Clone, Default)]
pub(super) struct Solution<'m> {
    /// Scales and zero points of activations; none in schemes that quantize weights alone.
    pub(super) activations: Activations<'m>,
    /// The weights.
    pub(super) layers: BTreeMap<Site, Layer>,
}

/// Classes of values that share one scale, because codes pass between them untouched.
#[derive(Debug, Clone, Default)]
pub(super) struct Activations<'m> {
    class: HashMap<&'m str, usize>,
    members: Vec<Vec<&'m str>>,
    codes: Vec<Codes>,
    kind: ActivationType,
}

impl<'m> Activations<'m> {
    /// The classes of a plan; every scale is 1 until [`Self::settle`].
    pub(super) fn of(view: &View<'m>, plan: &Plan<'m>, kind: ActivationType) -> Self {
        let names: Vec<&'m str> = plan.values.iter().copied().collect();
        let position: HashMap<&str, usize> = names.iter().enumerate().map(|(i, n)| (*n, i)).collect();
        let mut parent: Vec<usize> = (0..names.len()).collect();
        fn root(parent: &mut [usize], mut i: usize) -> usize {
            while parent[i] != i {
                parent[i] = parent[parent[i]];
                i = parent[i];
            }
            i
        }
        // Rows of one table have one scale, or it would be stored more than once.
        let mut rows: BTreeMap<&str, usize> = BTreeMap::new();
        for (id, table) in &plan.tables {
            let coded = |o: &&String| plan.coded.contains(o.as_str());
            let output = view.node(*id).output.first().filter(coded).and_then(|o| position.get(o.as_str()));
            if let Some(&at) = output {
                let (a, b) = (root(&mut parent, *rows.entry(table.name).or_insert(at)), root(&mut parent, at));
                parent[a.max(b)] = a.min(b);
            }
        }
        for (&id, kind) in &plan.chosen {
            let n = view.node(id);
            let joined = match kind {
                Kind::Carry => &n.input[..1],
                Kind::Join => &n.input[..],
                _ => continue,
            };
            let ends = joined.iter().chain(n.output.first()).filter_map(|v| position.get(v.as_str()).copied());
            let ends: Vec<usize> = ends.collect();
            for pair in ends.windows(2) {
                let (a, b) = (root(&mut parent, pair[0]), root(&mut parent, pair[1]));
                parent[a.max(b)] = a.min(b);
            }
        }
        let mut found = Self { kind, ..Self::default() };
        let mut numbers: HashMap<usize, usize> = HashMap::new();
        for (i, name) in names.iter().enumerate() {
            let class = *numbers.entry(root(&mut parent, i)).or_insert_with(|| {
                found.members.push(Vec::new());
                found.members.len() - 1
            });
            found.members[class].push(name);
            found.class.insert(name, class);
        }
        found.codes = vec![Codes::ONE; found.members.len()];
        found
    }

    /// How codes are stored.
    pub(super) fn kind(&self) -> ActivationType {
        self.kind
    }

    /// An activation in codes as they are stored.
    pub(super) fn coded(&self, value: &str, of: &Tensor) -> Result<Tensor, TensorError> {
        let codes = self.codes(value);
        let unsigned: Vec<u8> = of.to_vec::<f32>()?.into_iter().map(|v| codes.nearest(v)).collect();
        match self.kind {
            ActivationType::U8 => Tensor::from_elements(of.shape(), &unsigned),
            ActivationType::S8 => {
                let signed: Vec<i8> = unsigned.iter().map(|c| c.wrapping_sub(128).cast_signed()).collect();
                Tensor::from_elements(of.shape(), &signed)
            }
        }
    }

    /// The values of each class.
    pub(super) fn members(&self) -> &[Vec<&'m str>] {
        &self.members
    }

    /// Fixes scale and zero point of each class from the range of its values, in the order of [`Self::members`].
    pub(super) fn settle(&mut self, ranges: &[Range]) {
        for (codes, range) in self.codes.iter_mut().zip(ranges) {
            *codes = Codes::covering(*range);
        }
    }

    /// The class of a value.
    pub(super) fn class(&self, value: &str) -> Option<usize> {
        self.class.get(value).copied()
    }

    /// Scale and zero point of a value.
    pub(super) fn codes(&self, value: &str) -> Codes {
        self.class(value).and_then(|c| self.codes.get(c).copied()).unwrap_or(Codes::ONE)
    }
}
