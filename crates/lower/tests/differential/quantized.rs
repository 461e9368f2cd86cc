//! Lowered quantized models against tract's own plans of them, on every instruction set of the machine.

use crate::maker::{self, Bytes, Lattice, Numbers, Piece, build};
use plimsoll_lower::{Isa, lower};
use proptest::{prelude::*, test_runner::RngSeed};
use tract_core::internal::*;

/// Runs the model as it is and lowered. `steps` is how many quantization steps outputs may be apart.
fn check(shape: &[usize], pieces: &[Piece], seed: u64, lattice: Lattice, steps: f32) -> Result<(), TestCaseError> {
    let model = build(shape, pieces, seed, lattice, &[]);
    let mut numbers = Numbers::new(seed + 1);
    // Sixty-fourths: ties are met.
    let values: Vec<f32> = (0..shape.iter().product()).map(|_| numbers.whole() / 64.).collect();
    let before: Vec<f32> = values.iter().map(|v| 1.5 - v).collect();
    let input = tvec![Tensor::from_shape(shape, &values).expect("as many values").into_tvalue()];
    let before: TVec<TValue> = tvec![Tensor::from_shape(shape, &before).expect("as many values").into_tvalue()];
    let run = |model: TypedModel| {
        // Operator by operator: decluttering fails where an int8 dequantization meets a uint8 quantization.
        model
            .into_runnable()
            // Twice: the second run finds what the first left in its buffers.
            .and_then(|plan| plan.run(before.clone()).and_then(|_| plan.run(input.clone())))
            .map_err(|e| TestCaseError::fail(format!("{e:?}")))
    };
    let expected = run(model.clone())?;
    for isa in Isa::available() {
        let found = run(lower(model.clone(), isa).expect("models can be wired again").model)?;
        for (expected, found) in expected.iter().zip(&found) {
            prop_assert_eq!(expected.shape(), found.shape());
            let floats =
                |t: &TValue| t.try_as_plain_ram().and_then(|t| Ok(t.as_slice::<f32>()?.to_vec())).expect("f32");
            for (i, (e, f)) in floats(expected).iter().zip(&floats(found)).enumerate() {
                prop_assert!((e - f).abs() <= steps * 0.023 + 1e-6, "{isa:?}: element {i} is {f}, not {e}");
            }
        }
    }
    Ok(())
}

/// Pieces that work on bytes or leave them in place.
fn piece() -> impl Strategy<Value = Piece> {
    prop_oneof![
        3 => maker::conv(),
        1 => maker::matmul(),
        1 => maker::window().prop_map(Piece::MaxPool),
        1 => (0usize..4).prop_map(|axis| Piece::Concat { axis, constant: false }),
        1 => (0usize..4, 0usize..5, 1usize..9).prop_map(|(axis, start, len)| Piece::Slice { axis, start, len }),
        1 => (0usize..4, 0usize..4).prop_map(|(from, to)| Piece::Move { from, to }),
        1 => (0usize..4).prop_map(|split| Piece::Reshape { split }),
        1 => (0usize..4).prop_map(|f| Piece::Binary { f, with: maker::Broadcast::Earlier, flipped: false }),
        1 => (0usize..2).prop_map(Piece::Unary),
        1 => (0usize..2, any::<u8>()).prop_map(|(reducer, axes)| Piece::Reduce { reducer, axes }),
    ]
}

/// Each piece between quantizations.
fn islands(pieces: Vec<(Piece, Bytes)>, first: Bytes) -> Vec<Piece> {
    let rest = pieces.into_iter().flat_map(|(piece, bytes)| [piece, Piece::Bytes(bytes)]);
    [Piece::Bytes(first)].into_iter().chain(rest).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, rng_seed: RngSeed::Fixed(7), ..ProptestConfig::default() })]

    #[test]
    fn one_island_is_within_a_step(
        shape in maker::shape(),
        first in maker::bytes(),
        piece in prop_oneof![maker::conv(), maker::conv(), maker::matmul()],
        last in maker::bytes(),
        seed in any::<u32>(),
    ) {
        check(&shape, &islands(vec![(piece, last)], first), seed.into(), Lattice::Int8, 1.)?;
    }

    /// With sums that no order of summation rounds there is one result, ties included.
    #[test]
    fn chains_of_islands_are_equal_where_arithmetic_is_exact(
        shape in maker::shape(),
        first in maker::bytes(),
        pieces in prop::collection::vec((piece(), maker::bytes()), 1..6),
        seed in any::<u32>(),
    ) {
        check(&shape, &islands(pieces, first), seed.into(), Lattice::Exact, 0.)?;
    }
}
