//! A session on one run after the other, several handed over at once where they are small: what a request to another process takes
//! beyond the run itself is as much as a small model. Knows no model.

use std::ops::Range as Span;

use plimsoll_onnx::{Tensor, Tensors};
use plimsoll_runtime::Session;

use super::Runs;
use crate::{Context, Refusal};

/// Runs that are handed over at once, at most.
const MOST: usize = 64;
/// Bytes that go in and out with them; where there are more, their number does not grow. Twice as many fit into a pipe.
const BYTES: usize = 512 << 10;

/// Runs a session on what `feed` gives for each run, and hands this and what was computed to `take`, in the order of the runs.
pub(crate) fn each(
    session: &mut dyn Session,
    runs: Span<usize>,
    feed: impl Fn(usize) -> Tensors,
    mut take: impl FnMut(usize, &Tensors, Tensors) -> Result<(), Refusal>,
) -> Result<(), Refusal> {
    let (mut from, mut many) = (runs.start, 1);
    while from < runs.end {
        let to = (from + many).min(runs.end);
        let fed: Vec<Tensors> = (from..to).map(&feed).collect();
        let computed = session.run_each(&fed)?;
        if bytes(&fed) + bytes(&computed) <= BYTES {
            many = (2 * many).min(MOST);
        }
        for ((run, fed), computed) in (from..to).zip(&fed).zip(computed) {
            take(run, fed, computed)?;
        }
        from = to;
    }
    Ok(())
}

/// Keeps alive what the workers run models in, until the result is dropped.
pub(crate) fn held(context: &Context<'_>, runs: &Runs<'_>) -> Vec<Box<dyn Send>> {
    let held = runs.shared(|_| Ok(context.executor.hold()));
    held.into_iter().flatten().flatten().collect()
}

fn bytes(runs: &[Tensors]) -> usize {
    runs.iter().flat_map(Tensors::values).map(|t: &Tensor| t.bytes().len()).sum()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use plimsoll_runtime::{ExecError, Summary};

    use super::*;

    /// Gives back what it is fed, and remembers how many were handed over at once.
    #[derive(Default)]
    struct Echo(Vec<usize>);

    impl Session for Echo {
        fn run(&mut self, inputs: &Tensors) -> Result<Tensors, ExecError> {
            Ok(inputs.clone())
        }

        fn run_each(&mut self, inputs: &[Tensors]) -> Result<Vec<Tensors>, ExecError> {
            self.0.push(inputs.len());
            Ok(inputs.to_vec())
        }

        fn summaries(&mut self) -> Result<BTreeMap<String, Summary>, ExecError> {
            Ok(BTreeMap::new())
        }

        fn time(&mut self, _: &Tensors, runs: usize) -> Result<Vec<u64>, ExecError> {
            Ok(vec![1; runs])
        }
    }

    /// Runs on tensors of so many elements that hold the number of the run; how many were handed over at once.
    fn check(runs: Span<usize>, elements: usize) -> Vec<usize> {
        let feed = |run: usize| Tensors::from([("x".to_owned(), Tensor::vector(&vec![run as f32; elements]))]);
        let (mut echo, mut seen) = (Echo::default(), Vec::new());
        let take = |run, fed: &Tensors, computed: Tensors| {
            assert_eq!((fed, &computed), (&feed(run), &feed(run)));
            seen.push(run);
            Ok(())
        };
        each(&mut echo, runs.clone(), feed, take).unwrap();
        assert!(seen.into_iter().eq(runs));
        echo.0
    }

    #[test]
    fn small_runs_are_handed_over_together_in_their_order() {
        let requests = check(3..400, 1);
        assert!(requests.len() < 50 && requests.iter().all(|n| *n <= MOST), "{requests:?}");
    }

    #[test]
    fn large_runs_are_alone() {
        assert_eq!(check(0..3, BYTES), [1, 1, 1]);
        assert!(check(5..5, 1).is_empty());
    }

    #[test]
    fn what_the_taker_refuses_ends_it() {
        let mut taken = 0;
        let refused = each(
            &mut Echo::default(),
            0..9,
            |_| Tensors::new(),
            |run, _, _| {
                taken += 1;
                if run == 4 { Err(Refusal::NoMatch) } else { Ok(()) }
            },
        );
        assert!(matches!(refused, Err(Refusal::NoMatch)));
        assert_eq!(taken, 5);
    }
}
