//! Lowered float models against tract's own plans of them, on every instruction set of the machine.

use crate::maker::{self, Grouping, Lattice, Numbers, Piece, build};
use plimsoll_lower::{Isa, lower};
use proptest::{prelude::*, test_runner::RngSeed};
use tract_core::internal::*;

/// Runs the model as it is and lowered; outputs are the same to within 1e-4 of the largest magnitude.
fn check(shape: &[usize], pieces: &[Piece], seed: u64, also: &[usize]) -> Result<(), TestCaseError> {
    let model = build(shape, pieces, seed, Lattice::None, also);
    let mut numbers = Numbers::new(seed + 1);
    let values: Vec<f32> = (0..shape.iter().product()).map(|_| numbers.float() * 2.).collect();
    let before: Vec<f32> = values.iter().map(|v| 1.5 - v).collect();
    let input = tvec![Tensor::from_shape(shape, &values).expect("as many values").into_tvalue()];
    let before: TVec<TValue> = tvec![Tensor::from_shape(shape, &before).expect("as many values").into_tvalue()];
    let run = |model: TypedModel| {
        // Operator by operator: tract's optimizer takes `constant - convolution` into the product and gets some of them wrong.
        model
            .into_runnable()
            // Twice: the second run finds what the first left in its buffers.
            .and_then(|plan| plan.run(before.clone()).and_then(|_| plan.run(input.clone())))
            .map_err(|e| TestCaseError::fail(format!("{e:?}")))
    };
    let expected = run(model.clone())?;
    for isa in Isa::available() {
        let lowered = lower(model.clone(), isa).expect("models can be wired again");
        let first = matches!(
            pieces,
            [Piece::Conv { grouping: Grouping::None | Grouping::Depthwise, .. } | Piece::MatMul { .. }]
        );
        let alone = model.output_outlets().expect("outputs") == model.input_outlets().expect("inputs");
        prop_assert!(
            isa == Isa::Portable || alone || !first || !lowered.islands.is_empty(),
            "{isa:?}: nothing was lowered"
        );
        let found = run(lowered.model)?;
        prop_assert_eq!(expected.len(), found.len());
        for (expected, found) in expected.iter().zip(&found) {
            prop_assert_eq!(expected.shape(), found.shape());
            let floats =
                |t: &TValue| t.try_as_plain_ram().and_then(|t| Ok(t.as_slice::<f32>()?.to_vec())).expect("f32");
            let (expected, found) = (floats(expected), floats(found));
            let largest = expected.iter().fold(0f32, |m, x| m.max(x.abs()));
            for (i, (e, f)) in expected.iter().zip(&found).enumerate() {
                prop_assert!(
                    (e - f).abs() <= 1e-4 * largest,
                    "{isa:?}: element {i} is {f}, not {e} (largest {largest})"
                );
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, rng_seed: RngSeed::Fixed(7), ..ProptestConfig::default() })]

    #[test]
    fn convolutions_of_every_geometry(shape in maker::shape(), conv in maker::conv(), seed in any::<u32>()) {
        check(&shape, &[conv], seed.into(), &[])?;
    }

    #[test]
    fn products_over_every_axis(shape in maker::shape(), product in maker::matmul(), seed in any::<u32>()) {
        check(&shape, &[product], seed.into(), &[])?;
    }

    #[test]
    fn pieces_around_convolutions(
        shape in maker::shape(),
        before in prop::collection::vec(maker::float_piece(), 0..3),
        conv in maker::conv(),
        after in prop::collection::vec(maker::float_piece(), 1..5),
        also in prop::collection::vec(0usize..10, 0..2),
        seed in any::<u32>(),
    ) {
        check(&shape, &[before, vec![conv], after].concat(), seed.into(), &also)?;
    }
}

/// A program of more results than a pass can write is left to tract.
#[test]
fn a_chain_of_which_every_value_is_an_output() {
    let conv = Piece::Conv {
        window: maker::Window {
            kernel: [3, 3],
            stride: [1, 1],
            dilation: [1, 1],
            before: [1, 1],
            after: [1, 1],
            channels_last: false,
        },
        outputs: 8,
        grouping: Grouping::None,
    };
    let chain: Vec<Piece> = (0..20).map(|i| Piece::Unary(i % 8)).collect();
    let all: Vec<usize> = (1..21).collect();
    check(&[1, 8, 9], &[vec![conv], chain].concat(), 3, &all).expect("the same results");
}

#[test]
fn with_eight_lanes_products_that_gather_nothing_are_lowered_where_something_is_gained() {
    let islands = |isa: Isa, pieces: &[Piece]| {
        let model = build(&[1, 10, 96], pieces, 1, Lattice::None, &[]);
        lower(model, isa).expect("models can be wired again").islands.len()
    };
    let product = |columns| Piece::MatMul { columns, axis: 2, last: true };
    let passes = vec![Piece::Unary(2); 8];
    for isa in Isa::available() {
        let wide = !matches!(isa, Isa::Avx2 | Isa::AvxVnni);
        assert_eq!(islands(isa, &[product(128)]), usize::from(wide), "{isa:?}");
        assert_eq!(islands(isa, &[product(16)]), 1, "{isa:?}: a small one");
        assert_eq!(islands(isa, &[&[product(128)], passes.as_slice()].concat()), 1, "{isa:?}: many passes in one");
    }
}
