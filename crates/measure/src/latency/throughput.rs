//! Samples a second: of one session at a batch size, and offline, with as many sessions as threads (the scenarios "single stream" with
//! batches and "offline" of MLPerf Inference).

use std::{
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

use plimsoll_runtime::{ExecError, Executor};

use super::alternation::Subject;

/// Parts of the time, each of which gives a rate.
const PARTS: usize = 12;

/// Rates of parts of the time, in runs a second: `threads` sessions of one thread each, all at once. Sorted.
pub(super) fn rates(
    executor: &dyn Executor,
    subject: &Subject<'_>,
    threads: usize,
    time: Duration,
) -> Result<Vec<f64>, ExecError> {
    let (ready, part) = (Barrier::new(threads), time / PARTS as u32);
    let work = || -> Result<Vec<u64>, ExecError> {
        // All wait for all, even where one cannot load.
        let loaded = executor.load(subject.bytes, &subject.options).and_then(|mut session| {
            let warm = session.time(&subject.inputs, 1)?;
            Ok((session, warm[0].max(1)))
        });
        ready.wait();
        let (mut session, warm) = loaded?;
        let block = (part.as_nanos() as u64 / 10 / warm).clamp(1, 256) as usize;
        let start = Instant::now();
        let mut counts = vec![0u64; PARTS];
        loop {
            let done = session.time(&subject.inputs, block)?.len() as u64;
            let at = (start.elapsed().as_nanos() / part.as_nanos().max(1)) as usize;
            match counts.get_mut(at) {
                Some(count) => *count += done,
                None => return Ok(counts),
            }
        }
    };
    let counts: Vec<Vec<u64>> = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let lost = || ExecError::Failed { executor: executor.name().into(), reason: "a thread ended early".into() };
        workers.into_iter().map(|w| w.join().unwrap_or_else(|_| Err(lost()))).collect::<Result<_, _>>()
    })?;
    let rate = |p: usize| counts.iter().map(|c| c[p]).sum::<u64>() as f64 / part.as_secs_f64();
    let mut rates: Vec<f64> = (0..PARTS).map(rate).filter(|r| *r > 0.0).collect();
    rates.sort_by(f64::total_cmp);
    Ok(rates)
}
