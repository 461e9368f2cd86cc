//! Patches: what a pass wants changed, applied all at once.
//!
//! A patch is built against a [`View`](crate::View) and holds node positions of that moment. Applying it removes, replaces and
//! adds nodes, redirects uses, sorts the nodes topologically (stable), drops what was said about values that changed, and
//! refuses to leave a graph that is not whole or whose inputs and outputs are other than before.

use std::collections::{BTreeMap, HashMap, HashSet};

use onnx_protobuf::{
    GraphProto, NodeProto, OperatorSetIdProto, StringStringEntryProto, TensorProto, TensorShapeProto, TypeProto,
    ValueInfoProto,
    tensor_shape_proto::{Dimension, dimension::Value as DimValue},
    type_proto,
};

use crate::{Defect, Model, NodeId, Tensor, check, node, protos};

/// Why a patch could not be applied. Always a defect of the pass, never of the model.
#[derive(Debug, thiserror::Error)]
pub enum PatchError {
    /// The patched graph is not whole.
    #[error("the patched graph is not whole: {0}")]
    Broken(#[from] Defect),
    /// Inputs or outputs of the model would change.
    #[error("the patch changes the model's {0}")]
    Signature(&'static str),
    /// Redirections form a circle.
    #[error("the patch redirects `{0}` to itself")]
    Circle(String),
}

/// A set of changes to the main graph of a model.
#[derive(Debug, Default, Clone)]
pub struct Patch {
    replaced: BTreeMap<NodeId, Vec<NodeProto>>,
    added: Vec<NodeProto>,
    redirected: BTreeMap<String, String>,
    initializers: BTreeMap<String, TensorProto>,
    dropped_initializers: HashSet<String>,
    forgotten: HashSet<String>,
    forget_all: bool,
    opsets: BTreeMap<String, i64>,
    metadata: BTreeMap<String, String>,
    reasons: Vec<String>,
}

impl Patch {
    /// A patch that changes nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Notes why; one line a change, shown by `--explain`.
    pub fn because(&mut self, reason: impl Into<String>) -> &mut Self {
        self.reasons.push(reason.into());
        self
    }

    /// The reasons noted.
    pub fn reasons(&self) -> &[String] {
        &self.reasons
    }

    /// Whether nothing would change.
    pub fn is_empty(&self) -> bool {
        self.replaced.is_empty()
            && self.added.is_empty()
            && self.redirected.is_empty()
            && self.initializers.is_empty()
            && self.dropped_initializers.is_empty()
            && self.forgotten.is_empty()
            && !self.forget_all
            && self.opsets.is_empty()
            && self.metadata.is_empty()
    }

    /// Whether a node is already removed or replaced by this patch.
    pub fn touches(&self, id: NodeId) -> bool {
        self.replaced.contains_key(&id)
    }

    /// Removes a node.
    pub fn remove(&mut self, id: NodeId) -> &mut Self {
        self.replace(id, vec![])
    }

    /// Puts other nodes in the place of one.
    pub fn replace(&mut self, id: NodeId, nodes: Vec<NodeProto>) -> &mut Self {
        self.replaced.insert(id, nodes);
        self
    }

    /// Adds a node; its place follows from what it reads.
    pub fn add(&mut self, node: NodeProto) -> &mut Self {
        self.added.push(node);
        self
    }

    /// Makes every use of value `from` a use of value `to`. Where `from` is an output of the graph, the name stays and the
    /// producer of `to` is renamed instead (or an `Identity` added, where `to` is itself an input, initializer or output).
    pub fn redirect(&mut self, from: &str, to: &str) -> &mut Self {
        self.redirected.insert(from.into(), to.into());
        self
    }

    /// Adds an initializer, or replaces the one of that name.
    pub fn set_initializer(&mut self, name: &str, tensor: &Tensor) -> &mut Self {
        self.forgotten.insert(name.into());
        self.initializers.insert(name.into(), tensor.to_proto(name));
        self
    }

    /// Adds an initializer as a wire tensor (strings and dtypes that [`Tensor`] does not hold).
    pub fn set_initializer_proto(&mut self, tensor: TensorProto) -> &mut Self {
        self.forgotten.insert(tensor.name.clone());
        self.initializers.insert(tensor.name.clone(), tensor);
        self
    }

    /// Removes an initializer.
    pub fn drop_initializer(&mut self, name: &str) -> &mut Self {
        self.dropped_initializers.insert(name.into());
        self
    }

    /// Drops what `value_info` says about a value, because its type or shape changes.
    pub fn forget(&mut self, value: &str) -> &mut Self {
        self.forgotten.insert(value.into());
        self
    }

    /// Drops the whole of `value_info`.
    pub fn forget_all(&mut self) -> &mut Self {
        self.forget_all = true;
        self
    }

    /// Sets the version of an imported operator set.
    pub fn set_opset(&mut self, domain: &str, version: i64) -> &mut Self {
        self.opsets.insert(domain.into(), version);
        self
    }

    /// Sets a metadata entry of the model.
    pub fn set_metadata(&mut self, key: &str, value: &str) -> &mut Self {
        self.metadata.insert(key.into(), value.into());
        self
    }

    /// Applies the patch. On an error the model is as it was.
    pub fn apply(self, model: &mut Model) -> Result<(), PatchError> {
        let resolved = self.resolve()?;
        // Weights are moved out and back, not copied: only the structure is cloned for the way back.
        let mut weights = std::mem::take(&mut model.graph_mut().initializer);
        let backup = model.proto().clone();
        let signature = Signature::of(model.graph(), &weights);
        let undo = self.change_weights(&mut weights);
        model.graph_mut().initializer = weights;
        self.change_structure(model, &resolved);
        sort(model.graph_mut());
        let checked = match check(model) {
            Err(defect) => Err(defect.into()),
            Ok(()) => signature.compare(model.graph()),
        };
        if let Err(error) = checked {
            let mut weights = std::mem::take(&mut model.graph_mut().initializer);
            undo.run(&mut weights);
            *model.proto_mut() = backup;
            model.graph_mut().initializer = weights;
            return Err(error);
        }
        Ok(())
    }

    /// Follows chains of redirections to their ends.
    fn resolve(&self) -> Result<HashMap<String, String>, PatchError> {
        let end_of = |from: &String| {
            let mut to = &self.redirected[from];
            let mut steps = 0;
            while let Some(next) = self.redirected.get(to) {
                to = next;
                steps += 1;
                if steps > self.redirected.len() {
                    return Err(PatchError::Circle(from.clone()));
                }
            }
            Ok((from.clone(), to.clone()))
        };
        self.redirected.keys().map(end_of).collect()
    }

    fn change_weights(&self, weights: &mut Vec<TensorProto>) -> Undo {
        let mut undo = Undo::default();
        let mut position: HashMap<String, usize> =
            weights.iter().enumerate().map(|(i, t)| (t.name.clone(), i)).collect();
        for (name, tensor) in &self.initializers {
            match position.get(name) {
                Some(&i) => undo.old.push((i, std::mem::replace(&mut weights[i], tensor.clone()))),
                None => {
                    position.insert(name.clone(), weights.len());
                    weights.push(tensor.clone());
                    undo.added += 1;
                }
            }
        }
        if !self.dropped_initializers.is_empty() {
            let (dropped, kept): (Vec<_>, Vec<_>) = std::mem::take(weights)
                .into_iter()
                .enumerate()
                .partition(|(_, t)| self.dropped_initializers.contains(&t.name));
            undo.dropped = dropped;
            *weights = kept.into_iter().map(|(_, t)| t).collect();
        }
        undo
    }

    fn change_structure(self, model: &mut Model, resolved: &HashMap<String, String>) {
        let Self { mut replaced, added, initializers, dropped_initializers, forgotten, forget_all, .. } = self;
        let Self { opsets, metadata, .. } = self;
        for (key, value) in metadata {
            let entries = &mut model.proto_mut().metadata_props;
            match entries.iter_mut().find(|e| e.key == key) {
                Some(entry) => entry.value = value,
                None => entries.push(StringStringEntryProto { key, value, ..Default::default() }),
            }
        }
        for (domain, version) in opsets {
            let imports = &mut model.proto_mut().opset_import;
            let same = |d: &str| d == domain || (node::is_default_domain(d) && node::is_default_domain(&domain));
            match imports.iter_mut().find(|o| same(&o.domain)) {
                Some(import) => import.version = version,
                None => imports.push(OperatorSetIdProto { domain, version, ..Default::default() }),
            }
        }
        let ir_version = model.proto().ir_version;
        let graph = model.graph_mut();
        let old = std::mem::take(&mut graph.node);
        let mut changed_outputs: HashSet<String> = HashSet::new();
        for (index, n) in old.into_iter().enumerate() {
            match replaced.remove(&NodeId(index)) {
                None => graph.node.push(n),
                Some(new) => {
                    changed_outputs.extend(n.output);
                    graph.node.extend(new);
                }
            }
        }
        graph.node.extend(added);
        if ir_version < 4 {
            // A dropped initializer must not stay behind as an input that somebody has to feed.
            graph.input.retain(|v| !dropped_initializers.contains(&v.name));
            // And an added one has to be repeated there.
            let declared: HashSet<String> = graph.input.iter().map(|v| v.name.clone()).collect();
            graph.input.extend(initializers.values().filter(|t| !declared.contains(&t.name)).map(declaration));
        }
        redirect_uses(graph, resolved);
        let produced: HashSet<&str> = graph.node.iter().flat_map(|n| n.output.iter().map(String::as_str)).collect();
        let gone = |name: &str| changed_outputs.contains(name) && !produced.contains(name);
        let keep: Vec<bool> = graph
            .value_info
            .iter()
            .map(|v| !forget_all && !forgotten.contains(&v.name) && !resolved.contains_key(&v.name) && !gone(&v.name))
            .collect();
        let mut keep = keep.into_iter();
        graph.value_info.retain(|_| keep.next().unwrap_or(true));
        graph.quantization_annotation.retain(|a| !forgotten.contains(&a.tensor_name));
    }
}

/// The declaration of a value that holds a tensor's type and shape.
fn declaration(tensor: &TensorProto) -> ValueInfoProto {
    let dim = |d: &i64| Dimension { value: Some(DimValue::DimValue(*d)), ..Default::default() };
    let shape = TensorShapeProto { dim: tensor.dims.iter().map(dim).collect(), ..Default::default() };
    let kind = type_proto::Tensor { elem_type: tensor.data_type, shape: Some(shape).into(), ..Default::default() };
    let kind = TypeProto { value: Some(type_proto::Value::TensorType(kind)), ..Default::default() };
    ValueInfoProto { name: tensor.name.clone(), type_: Some(kind).into(), ..Default::default() }
}

#[derive(Default)]
struct Undo {
    old: Vec<(usize, TensorProto)>,
    added: usize,
    dropped: Vec<(usize, TensorProto)>,
}

impl Undo {
    fn run(self, weights: &mut Vec<TensorProto>) {
        for (index, tensor) in self.dropped {
            weights.insert(index.min(weights.len()), tensor);
        }
        weights.truncate(weights.len() - self.added.min(weights.len()));
        for (index, tensor) in self.old {
            weights[index] = tensor;
        }
    }
}

/// Inputs that a caller must feed, and outputs, with their types.
struct Signature {
    inputs: Vec<ValueInfoProto>,
    outputs: Vec<ValueInfoProto>,
}

impl Signature {
    fn of(graph: &GraphProto, weights: &[TensorProto]) -> Self {
        let held: HashSet<&str> = weights.iter().map(|t| t.name.as_str()).collect();
        let inputs = graph.input.iter().filter(|v| !held.contains(v.name.as_str())).cloned().collect();
        Self { inputs, outputs: graph.output.clone() }
    }

    fn compare(&self, graph: &GraphProto) -> Result<(), PatchError> {
        let now = Self::of(graph, &graph.initializer);
        if now.inputs != self.inputs {
            return Err(PatchError::Signature("inputs"));
        }
        if now.outputs != self.outputs {
            return Err(PatchError::Signature("outputs"));
        }
        Ok(())
    }
}

fn redirect_uses(graph: &mut GraphProto, resolved: &HashMap<String, String>) {
    if resolved.is_empty() {
        return;
    }
    // An output keeps its name: the value that takes its place is renamed, all its uses with it.
    let outputs: HashSet<String> = graph.output.iter().map(|v| v.name.clone()).collect();
    let mut renamed: HashMap<String, String> = HashMap::new();
    let mut identities = Vec::new();
    let mut taken: Vec<&String> = resolved.keys().filter(|from| outputs.contains(*from)).collect();
    taken.sort();
    for from in taken {
        let to = &resolved[from];
        let produced = graph.node.iter().any(|n| n.output.contains(to));
        if produced && !outputs.contains(to) && !renamed.contains_key(to) {
            renamed.insert(to.clone(), from.clone());
        } else {
            identities.push((to.clone(), from.clone()));
        }
    }
    let end = |name: &str| {
        let to = resolved.get(name).map(String::as_str);
        match renamed.get(to.unwrap_or(name)) {
            Some(new) => (new != name).then(|| new.clone()),
            None => to.map(str::to_owned),
        }
    };
    for n in &mut graph.node {
        protos::rename_inputs(n, &end);
        for output in &mut n.output {
            if let Some(new) = renamed.get(output.as_str()) {
                output.clone_from(new);
            } else if outputs.contains(output.as_str()) && resolved.contains_key(output.as_str()) {
                // The old producer stays for its other outputs; this one is nobody's any more.
                output.clear();
            }
        }
    }
    for (to, from) in identities {
        let to = renamed.get(&to).cloned().unwrap_or(to);
        graph.node.push(node::new("Identity", &[&to], &[&from]));
    }
}

/// Sorts nodes so that each comes after what it reads, otherwise in the order they were in. Nodes on a cycle stay at the end
/// (the check that follows names them).
pub(crate) fn sort(graph: &mut GraphProto) {
    let producer: HashMap<&str, usize> = graph
        .node
        .iter()
        .enumerate()
        .flat_map(|(i, n)| n.output.iter().filter(|o| !o.is_empty()).map(move |o| (o.as_str(), i)))
        .collect();
    let mut waiting = vec![0usize; graph.node.len()];
    let mut readers: Vec<Vec<usize>> = vec![vec![]; graph.node.len()];
    for (i, n) in graph.node.iter().enumerate() {
        let captured = protos::captured_names(n);
        let sources: HashSet<usize> =
            n.input.iter().map(String::as_str).chain(captured).filter_map(|v| producer.get(v).copied()).collect();
        waiting[i] = sources.len();
        sources.into_iter().for_each(|s| readers[s].push(i));
    }
    let mut ready: std::collections::BTreeSet<usize> =
        waiting.iter().enumerate().filter(|(_, w)| **w == 0).map(|(i, _)| i).collect();
    let mut order = Vec::with_capacity(waiting.len());
    while let Some(i) = ready.pop_first() {
        order.push(i);
        for &r in &readers[i] {
            waiting[r] -= 1;
            if waiting[r] == 0 {
                ready.insert(r);
            }
        }
    }
    if order.iter().enumerate().all(|(position, &i)| position == i) && order.len() == waiting.len() {
        return;
    }
    let placed: HashSet<usize> = order.iter().copied().collect();
    order.extend((0..waiting.len()).filter(|i| !placed.contains(i)));
    let mut nodes: Vec<Option<NodeProto>> = std::mem::take(&mut graph.node).into_iter().map(Some).collect();
    graph.node = order.into_iter().filter_map(|i| nodes[i].take()).collect();
}
