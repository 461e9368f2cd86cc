//! The passes, calibration included, on the fixtures. The executor runs in this process.

use criterion::{Criterion, criterion_group, criterion_main};
use plimsoll_benches::{FIXTURES, calibration, model};
use plimsoll_runtime::TractExecutor;
use plimsoll_transform::{
    Context, Pass,
    prune::{PruneOptions, Share, Structured, Target},
    quantize::{self, QuantizeOptions, Scheme},
    simplify,
};

fn passes(c: &mut Criterion) {
    for fixture in FIXTURES {
        let (original, data) = (model(fixture), calibration(fixture));
        let context = Context { data: Some(&data), ..Context::new(&TractExecutor) };
        let (simple, ..) = simplify::simplify(&original, &context).expect("fixtures simplify");
        let share = Share::new(0.3).expect("a share");
        let prune = Structured::new(PruneOptions::new(Target::Macs(share)));
        let calibrate = quantize::pass(QuantizeOptions { samples: 64, ..QuantizeOptions::new(Scheme::Int8) });
        let mut group = c.benchmark_group(format!("passes/{fixture}"));
        group.sample_size(10);
        group.bench_function("simplify", |b| b.iter(|| simplify::simplify(&original, &context)));
        let run = |pass: &dyn Pass| plimsoll_transform::run(&simple, &[pass], 1, &context);
        group.bench_function("prune", |b| b.iter(|| run(&prune)));
        group.bench_function("calibrate and quantize, 64 samples", |b| b.iter(|| run(&*calibrate)));
        group.finish();
    }
}

criterion_group!(benches, passes);
criterion_main!(benches);
