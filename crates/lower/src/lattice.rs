//! Weights that came from int8 and were dequantized when the model was read, found again as whole numbers times a scale.

/// Whole numbers in −128 … 127 and the scale that gives `values` back to within rounding, or `None` where there is none. All-zero
/// values are zeros with scale 1.
pub(crate) fn whole_numbers(values: &[f32]) -> Option<(Vec<i8>, f32)> {
    let largest = values.iter().fold(0f32, |m, v| m.max(v.abs()));
    if largest == 0. {
        return Some((vec![0; values.len()], 1.));
    }
    if !largest.is_finite() {
        return None;
    }
    // The largest magnitude is `levels` steps; products of a step and a number below 128 were rounded to 24 bits, so that a
    // quotient of two of them is off by less than 128 × 2⁻²³.
    (1..=128).find_map(|levels| {
        let step = largest / levels as f32;
        let near = |v: &f32| {
            let quotient = v / step;
            let whole = quotient.round();
            ((quotient - whole).abs() < 4e-5 && (-128. ..128.).contains(&whole)).then_some(whole as i8)
        };
        Some((values.iter().map(near).collect::<Option<Vec<i8>>>()?, step))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dequantized_weights_are_found_again() {
        let numbers: Vec<i8> = (-127..=127).step_by(3).collect();
        for scale in [1e-8f32, 0.003_7, 1., 255.3] {
            let values: Vec<f32> = numbers.iter().map(|q| f32::from(*q) * scale).collect();
            let (found, step) = whole_numbers(&values).expect("they lie on a lattice");
            assert!(found.iter().zip(&values).all(|(q, v)| (f32::from(*q) * step - v).abs() <= 1e-6 * v.abs()));
        }
    }

    #[test]
    fn weights_that_never_were_int8_are_left_alone() {
        assert_eq!(whole_numbers(&[0.3, 0.7123, -0.1999, 0.5]), None);
        assert_eq!(whole_numbers(&[1., f32::NAN]), None);
        assert_eq!(whole_numbers(&[1., f32::INFINITY]), None);
    }

    #[test]
    fn zeros_have_a_scale() {
        assert_eq!(whole_numbers(&[0., 0.]), Some((vec![0, 0], 1.)));
    }
}
