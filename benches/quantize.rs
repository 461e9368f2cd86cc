//! Calibration, quantization, repair and sensitivity on the fixtures, 64 samples. The executor runs in this process.

use criterion::{Criterion, criterion_group, criterion_main};
use plimsoll_benches::{FIXTURES, calibration, model};
use plimsoll_runtime::TractExecutor;
use plimsoll_transform::{
    Context,
    quantize::{self, Calibration, QuantizeOptions, Repair, Scheme},
    simplify,
};

fn quantization(c: &mut Criterion) {
    let base = |scheme| QuantizeOptions { samples: 64, ..QuantizeOptions::new(scheme) };
    let plain = |calibration| QuantizeOptions { calibration, repair: Some(Repair::None), ..base(Scheme::Int8) };
    let repaired = |repair| QuantizeOptions { repair: Some(repair), ..base(Scheme::Int8) };
    let choices = [
        ("int8, minmax, no repair", plain(Calibration::MinMax)),
        ("int8, entropy, no repair", plain(Calibration::Entropy)),
        ("int8, mse, no repair", plain(Calibration::Mse)),
        ("int8, repaired by bias", repaired(Repair::Bias)),
        ("int8, repaired by gptq", repaired(Repair::Gptq)),
        ("int8-weights, no repair", QuantizeOptions { repair: Some(Repair::None), ..base(Scheme::Int8Weights) }),
    ];
    for fixture in FIXTURES {
        let (original, data) = (model(fixture), calibration(fixture));
        let context = Context { data: Some(&data), ..Context::new(&TractExecutor) };
        let (simple, ..) = simplify::simplify(&original, &context).expect("fixtures simplify");
        let mut group = c.benchmark_group(format!("quantize/{fixture}"));
        group.sample_size(10);
        for (name, options) in &choices {
            let pass = quantize::pass(options.clone());
            group.bench_function(*name, |b| b.iter(|| pass.run(&simple, &context).expect("fixtures quantize")));
        }
        let options = base(Scheme::Int8);
        group.bench_function("sensitivity", |b| b.iter(|| quantize::sensitivity(&simple, &options, &context)));
        group.finish();
    }
}

criterion_group!(benches, quantization);
criterion_main!(benches);
