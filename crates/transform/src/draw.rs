//! Drawing inputs within ranges. Knows declarations and numbers, neither models' meaning nor executors.

use std::collections::BTreeMap;

use plimsoll_onnx::{DType, DimSpec, Model, Tensor, Tensors, ValueSpec, all_nodes, node};

use crate::{Ranges, simplify::is_random};

/// The most elements of one drawn input.
const MOST_ELEMENTS: usize = 1 << 26;
/// The batch size that is drawn where it is open: two samples tell batch and broadcast apart.
const BATCH: usize = 2;

/// SplitMix64 (Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators", 2014): enough for test inputs.
#[derive(Debug, Clone)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed ^ 0x9e37_79b9_7f4a_7c15)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// In [0, 1).
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// One batch. The first dimension, where it is open, is 2, and so is every other of the same name; the rest become `open`.
pub(crate) fn inputs(dice: &mut Dice, specs: &[ValueSpec], ranges: &Ranges, open: usize) -> Result<Tensors, String> {
    let batch = |spec: &ValueSpec| match spec.dims.as_ref()?.first()? {
        DimSpec::Symbol(name) => Some(name.clone()),
        _ => None,
    };
    let batches: BTreeMap<String, ()> = specs.iter().filter_map(batch).map(|name| (name, ())).collect();
    let size = |(axis, dim): (usize, &DimSpec)| match dim {
        DimSpec::Fixed(n) => usize::try_from(*n).unwrap_or(usize::MAX),
        DimSpec::Symbol(name) if batches.contains_key(name) => BATCH,
        _ if axis == 0 => BATCH,
        _ => open,
    };
    let mut drawn = Tensors::new();
    for spec in specs {
        let name = &spec.name;
        let dims = spec.dims.as_ref().ok_or_else(|| format!("input `{name}` declares no shape"))?;
        let shape: Vec<usize> = dims.iter().enumerate().map(size).collect();
        let range = ranges.get(name).ok_or_else(|| format!("the range of input `{name}` is not known"))?;
        drawn.insert(name.clone(), tensor(dice, spec, shape, *range)?);
    }
    Ok(drawn)
}

fn tensor(dice: &mut Dice, spec: &ValueSpec, shape: Vec<usize>, [lo, hi]: [f64; 2]) -> Result<Tensor, String> {
    let name = &spec.name;
    let dtype = spec.dtype.ok_or_else(|| format!("input `{name}` has no dense numeric dtype"))?;
    let elements = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d)).filter(|&n| n <= MOST_ELEMENTS);
    let elements = elements.ok_or_else(|| format!("input `{name}` is too large to draw"))?;
    let mut real = || lo + (hi - lo) * dice.unit();
    if dtype.is_float() {
        let values: Vec<f32> = (0..elements).map(|_| real() as f32).collect();
        let tensor = match dtype {
            DType::F32 => Tensor::from_elements(&shape, &values),
            DType::F64 => Tensor::from_elements(&shape, &values.iter().map(|&v| f64::from(v)).collect::<Vec<_>>()),
            DType::F16 => Tensor::from_elements(&shape, &values).and_then(|t| t.to_f16()),
            other => return Err(format!("inputs of {other} are not drawn")),
        };
        return tensor.map_err(|e| e.to_string());
    }
    if dtype.bits() % 8 != 0 || matches!(dtype, DType::C64 | DType::C128) {
        return Err(format!("inputs of {dtype} are not drawn"));
    }
    // Whole numbers from lo to hi, both with the same chance as the rest.
    let (lo, hi) = (lo.ceil(), hi.floor());
    let width = dtype.bits() / 8;
    let mut bytes = Vec::with_capacity(elements * width);
    for _ in 0..elements {
        let value = (lo + (dice.unit() * (hi - lo + 1.0)).floor()).min(hi) as i64;
        bytes.extend_from_slice(&value.to_le_bytes()[..width]);
    }
    Tensor::new(dtype, shape, bytes).map_err(|e| e.to_string())
}

/// The first node whose results are drawn at random, for the message.
pub(crate) fn random_operator(model: &Model) -> Option<String> {
    let view = model.view();
    let functions = model.proto().functions.iter().flat_map(|f| &f.node);
    let n = all_nodes(model.graph()).into_iter().chain(functions).find(|n| is_random(&view, n))?;
    Some(format!("node `{}` ({})", node::label(n), n.op_type))
}
