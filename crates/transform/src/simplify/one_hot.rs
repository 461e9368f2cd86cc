//! The product of a one-hot vector and a constant matrix, which is a row of the matrix looked up.
//!
//! A number that has no place in the one-hot vector makes it all zeros, and the product a row of zeros. The table gets that row
//! at its end: numbers below the first place become -1 and numbers above the last one its index, and `Gather` counts negative
//! indices from the end, so that both find it with one `Clip` and no comparison.

use plimsoll_onnx::{
    DType, Model, Names, NodeId, Patch, Tensor, View, attr, node,
    proto::NodeProto,
    shape::{self, Bindings, Dim, Shapes},
};

use super::common;
use crate::{Context, Effect, Pass, Refusal};

/// Places below which a product costs no more than looking up.
const FEWEST: usize = 8;
/// `Clip` takes integers from this operator set on.
const OPSET: i64 = 12;

pub(super) struct OneHotProducts;

impl Pass for OneHotProducts {
    fn name(&self) -> &'static str {
        "one-hot-products"
    }

    fn effect(&self) -> Effect {
        Effect::Exact
    }

    fn after(&self) -> &'static [&'static str] {
        &["constant-nodes", "expands"]
    }

    fn run(&self, model: &Model, _: &Context<'_>) -> Result<Patch, Refusal> {
        let opset = model.opset("").unwrap_or(1);
        if model.proto().ir_version < 4 || opset < OPSET {
            return Err(Refusal::NoMatch);
        }
        let view = model.view();
        let shapes = shape::infer(model, &Bindings::none());
        let mut names = Names::of(model);
        let mut patch = Patch::new();
        for (id, product) in view.nodes() {
            let Some(found) = Found::of(&view, &shapes, product) else { continue };
            let Some(table) = found.table() else { continue };
            let Some(output) = product.output.first() else { continue };
            let name = names.fresh(&format!("{}_table", node::input(product, 1).unwrap_or_default()));
            let mut steps = Steps { nodes: vec![], names: &mut names, patch: &mut patch, opset };
            let index = steps.index(&found);
            steps.nodes.push(node::with("Gather", &[&name, &index], &[output], vec![attr::from_int("axis", 0)]));
            if let Some(last) = steps.nodes.last_mut() {
                last.name.clone_from(&product.name);
            }
            let nodes = steps.nodes;
            patch.because(format!("{} looks rows up that it multiplied by one-hot vectors", node::label(product)));
            patch.set_initializer(&name, &table);
            patch.replace(id, nodes);
            for id in found.gone {
                patch.remove(id);
            }
        }
        if patch.is_empty() { Err(Refusal::NoMatch) } else { Ok(patch) }
    }
}

/// A one-hot vector times a matrix.
struct Found {
    /// The whole numbers that are encoded, and what dtype they have.
    index: String,
    dtype: DType,
    /// Whether they have a last dimension of 1 that the encoding fills.
    trailing: bool,
    /// Numbers that can occur.
    possible: [i64; 2],
    /// Whether negative numbers count from the end.
    wraps: bool,
    /// The number that each place stands for.
    places: Vec<i64>,
    /// What stands in the place that is hit.
    hot: f64,
    /// One row a place, and what is added to each.
    rows: Vec<Vec<f64>>,
    bias: Vec<f64>,
    /// Nodes that nothing else needs.
    gone: Vec<NodeId>,
}

impl Found {
    fn of(view: &View<'_>, shapes: &Shapes, product: &NodeProto) -> Option<Self> {
        let (rows, bias) = matrix(view, product)?;
        let mut gone = Vec::new();
        let mut value = node::input(product, 0)?;
        let sole = |value: &str| view.sole_user(value).and_then(|_| view.producer(value));
        let (mut id, mut n) = sole(value)?;
        while node::is(n, "Cast") {
            gone.push(id);
            value = node::input(n, 0)?;
            (id, n) = sole(value)?;
        }
        gone.push(id);
        let cast = gone.len() > 1;
        if node::is(n, "OneHot") {
            return Self::encoded(view, shapes, n, rows, bias, gone, cast);
        }
        let mut hot = 1.0;
        if node::is(n, "Where") {
            let number = |slot| one_number(view, node::input(n, slot)?);
            hot = number(1)?;
            if number(2)? != 0.0 || (cast && hot != 1.0) {
                return None;
            }
            (id, n) = sole(node::input(n, 0)?)?;
            gone.push(id);
        } else if !cast {
            return None;
        }
        let [a, b] = n.input.as_slice() else { return None };
        if !node::is(n, "Equal") {
            return None;
        }
        let (index, places) = if view.constant(b).is_some() { (a, b) } else { (b, a) };
        let places = common::constant(view, places)?;
        let (last, leading) = places.shape().split_last()?;
        let dims = shapes.dims(index)?;
        let fits = leading.iter().all(|&d| d == 1) && dims.len() > leading.len() && *last == rows.len();
        let dtype = shapes.dtype(index).filter(|&d| bounds(d).is_some() && d == places.dtype())?;
        if !fits || dims.last() != Some(&Dim::Known(1)) {
            return None;
        }
        let (possible, places) = (possible(view, shapes, index)?, places.to_i64().ok()?);
        Some(Self {
            index: index.clone(),
            dtype,
            trailing: true,
            possible,
            wraps: false,
            places,
            hot,
            rows,
            bias,
            gone,
        })
    }

    /// The form with the operator `OneHot`.
    fn encoded(
        view: &View<'_>,
        shapes: &Shapes,
        n: &NodeProto,
        rows: Vec<Vec<f64>>,
        bias: Vec<f64>,
        gone: Vec<NodeId>,
        cast: bool,
    ) -> Option<Self> {
        let index = node::input(n, 0)?;
        let rank = shapes.dims(index)?.len() as i64;
        let axis = attr::int(n, "axis").unwrap_or(-1);
        let values = common::constant(view, node::input(n, 2)?)?.to_f64().ok()?;
        let &[cold, hot] = values.as_slice() else { return None };
        let depth = one_number(view, node::input(n, 1)?)?;
        let right = cold == 0.0 && (axis == -1 || axis == rank) && depth == rows.len() as f64;
        if !right || (cast && hot != 1.0) {
            return None;
        }
        let dtype = shapes.dtype(index).filter(|&d| bounds(d).is_some())?;
        let possible = possible(view, shapes, index)?;
        let places = (0..rows.len() as i64).collect();
        let wraps = possible[0] < 0;
        let (index, trailing) = (index.to_owned(), false);
        Some(Self { index, dtype, trailing, possible, wraps, places, hot, rows, bias, gone })
    }

    /// The smallest number that has a place, and how many there are from it to the largest.
    fn span(&self) -> Option<(i64, usize)> {
        let (low, high) = (*self.places.iter().min()?, *self.places.iter().max()?);
        Some((low, usize::try_from(high.checked_sub(low)?.checked_add(1)?).ok()?))
    }

    /// A row a number, and one of a vector of zeros; `None` where looking up would not pay or would not be the same.
    fn table(&self) -> Option<Tensor> {
        let (low, span) = self.span()?;
        // The numbers around the places must exist, and gaps between the places may not enlarge the table by much.
        let [least, most] = bounds(index_dtype(self.dtype))?;
        let around = low.checked_sub(1)? >= least && low.checked_add(span as i64)? <= most;
        if self.places.len() < FEWEST || span > self.places.len() + self.places.len() / 8 || !around {
            return None;
        }
        let width = self.rows.first()?.len();
        let mut table = vec![vec![0.0; width]; span + 1];
        for (place, row) in self.places.iter().zip(&self.rows) {
            let at = usize::try_from(place - low).ok()?;
            table.get_mut(at)?.iter_mut().zip(row).for_each(|(sum, w)| *sum += w * self.hot);
        }
        let values: Vec<f32> =
            table.iter().flat_map(|row| row.iter().zip(&self.bias).map(|(v, b)| (v + b) as f32)).collect();
        Tensor::from_elements(&[span + 1, width], &values).ok().filter(Tensor::is_finite)
    }
}

/// The nodes that make an index of a number.
struct Steps<'s> {
    nodes: Vec<NodeProto>,
    names: &'s mut Names,
    patch: &'s mut Patch,
    opset: i64,
}

impl Steps<'_> {
    fn index(&mut self, found: &Found) -> String {
        let mut value = found.index.clone();
        if found.trailing {
            value = if self.opset < 13 {
                self.step("Squeeze", &value, &[], vec![attr::from_ints("axes", &[-1])])
            } else {
                let axes = self.constant("axes", &Tensor::vector(&[-1i64]));
                self.step("Squeeze", &value, &[&axes], vec![])
            };
        }
        let dtype = index_dtype(found.dtype);
        if dtype != found.dtype {
            value = self.step("Cast", &value, &[], vec![attr::from_int("to", dtype.to_onnx().into())]);
        }
        let Some((low, span)) = found.span() else { return value };
        let [mut least, most] = found.possible;
        if found.wraps {
            let (zero, depth) = (self.number(0, dtype), self.number(span as i64, dtype));
            let negative = self.step("Less", &value, &[&zero], vec![]);
            let wrapped = self.step("Add", &value, &[&depth], vec![]);
            value = self.step("Where", &negative, &[&wrapped, &value], vec![]);
            least = least.saturating_add(span as i64).min(0);
        }
        if least < low - 1 || most > low + span as i64 {
            let (least, most) = (self.number(low - 1, dtype), self.number(low + span as i64, dtype));
            value = self.step("Clip", &value, &[&least, &most], vec![]);
        }
        if low != 0 {
            let low = self.number(low, dtype);
            value = self.step("Sub", &value, &[&low], vec![]);
        }
        value
    }

    fn step(
        &mut self,
        op: &str,
        value: &str,
        rest: &[&str],
        attributes: Vec<plimsoll_onnx::proto::AttributeProto>,
    ) -> String {
        let output = self.names.fresh(&format!("{value}_{}", op.to_lowercase()));
        let inputs: Vec<&str> = std::iter::once(value).chain(rest.iter().copied()).collect();
        self.nodes.push(node::with(op, &inputs, &[&output], attributes));
        output
    }

    fn constant(&mut self, base: &str, tensor: &Tensor) -> String {
        let name = self.names.fresh(base);
        self.patch.set_initializer(&name, tensor);
        name
    }

    fn number(&mut self, value: i64, dtype: DType) -> String {
        let tensor = if dtype == DType::I64 { Tensor::scalar(value) } else { Tensor::scalar(value as i32) };
        self.constant("index", &tensor)
    }
}

/// The constant matrix of a product as rows, and what is added to each result. It has no other reader: a table beside it would
/// hold everything twice.
fn matrix(view: &View<'_>, product: &NodeProto) -> Option<(Vec<Vec<f64>>, Vec<f64>)> {
    let name = node::input(product, 1)?;
    let gemm = node::is(product, "Gemm");
    if !gemm && !node::is(product, "MatMul") {
        return None;
    }
    view.sole_user(name)?;
    let tensor = common::constant(view, name).filter(|t| t.dtype() == DType::F32 && t.is_finite())?;
    let &[height, width] = tensor.shape() else { return None };
    let values = tensor.to_f64().ok()?;
    if !gemm {
        let rows = values.chunks(width.max(1)).map(<[f64]>::to_vec).collect();
        return (height > 0 && width > 0).then(|| (rows, vec![0.0; width]));
    }
    if attr::flag(product, "transA", false)? || height == 0 || width == 0 {
        return None;
    }
    let factor = |name: &str| f64::from(attr::float(product, name).unwrap_or(1.0));
    let (alpha, beta) = (factor("alpha"), factor("beta"));
    let transposed = attr::flag(product, "transB", false)?;
    let (count, outputs) = if transposed { (width, height) } else { (height, width) };
    let at = |row: usize, column: usize| values[if transposed { column * width + row } else { row * width + column }];
    let rows = (0..count).map(|row| (0..outputs).map(|column| alpha * at(row, column)).collect()).collect();
    let bias = match node::input(product, 2) {
        None => vec![0.0; outputs],
        Some(name) => {
            let bias = common::constant(view, name).filter(|t| t.dtype() == DType::F32)?;
            let flat = bias.shape().iter().rev().skip(1).all(|&d| d == 1);
            let bias: Vec<f64> = bias.to_f64().ok()?.iter().map(|b| beta * b).collect();
            match bias.len() {
                1 => vec![bias[0]; outputs],
                n if n == outputs && flat => bias,
                _ => return None,
            }
        }
    };
    Some((rows, bias))
}

/// What a constant of one element holds.
fn one_number(view: &View<'_>, value: &str) -> Option<f64> {
    match common::constant(view, value)?.to_f64().ok()?.as_slice() {
        &[number] => Some(number),
        _ => None,
    }
}

/// The dtype that `Gather` takes for whole numbers of a dtype.
fn index_dtype(dtype: DType) -> DType {
    match dtype {
        DType::I64 | DType::U32 => DType::I64,
        _ => DType::I32,
    }
}

/// The least and the largest number of an integer dtype.
fn bounds(dtype: DType) -> Option<[i64; 2]> {
    Some(match dtype {
        DType::U8 => [0, u8::MAX.into()],
        DType::I8 => [i8::MIN.into(), i8::MAX.into()],
        DType::U16 => [0, u16::MAX.into()],
        DType::I16 => [i16::MIN.into(), i16::MAX.into()],
        DType::U32 => [0, u32::MAX.into()],
        DType::I32 => [i32::MIN.into(), i32::MAX.into()],
        DType::I64 => [i64::MIN, i64::MAX],
        _ => return None,
    })
}

/// The numbers that a value can hold, by its dtype and by those that it was cast from.
fn possible(view: &View<'_>, shapes: &Shapes, value: &str) -> Option<[i64; 2]> {
    let mut range = bounds(shapes.dtype(value)?)?;
    let mut value = value;
    while let Some((_, n)) = view.producer(value).filter(|(_, n)| node::is_default_domain(&n.domain)) {
        let Some(source) = node::input(n, 0).filter(|_| n.output.first().is_some_and(|o| o == value)) else { break };
        match n.op_type.as_str() {
            "Reshape" | "Squeeze" | "Unsqueeze" | "Flatten" | "Transpose" | "Identity" | "Expand" => {}
            "Cast" => match shapes.dtype(source).and_then(bounds) {
                // Numbers that the narrower dtype does not hold would wrap around.
                Some([least, most]) if range[0] <= least && most <= range[1] => range = [least, most],
                _ => break,
            },
            _ => break,
        }
        value = source;
    }
    Some(range)
}
