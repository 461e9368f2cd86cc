//! What an upgrader may know of the graph around a node, and the constants that it adds.

use std::collections::BTreeMap;

use plimsoll_onnx::{
    DType, Model, Names, Tensor, View,
    proto::NodeProto,
    shape::{Bindings, Shapes, infer},
};

/// What an upgrader says: the node's newer form, `None` where it stays as it is, or why it has none.
pub(super) type Upgraded = Result<Option<Vec<NodeProto>>, String>;

/// The two versions, and the graph.
pub(super) struct Scope<'s> {
    from: i64,
    to: i64,
    view: &'s View<'s>,
    shapes: Shapes,
    names: Names,
    lists: BTreeMap<Vec<i64>, String>,
    constants: Vec<(String, Tensor)>,
    depth: usize,
}

impl<'s> Scope<'s> {
    pub(super) fn new(model: &Model, view: &'s View<'s>, from: i64, to: i64) -> Self {
        let shapes = infer(model, &Bindings::none());
        let names = Names::of(model);
        Self { from, to, view, shapes, names, lists: BTreeMap::new(), constants: Vec::new(), depth: 0 }
    }

    /// Whether an operator that changed in this version is carried across the change.
    pub(super) fn crosses(&self, version: i64) -> bool {
        self.from < version && version <= self.to
    }

    /// The version that is left.
    pub(super) fn from(&self) -> i64 {
        self.from
    }

    /// The version that is reached.
    pub(super) fn to(&self) -> i64 {
        self.to
    }

    /// Does something inside of a node's graph, where names may hide those outside.
    pub(super) fn nested<T>(&mut self, f: impl FnOnce(&mut Self) -> T) -> T {
        self.depth += 1;
        let result = f(self);
        self.depth -= 1;
        result
    }

    /// The rank of a value, where it is known.
    pub(super) fn rank(&self, value: &str) -> Option<usize> {
        (self.depth == 0).then(|| self.shapes.dims(value).map(<[_]>::len)).flatten()
    }

    /// The element type of a value, where it is known.
    pub(super) fn dtype(&self, value: &str) -> Option<DType> {
        (self.depth == 0).then(|| self.shapes.dtype(value)).flatten()
    }

    /// The data of a value that no caller can change.
    pub(super) fn constant(&self, value: &str) -> Option<Tensor> {
        let proto = (self.depth == 0).then(|| self.view.constant(value)).flatten()?;
        Tensor::from_proto(proto).ok()
    }

    /// A name that is free in every graph.
    pub(super) fn fresh(&mut self, base: &str) -> String {
        self.names.fresh(base)
    }

    /// A list of whole numbers as a constant; equal lists are stored once.
    pub(super) fn list(&mut self, values: &[i64]) -> String {
        if let Some(found) = self.lists.get(values) {
            return found.clone();
        }
        let name = self.hold("list", Tensor::vector(values));
        self.lists.insert(values.to_vec(), name.clone());
        name
    }

    /// A constant. It lives in the main graph, whose values nested graphs see.
    pub(super) fn hold(&mut self, base: &str, tensor: Tensor) -> String {
        let name = self.names.fresh(base);
        self.constants.push((name.clone(), tensor));
        name
    }

    /// A float attribute as a scalar of the element type of `like`.
    pub(super) fn scalar_like(&mut self, value: f32, like: &str) -> Result<String, String> {
        let tensor = match self.dtype(like) {
            Some(DType::F32) => Tensor::scalar(value),
            Some(DType::F64) => Tensor::scalar(f64::from(value)),
            Some(DType::F16) => Tensor::scalar(half::f16::from_f32(value)),
            Some(other) => return Err(format!("its input is {other}, a scalar of which is not built here")),
            None => return Err("the element type of its input is not known".into()),
        };
        Ok(self.hold("value", tensor))
    }

    /// The constants that were added.
    pub(super) fn take_constants(self) -> Vec<(String, Tensor)> {
        self.constants
    }
}
