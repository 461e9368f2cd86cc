//! How often a comparison of latencies is wrong: a model against itself many times (A/A), and with a slow-down injected around the
//! executor (A/B).
//!
//! `cargo run --release -p plimsoll-measure --example flicker -- MODEL [--runs 400] [--slower 10%] [--load]`
//!
//! `--load` keeps as many threads busy as there are cores, less one.

#![expect(clippy::print_stdout, reason = "a program that prints what it found")]

use std::{
    collections::BTreeMap,
    hint::black_box,
    process::ExitCode,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use plimsoll_measure::{BenchOptions, bench};
use plimsoll_onnx::{Model, Tensors};
use plimsoll_record::Verdict;
use plimsoll_runtime::{ExecError, Executor, LoadOptions, Session, Summary, TractExecutor};

/// What a model may be slower than its baseline.
const LIMIT: f64 = 1.05;

/// tract, which is slower by a share for models of one producer.
struct Slowed {
    by: f64,
}

/// The producer that is slowed.
const SLOW: &str = "slowed";

impl Executor for Slowed {
    fn name(&self) -> &str {
        TractExecutor.name()
    }

    fn version(&self) -> String {
        TractExecutor.version()
    }

    fn load(&self, model: &[u8], options: &LoadOptions) -> Result<Box<dyn Session>, ExecError> {
        let inner = TractExecutor.load(model, options)?;
        let slow = Model::from_bytes(model).is_ok_and(|m| m.proto().producer_name == SLOW);
        Ok(Box::new(Slow { inner, by: if slow { self.by } else { 0.0 } }))
    }
}

struct Slow {
    inner: Box<dyn Session>,
    by: f64,
}

impl Session for Slow {
    fn run(&mut self, inputs: &Tensors) -> Result<Tensors, ExecError> {
        self.inner.run(inputs)
    }

    fn summaries(&mut self) -> Result<BTreeMap<String, Summary>, ExecError> {
        self.inner.summaries()
    }

    fn time(&mut self, inputs: &Tensors, runs: usize) -> Result<Vec<u64>, ExecError> {
        let mut times = self.inner.time(inputs, runs)?;
        for time in &mut times {
            let start = Instant::now();
            let wait = Duration::from_nanos((*time as f64 * self.by) as u64);
            while start.elapsed() < wait {
                black_box(());
            }
            if self.by > 0.0 {
                *time += start.elapsed().as_nanos() as u64;
            }
        }
        Ok(times)
    }
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let value = |name: &str| args.iter().position(|a| a == name).and_then(|i| args.get(i + 1)).map(String::as_str);
    let Some(path) = args.first().filter(|a| !a.starts_with("--")) else {
        println!("give a model; see the head of this example");
        return ExitCode::from(2);
    };
    let runs: usize = value("--runs").and_then(|v| v.parse().ok()).unwrap_or(400);
    let slower = value("--slower").and_then(|v| v.trim_end_matches('%').parse::<f64>().ok()).unwrap_or(0.0) / 100.0;
    let model = match Model::read(path.as_ref()) {
        Ok(model) => model,
        Err(e) => {
            println!("failed to read {path}: {e}");
            return ExitCode::from(96);
        }
    };
    let mut proto = model.proto().clone();
    proto.producer_name = SLOW.into();
    let candidate = model.with_proto(proto);

    let stop = AtomicBool::new(false);
    let busy =
        if args.iter().any(|a| a == "--load") { thread::available_parallelism().map_or(1, usize::from) - 1 } else { 0 };
    thread::scope(|scope| {
        for _ in 0..busy {
            scope.spawn(|| {
                let mut x = 1u64;
                while !stop.load(Ordering::Relaxed) {
                    x = black_box(x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
                }
            });
        }
        let mut counts = BTreeMap::from([("pass", 0), ("fail", 0), ("inconclusive", 0), ("error", 0)]);
        let start = Instant::now();
        for seed in 0..runs {
            let options =
                BenchOptions { most_ratio: Some(LIMIT), cold_starts: 0, seed: seed as u64, ..BenchOptions::default() };
            let found = bench(&Slowed { by: slower }, &candidate, Some(&model), None, &options);
            let verdict = match found.map(|b| b.verdict) {
                Ok(Some(Verdict::Pass)) => "pass",
                Ok(Some(Verdict::Fail)) => "fail",
                Ok(_) => "inconclusive",
                Err(_) => "error",
            };
            *counts.entry(verdict).or_default() += 1;
        }
        stop.store(true, Ordering::Relaxed);
        println!(
            "{path}: {runs} comparisons, slower by {:.0} %, {busy} busy threads, limit {LIMIT}: {counts:?}; {:.2} s each",
            slower * 100.0,
            start.elapsed().as_secs_f64() / runs.max(1) as f64
        );
    });
    ExitCode::SUCCESS
}
