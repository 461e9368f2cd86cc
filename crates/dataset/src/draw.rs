//! Drawing a tensor within a range, where there are no samples.

use plimsoll_onnx::{DType, Tensor};
use plimsoll_stats::Random;

/// The most elements of one drawn tensor: more than any input, less than what would exhaust the machine.
const MOST: usize = 1 << 26;

/// Draws a tensor of numbers from `lo` to `hi`, whole ones each with the same chance; or says why not.
pub fn draw(random: &mut Random, dtype: DType, shape: &[usize], [lo, hi]: [f64; 2]) -> Result<Tensor, String> {
    let elements = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d)).filter(|&n| n <= MOST);
    let elements = elements.ok_or_else(|| format!("the shape {shape:?} is too large to draw"))?;
    if dtype.is_float() {
        let values: Vec<f32> = (0..elements).map(|_| (lo + (hi - lo) * random.unit()) as f32).collect();
        let tensor = match dtype {
            DType::F32 => Tensor::from_elements(shape, &values),
            DType::F64 => Tensor::from_elements(shape, &values.iter().map(|&v| f64::from(v)).collect::<Vec<_>>()),
            DType::F16 => Tensor::from_elements(shape, &values).and_then(|t| t.to_f16()),
            other => return Err(format!("{other} is not drawn")),
        };
        return tensor.map_err(|e| e.to_string());
    }
    if !dtype.bits().is_multiple_of(8) || matches!(dtype, DType::C64 | DType::C128) {
        return Err(format!("{dtype} is not drawn"));
    }
    let (lo, hi) = (lo.ceil(), hi.floor());
    let width = dtype.bits() / 8;
    let mut bytes = Vec::with_capacity(elements * width);
    for _ in 0..elements {
        let value = (lo + (random.unit() * (hi - lo + 1.0)).floor()).min(hi) as i64;
        bytes.extend_from_slice(&value.to_le_bytes()[..width]);
    }
    Tensor::new(dtype, shape.to_vec(), bytes).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(dtype: DType, range: [f64; 2]) -> Vec<f64> {
        let values = draw(&mut Random::new(7), dtype, &[40, 50], range).unwrap().to_f64().unwrap();
        assert!(values.iter().all(|v| (range[0]..=range[1]).contains(v)), "{dtype}");
        values
    }

    #[test]
    fn numbers_stay_in_their_range_and_reach_its_ends() {
        for dtype in [DType::F32, DType::F64, DType::F16] {
            let values = check(dtype, [-1.5, 2.5]);
            assert!(values.iter().any(|&v| v < -1.4) && values.iter().any(|&v| v > 2.4));
        }
        for dtype in [DType::I8, DType::I32, DType::I64] {
            let values = check(dtype, [-3.0, 4.0]);
            assert!(values.contains(&-3.0) && values.contains(&4.0));
        }
        assert!(check(DType::U8, [0.0, 255.0]).contains(&255.0));
        assert_eq!(check(DType::Bool, [0.0, 1.0]).iter().filter(|&&v| v > 1.0).count(), 0);
    }

    #[test]
    fn what_cannot_be_drawn_says_so() {
        let mut random = Random::new(0);
        let mut refused = |dtype, shape: &[usize]| draw(&mut random, dtype, shape, [0.0, 1.0]).unwrap_err();
        assert!(refused(DType::F32, &[1 << 20, 1 << 20]).contains("too large"));
        assert!(refused(DType::F32, &[usize::MAX, usize::MAX]).contains("too large"));
        assert!(refused(DType::U4, &[2]).contains("not drawn"));
        assert!(refused(DType::BF16, &[2]).contains("not drawn"));
    }
}
