//! What a release ships for its devices to hold themselves against: inputs with the outputs that they gave where the release was
//! made, and how inputs and outputs are distributed.
//!
//! The inputs are drawn, element by element, from the distribution of the samples: they look like data and are nobody's.

use std::{collections::BTreeMap, fs::File, io::BufReader, path::Path};

use plimsoll_dataset::{decode_arrays, encode_arrays};
use plimsoll_onnx::{DType, Tensor, Tensors};
use plimsoll_record::Distributions;
use plimsoll_runtime::Session;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The drawn inputs, each followed by its outputs, as named arrays on a pipe are written.
pub const CASES: &str = "reference.arrays";
/// The distributions.
pub const DISTRIBUTIONS: &str = "reference.json";
/// Shares of the values below each quantile: 0, 1/32 … 1.
const STEPS: usize = 32;
const MOST_CASES: usize = 64;
const LIMIT: u64 = 64 << 20;
/// Distributions are of at most so many values.
const MOST_VALUES: usize = 1 << 20;

/// Quantiles of the finite values of an array, from the least to the greatest, 1/32 of them between two.
type Quantiles = Vec<f64>;

/// How samples, and what the model made of them, are distributed.
pub fn distributions(inputs: &[Tensors], outputs: &[Tensors]) -> Distributions {
    Distributions { schema: Distributions::SCHEMA.into(), inputs: quantiles_of(inputs), outputs: quantiles_of(outputs) }
}

fn quantiles_of(samples: &[Tensors]) -> BTreeMap<String, Quantiles> {
    let mut values: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for (name, tensor) in samples.iter().flatten() {
        let into = values.entry(name).or_default();
        let room = MOST_VALUES.saturating_sub(into.len());
        into.extend(tensor.to_f64().unwrap_or_default().into_iter().filter(|v| v.is_finite()).take(room));
    }
    values.into_iter().map(|(name, values)| (name.to_owned(), quantiles(values))).collect()
}

fn quantiles(mut values: Vec<f64>) -> Quantiles {
    values.sort_by(f64::total_cmp);
    let Some(last) = values.len().checked_sub(1) else { return Quantiles::new() };
    (0..=STEPS).map(|i| values.get(last * i / STEPS).copied().unwrap_or_default()).collect()
}

/// What a release ships.
#[derive(Debug, Clone, PartialEq)]
pub struct Reference {
    /// Inputs and outputs.
    pub cases: Vec<(Tensors, Tensors)>,
    /// How both are distributed on data.
    pub distributions: Distributions,
}

impl Reference {
    /// Draws `cases` inputs of the shapes of a sample, and runs them.
    pub fn make(
        session: &mut dyn Session,
        sample: &Tensors,
        distributions: Distributions,
        cases: usize,
    ) -> Result<Self, plimsoll_runtime::ExecError> {
        let mut made = Vec::new();
        for case in 0..cases.min(MOST_CASES) {
            let mut inputs = Tensors::new();
            for (name, like) in sample {
                let quantiles = distributions.inputs.get(name).map_or(&[][..], Vec::as_slice);
                let seed = format!("plimsoll.reference/1\n{case}\n{name}\n");
                inputs.insert(name.clone(), draw(&seed, like.dtype(), like.shape(), quantiles)?);
            }
            let outputs = session.run(&inputs)?;
            made.push((inputs, outputs));
        }
        Ok(Self { cases: made, distributions })
    }

    /// Its files, by path in the payload.
    pub fn files(&self) -> Result<BTreeMap<String, Vec<u8>>, String> {
        let mut cases = Vec::new();
        for arrays in self.cases.iter().flat_map(|(inputs, outputs)| [inputs, outputs]) {
            cases.extend(encode_arrays(arrays)?);
        }
        let distributions = plimsoll_trust::to_sorted_json(&self.distributions).map_err(|e| e.to_string())?;
        Ok(BTreeMap::from([(CASES.to_owned(), cases), (DISTRIBUTIONS.to_owned(), distributions)]))
    }

    /// Of a payload; `None` where it ships none.
    pub fn read(payload: &Path) -> Result<Option<Self>, String> {
        let [cases, distributions] = [CASES, DISTRIBUTIONS].map(|name| payload.join(name));
        if !cases.is_file() {
            return Ok(None);
        }
        let mut source = BufReader::new(File::open(&cases).map_err(|e| format!("{CASES}: {e}"))?);
        let mut found = Vec::new();
        let mut next = || decode_arrays(&mut source, LIMIT).map_err(|e| format!("{CASES}: {e}"));
        while let Some(inputs) = next()? {
            let outputs = next()?.ok_or_else(|| format!("{CASES}: the last inputs have no outputs"))?;
            found.push((inputs, outputs));
            if found.len() > MOST_CASES {
                return Err(format!("{CASES}: it holds more than {MOST_CASES} cases"));
            }
        }
        let distributions = match plimsoll_trust::read_bounded(&distributions, LIMIT) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|e| format!("{DISTRIBUTIONS}: {e}"))?,
            Err(e) if e.is_not_found() => Distributions::default(),
            Err(e) => return Err(e.to_string()),
        };
        Ok(Some(Self { cases: found, distributions }))
    }
}

/// A tensor whose values are drawn from quantiles; without any, from 0 to 1. The same seed gives the same tensor.
pub(crate) fn draw(
    seed: &str,
    dtype: DType,
    shape: &[usize],
    quantiles: &[f64],
) -> Result<Tensor, plimsoll_runtime::ExecError> {
    let bad = |reason: String| plimsoll_runtime::ExecError::BadInput { input: seed.trim().replace('\n', " "), reason };
    let elements = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d)).filter(|&n| n <= 1 << 26);
    let elements = elements.ok_or_else(|| bad(format!("the shape {shape:?} is too large to draw")))?;
    let values: Vec<f64> = uniform(seed).take(elements).map(|u| at(quantiles, u)).collect();
    let width = dtype.bits() / 8;
    let tensor = match dtype {
        DType::F32 => Tensor::from_elements(shape, &values.iter().map(|&v| v as f32).collect::<Vec<_>>()),
        DType::F64 => Tensor::from_elements(shape, &values),
        DType::F16 => {
            Tensor::from_elements(shape, &values.iter().map(|&v| v as f32).collect::<Vec<_>>()).and_then(|t| t.to_f16())
        }
        _ if dtype.is_float() || !dtype.bits().is_multiple_of(8) || width > 8 => {
            return Err(bad(format!("{dtype} is not drawn")));
        }
        _ => {
            let whole = values.iter().flat_map(|v| (v.round() as i64).to_le_bytes().into_iter().take(width));
            Tensor::new(dtype, shape.to_vec(), whole.collect())
        }
    };
    tensor.map_err(|e| bad(e.to_string()))
}

/// Numbers from 0 to 1 that a seed stands for.
fn uniform(seed: &str) -> impl Iterator<Item = f64> {
    let seed = seed.to_owned();
    (0u64..).flat_map(move |block| {
        let digest: [u8; 32] = Sha256::new().chain_update(&seed).chain_update(block.to_le_bytes()).finalize().into();
        let (chunks, _) = digest.as_chunks::<4>();
        let numbers: Vec<f64> =
            chunks.iter().map(|c| f64::from(u32::from_le_bytes(*c)) / f64::from(u32::MAX)).collect();
        numbers
    })
}

/// The value below which a share lies.
fn at(quantiles: &[f64], share: f64) -> f64 {
    let Some(last) = quantiles.len().checked_sub(1).filter(|n| *n > 0) else { return share };
    let position = share * last as f64;
    let below = (position as usize).min(last - 1);
    match quantiles.get(below..below + 2) {
        Some(&[low, high]) => low + (high - low) * (position - below as f64),
        _ => share,
    }
}

/// Counts of a day's values between the quantiles of a distribution: what is below all, between each two, above all.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Counted(BTreeMap<String, Vec<u64>>);

impl Counted {
    /// Takes the finite values of arrays in.
    pub(crate) fn take(&mut self, arrays: &Tensors, quantiles: &BTreeMap<String, Quantiles>) {
        for (name, tensor) in arrays {
            let Some(quantiles) = quantiles.get(name).filter(|q| !q.is_empty()) else { continue };
            let counts = self.0.entry(name.clone()).or_default();
            counts.resize(quantiles.len() + 1, 0);
            for value in tensor.to_f64().unwrap_or_default().into_iter().filter(|v| v.is_finite()) {
                // Values on a quantile are at or below it.
                let place = quantiles.partition_point(|q| *q < value);
                counts.iter_mut().skip(place).take(1).for_each(|c| *c += 1);
            }
        }
    }

    /// The largest Kolmogorov-Smirnov distance of all arrays, at the quantiles; `None` where nothing was counted.
    pub(crate) fn distance(&self, quantiles: &BTreeMap<String, Quantiles>) -> Option<f64> {
        let of = |(name, counts): (&String, &Vec<u64>)| {
            let quantiles = quantiles.get(name)?;
            let all: u64 = counts.iter().sum();
            let last = quantiles.len().checked_sub(1).filter(|n| *n > 0 && all > 0)?;
            let mut below = 0;
            let distances = quantiles.iter().zip(counts).enumerate().map(|(i, (quantile, count))| {
                below += count;
                // Of equal quantiles the last one says how many values are at or below.
                let ties = quantiles.iter().skip(i + 1).take_while(|q| *q == quantile).count();
                let expected = (i + ties) as f64 / last as f64;
                if ties > 0 { 0.0 } else { (below as f64 / all as f64 - expected).abs() }
            });
            distances.max_by(f64::total_cmp)
        };
        self.0.iter().filter_map(of).max_by(f64::total_cmp)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(shift: f32) -> Vec<Tensors> {
        let one = |i: u16| {
            let values: Vec<f32> = (0..100).map(|k| f32::from(i * 37 + k * 11).sin() + shift).collect();
            Tensors::from([("x".to_owned(), Tensor::from_elements(&[1, 100], &values).unwrap())])
        };
        (0..50).map(one).collect()
    }

    /// The distance of shifted samples from the distribution of those that were not.
    fn check(shift: f32) -> f64 {
        let quantiles = distributions(&samples(0.0), &[]).inputs;
        let mut counted = Counted::default();
        samples(shift).iter().for_each(|s| counted.take(s, &quantiles));
        counted.distance(&quantiles).unwrap()
    }

    #[test]
    fn drift_is_near_nought_on_the_data_and_near_one_far_away() {
        assert!(check(0.0) < 0.04, "{}", check(0.0));
        assert!((0.1..0.5).contains(&check(0.5)), "{}", check(0.5));
        assert!(check(3.0) > 0.99);
        assert_eq!(Counted::default().distance(&BTreeMap::new()), None);
    }

    #[test]
    fn values_that_are_mostly_one_number_are_no_drift() {
        let half = |n: usize| {
            let values: Vec<f32> = (0..n).map(|i| if i % 4 == 0 { i as f32 } else { 0.0 }).collect();
            vec![Tensors::from([("x".to_owned(), Tensor::from_elements(&[n], &values).unwrap())])]
        };
        let quantiles = distributions(&half(400), &[]).inputs;
        let mut counted = Counted::default();
        counted.take(&half(400)[0], &quantiles);
        assert!(counted.distance(&quantiles).unwrap() < 0.05, "{:?}", counted.distance(&quantiles));
    }

    #[test]
    fn drawn_values_lie_within_the_data_and_are_the_same_again() {
        let quantiles = distributions(&samples(0.0), &[]).inputs;
        let draw = || draw("a", DType::F32, &[7, 9], &quantiles["x"]).unwrap();
        assert_eq!(draw(), draw());
        assert!(draw().to_f64().unwrap().iter().all(|v| (-1.0..=1.0).contains(v)));
        let whole = super::draw("a", DType::I64, &[50], &[-2.0, 2.0]).unwrap().to_f64().unwrap();
        assert!(whole.iter().any(|v| *v < 0.0) && whole.iter().all(|v| v.abs() <= 2.0));
    }
}
