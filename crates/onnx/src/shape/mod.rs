//! Types and shapes of the values of a graph, with symbolic dimensions and the values of small integer tensors.
//!
//! What is claimed is provable from the graph: two equal [`Symbol`]s are equal sizes in every run, and an operator, domain or
//! form that is not known gives nothing (there a declared `value_info` counts). Method: forward abstract interpretation over
//! the nodes in stored order, as ONNX's own "partial data propagation" does. Bodies of control flow and of functions are
//! followed with what is known where they are entered ([`Shapes::inner`]).

mod bodies;
mod einsum;
mod elements;
mod functions;
mod layers;
mod matrix;
mod movement;
mod operators;
mod reduce;

use std::collections::{BTreeMap, HashMap};

use onnx_protobuf::{GraphProto, NodeProto, TensorProto};

pub use bodies::{Body, Inner, Runs};

use crate::{DType, DimSpec, Model, NodeId, Tensor, ValueSpec, View, attr, node};

/// A size that is not known as a number. Equal symbols are equal sizes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Symbol(u32);

/// One dimension.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dim {
    /// A number.
    Known(u64),
    /// The same number wherever the symbol stands.
    Symbol(Symbol),
}

impl Dim {
    /// The number, where it is known.
    pub fn known(self) -> Option<u64> {
        match self {
            Self::Known(n) => Some(n),
            Self::Symbol(_) => None,
        }
    }
}

/// One element of a small integer tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Element {
    /// A number.
    Known(i64),
    /// A dimension that is not known as a number.
    Dim(Symbol),
    /// Nothing known.
    Unknown,
}

impl From<Dim> for Element {
    fn from(dim: Dim) -> Self {
        match dim {
            Dim::Known(n) => i64::try_from(n).map_or(Self::Unknown, Self::Known),
            Dim::Symbol(s) => Self::Dim(s),
        }
    }
}

/// Element type and dimensions of a value, as far as they are known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ValueType {
    /// Element type.
    pub dtype: Option<DType>,
    /// Dimensions; `None` where not even the rank is known.
    pub dims: Option<Vec<Dim>>,
}

/// What the open dimensions of inputs stand for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bindings {
    batch: Option<u64>,
    shapes: BTreeMap<String, Vec<usize>>,
}

impl Bindings {
    /// They stay symbolic.
    pub fn none() -> Self {
        Self::default()
    }

    /// The first dimension of an input, where it is open, is `n`; other open dimensions are 1.
    pub fn batch(n: u64) -> Self {
        Self { batch: Some(n), ..Self::default() }
    }

    /// Inputs have exactly these shapes.
    pub fn shapes(shapes: BTreeMap<String, Vec<usize>>) -> Self {
        Self { batch: None, shapes }
    }
}

/// The result of [`infer`].
#[derive(Debug, Clone, Default)]
pub struct Shapes {
    types: HashMap<String, ValueType>,
    elements: HashMap<String, Vec<Element>>,
    matrices: HashMap<String, matrix::Matrix>,
    inner: HashMap<NodeId, Inner>,
}

impl Shapes {
    /// What is known of a value.
    pub fn get(&self, value: &str) -> Option<&ValueType> {
        self.types.get(value)
    }

    /// Its element type.
    pub fn dtype(&self, value: &str) -> Option<DType> {
        self.get(value)?.dtype
    }

    /// Its dimensions.
    pub fn dims(&self, value: &str) -> Option<&[Dim]> {
        self.get(value)?.dims.as_deref()
    }

    /// Its shape, where every dimension is a number.
    pub fn concrete(&self, value: &str) -> Option<Vec<usize>> {
        self.dims(value)?.iter().map(|d| d.known().and_then(|n| usize::try_from(n).ok())).collect()
    }

    /// Elements of a small integer tensor (scalar or vector), where something is known of them.
    pub fn elements(&self, value: &str) -> Option<&[Element]> {
        self.elements.get(value).map(Vec::as_slice)
    }

    /// What a node with bodies runs: `If`, `Loop`, `Scan`, or a call of one of the model's functions. `None` for other nodes, and
    /// where the bodies could not be followed.
    pub fn inner(&self, id: NodeId) -> Option<&Inner> {
        self.inner.get(&id)
    }
}

/// Infers over the main graph and, from there, the graphs inside it.
pub fn infer(model: &Model, bindings: &Bindings) -> Shapes {
    let graph = model.graph();
    let functions = functions::Functions::of(model);
    let concrete = bindings.batch.is_some() || !bindings.shapes.is_empty();
    let mut infer = Infer::of_model(model, &functions, concrete);
    infer.hold_constants();
    // What a caller may override has the declared shape, which can be wider than that of the default.
    for spec in graph.input.iter().map(ValueSpec::from_proto) {
        let overridable = infer.view.initializer(&spec.name).is_some() && infer.view.constant(&spec.name).is_none();
        if let Some(dims) = spec.dims.as_ref().filter(|_| overridable) {
            let dims = dims.iter().map(|d| infer.symbol_of(d)).collect();
            infer.set(&spec.name, ValueType { dtype: spec.dtype, dims: Some(dims) });
        }
    }
    for spec in model.inputs() {
        let bound = bindings.shapes.get(&spec.name);
        let dims = match bound {
            Some(shape) => Some(shape.iter().map(|&d| Dim::Known(d as u64)).collect()),
            None => spec.dims.as_ref().map(|dims| {
                let dim = |(axis, d): (usize, &DimSpec)| match (d, bindings.batch) {
                    (DimSpec::Fixed(n), _) => Dim::Known(*n),
                    (_, Some(n)) => Dim::Known(if axis == 0 { n } else { 1 }),
                    (d, None) => infer.symbol_of(d),
                };
                dims.iter().enumerate().map(dim).collect()
            }),
        };
        infer.set(&spec.name, ValueType { dtype: spec.dtype, dims });
    }
    infer.run();
    infer.shapes
}

struct Infer<'m> {
    view: View<'m>,
    /// The graph around a body.
    outer: Option<&'m Infer<'m>>,
    functions: &'m functions::Functions<'m>,
    /// Constants that a function was called with.
    given: HashMap<&'m str, &'m TensorProto>,
    shapes: Shapes,
    next: u32,
    named: HashMap<String, Symbol>,
    opset: i64,
    /// Whether open dimensions were given numbers.
    concrete: bool,
    /// Nodes of bodies that may still be followed.
    left: usize,
    depth: usize,
}

/// Shapes larger than this many elements are not followed by value.
const MOST_ELEMENTS: usize = 4096;
/// Ranks above this are not believed.
const MOST_RANK: usize = 64;

type Dims = Option<Vec<Dim>>;

impl<'m> Infer<'m> {
    fn of_model(model: &'m Model, functions: &'m functions::Functions<'m>, concrete: bool) -> Self {
        Self {
            view: model.view(),
            outer: None,
            functions,
            given: HashMap::new(),
            shapes: Shapes::default(),
            next: 0,
            named: HashMap::new(),
            opset: model.opset("").unwrap_or(1),
            concrete,
            left: bodies::MOST_NODES,
            depth: 0,
        }
    }

    /// For a graph inside this one, with what is known in it; it sees nothing of this one.
    fn nested<'g>(&'g self, graph: &'g GraphProto, shapes: Shapes) -> Infer<'g> {
        Infer {
            view: View::new(graph, self.functions.ir_version),
            outer: None,
            functions: self.functions,
            given: HashMap::new(),
            shapes,
            next: self.next,
            named: HashMap::new(),
            opset: self.opset,
            concrete: self.concrete,
            left: self.left,
            depth: self.depth + 1,
        }
    }

    /// Takes up the types of initializers.
    fn hold_constants(&mut self) {
        let graph = self.view.graph();
        let dense = graph.initializer.iter().map(|t| (&t.name, &t.dims, t.data_type));
        let sparse = graph.sparse_initializer.iter().map(|t| (&t.values.name, &t.dims, t.values.data_type));
        for (name, dims, data_type) in dense.chain(sparse) {
            let dims = dims.iter().map(|&d| u64::try_from(d).map(Dim::Known)).collect::<Result<_, _>>().ok();
            self.set(name, ValueType { dtype: DType::from_onnx(data_type), dims });
        }
    }

    /// Follows the nodes of the graph.
    fn run(&mut self) {
        let graph = self.view.graph();
        let specs = graph.output.iter().chain(&graph.value_info);
        let declared: HashMap<&str, ValueSpec> = specs.map(|p| (p.name.as_str(), ValueSpec::from_proto(p))).collect();
        for (index, n) in graph.node.iter().enumerate() {
            self.visit(NodeId(index), n, &declared);
        }
    }
}

impl Infer<'_> {
    fn fresh(&mut self) -> Dim {
        self.next += 1;
        Dim::Symbol(Symbol(self.next))
    }

    fn symbol_of(&mut self, dim: &DimSpec) -> Dim {
        match dim {
            DimSpec::Fixed(n) => Dim::Known(*n),
            DimSpec::Unknown => self.fresh(),
            DimSpec::Symbol(name) => match self.named.get(name) {
                Some(&symbol) => Dim::Symbol(symbol),
                None => {
                    self.next += 1;
                    let symbol = Symbol(self.next);
                    self.named.insert(name.clone(), symbol);
                    Dim::Symbol(symbol)
                }
            },
        }
    }

    fn set(&mut self, value: &str, found: ValueType) {
        if !value.is_empty() {
            self.shapes.types.insert(value.into(), found);
        }
    }

    fn visit(&mut self, id: NodeId, n: &NodeProto, declared: &HashMap<&str, ValueSpec>) {
        let concrete = self.concrete;
        let known = node::is_default_domain(&n.domain);
        let found = self.enter(id, n).or_else(|| if known { self.infer_node(n) } else { None });
        let mut found = found.unwrap_or_default();
        found.resize(n.output.len(), ValueType::default());
        for (output, mut found) in n.output.iter().zip(found) {
            if found.dims.as_ref().is_some_and(|d| d.len() > MOST_RANK) {
                found.dims = None;
            }
            if let Some(spec) = declared.get(output.as_str()) {
                found.dtype = found.dtype.or(spec.dtype);
                if found.dims.is_none() {
                    // A declared name says nothing about a bound batch: there it stays unknown.
                    found.dims = spec.dims.as_ref().map(|dims| {
                        let dim = |d: &DimSpec| match d {
                            DimSpec::Symbol(_) if concrete => self.fresh(),
                            d => self.symbol_of(d),
                        };
                        dims.iter().map(dim).collect()
                    });
                }
            }
            self.set(output, found);
        }
        if node::is_default_domain(&n.domain)
            && let Some(output) = n.output.first()
            && let Some(elements) = self.elements_of(n)
            && elements.len() <= MOST_ELEMENTS
        {
            self.shapes.elements.insert(output.clone(), elements);
        }
        if node::is_default_domain(&n.domain)
            && let Some(output) = n.output.first()
            && let Some(matrix) = self.matrix_of(n)
        {
            self.shapes.matrices.insert(output.clone(), matrix);
        }
    }

    // What the operator files use.

    fn dims(&self, n: &NodeProto, slot: usize) -> Dims {
        node::input(n, slot).and_then(|i| self.shapes.dims(i)).map(<[Dim]>::to_vec)
    }

    fn dtype(&self, n: &NodeProto, slot: usize) -> Option<DType> {
        node::input(n, slot).and_then(|i| self.shapes.dtype(i))
    }

    /// Elements of an input: followed by value, or of a constant.
    fn elements(&self, n: &NodeProto, slot: usize) -> Option<Vec<Element>> {
        let name = node::input(n, slot)?;
        if let Some(found) = self.shapes.elements(name) {
            return Some(found.to_vec());
        }
        let tensor = self.constant(name)?;
        Some(tensor.to_i64().ok()?.into_iter().map(Element::Known).collect())
    }

    /// A small constant.
    fn constant(&self, name: &str) -> Option<Tensor> {
        let proto = self.constant_proto(name)?;
        let elements = proto.dims.iter().try_fold(1i64, |n, &d| n.checked_mul(d))?;
        if elements > MOST_ELEMENTS as i64 { None } else { Tensor::from_proto(proto).ok() }
    }

    /// An input's elements, where all are numbers.
    fn integers(&self, n: &NodeProto, slot: usize) -> Option<Vec<i64>> {
        let known = |e: Element| if let Element::Known(v) = e { Some(v) } else { None };
        self.elements(n, slot)?.into_iter().map(known).collect()
    }

    /// A list that older operator sets take as attribute and newer ones as input `slot`: `Some(None)` where it is absent,
    /// `None` where it is there and not known.
    fn list(&self, n: &NodeProto, name: &str, slot: usize) -> Option<Option<Vec<i64>>> {
        if let Some(list) = attr::ints(n, name) {
            return Some(Some(list.to_vec()));
        }
        if node::input(n, slot).is_some() { self.integers(n, slot).map(Some) } else { Some(None) }
    }

    fn like(&self, n: &NodeProto, slot: usize) -> ValueType {
        ValueType { dtype: self.dtype(n, slot), dims: self.dims(n, slot) }
    }

    fn broadcast(&mut self, shapes: Vec<Dims>) -> Dims {
        let shapes: Vec<Vec<Dim>> = shapes.into_iter().collect::<Option<_>>()?;
        let rank = shapes.iter().map(Vec::len).max()?;
        let mut out = Vec::with_capacity(rank);
        for axis in 0..rank {
            let mut dim = Dim::Known(1);
            for shape in &shapes {
                let Some(at) = (axis + shape.len()).checked_sub(rank) else { continue };
                dim = match (dim, shape[at]) {
                    (Dim::Known(1), other) | (other, Dim::Known(1)) => other,
                    (a, b) if a == b => a,
                    (Dim::Known(n), Dim::Symbol(_)) | (Dim::Symbol(_), Dim::Known(n)) => Dim::Known(n),
                    (Dim::Known(_), Dim::Known(_)) => return None,
                    (Dim::Symbol(_), Dim::Symbol(_)) => self.fresh(),
                };
            }
            out.push(dim);
        }
        Some(out)
    }
}

/// A negative axis counted from the end; `None` where it lies outside.
fn axis_of(axis: i64, rank: usize) -> Option<usize> {
    let rank = i64::try_from(rank).ok()?;
    let axis = if axis < 0 { axis.checked_add(rank)? } else { axis };
    (0..rank).contains(&axis).then_some(axis as usize)
}
