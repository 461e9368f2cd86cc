//! Calibration, validation and test data share no sample.

use plimsoll_dataset::{Samples, overlap};

use plimsoll_measure::MeasureError;

use crate::OptimizeError;

/// Refuses sets that share a sample, by the digest of its inputs. Each set comes with what it is for.
pub fn check_disjoint(sets: &[(&'static str, &dyn Samples)]) -> Result<(), OptimizeError> {
    for (i, (first, here)) in sets.iter().enumerate() {
        for (second, there) in &sets[i + 1..] {
            let shared = overlap(*here, *there).map_err(MeasureError::from)?;
            if let Some(&(a, b)) = shared.first() {
                return Err(OptimizeError::Overlap {
                    first,
                    second,
                    files: [here.path().to_owned(), there.path().to_owned()],
                    count: shared.len(),
                    example: [a, b],
                });
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use plimsoll_dataset::Dataset;
    use plimsoll_onnx::{Tensor, Tensors};

    use super::*;

    fn set(values: &[f32]) -> Dataset {
        let inputs = Tensors::from([("x".to_owned(), Tensor::from_elements(&[values.len(), 1], values).unwrap())]);
        Dataset::new(Path::new("set.npz"), inputs, None, None).unwrap()
    }

    fn check(a: &[f32], b: &[f32]) -> Result<(), String> {
        check_disjoint(&[("calibration", &set(a)), ("test", &set(b))]).map_err(|e| e.to_string())
    }

    #[test]
    fn a_sample_that_stands_in_two_sets_is_refused() {
        assert!(check(&[1.0, 2.0], &[3.0, 4.0]).is_ok());
        let message = check(&[1.0, 2.0], &[3.0, 2.0]).unwrap_err();
        assert!(message.contains("calibration") && message.contains("sample 1"), "{message}");
    }
}
