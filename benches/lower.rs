//! Loading and running the fixtures in lowered plans beside tract's own, float32 and int8, batch 1, one thread.

use criterion::{Criterion, criterion_group, criterion_main};
use plimsoll_benches::{FIXTURES, calibration, model};
use plimsoll_onnx::Model;
use plimsoll_runtime::{Executor, LoadOptions, PlainTractExecutor, TractExecutor};
use plimsoll_transform::{
    Context,
    quantize::{self, QuantizeOptions, Repair, Scheme},
    simplify,
};

fn int8(original: &Model, fixture: &str) -> Model {
    let data = calibration(fixture);
    let context = Context { data: Some(&data), ..Context::new(&TractExecutor) };
    let (mut model, ..) = simplify::simplify(original, &context).expect("fixtures simplify");
    let options = QuantizeOptions { samples: 64, repair: Some(Repair::None), ..QuantizeOptions::new(Scheme::Int8) };
    let patch = quantize::pass(options).run(&model, &context).expect("fixtures quantize");
    patch.apply(&mut model).expect("patches of fixtures apply");
    model
}

fn plans(c: &mut Criterion) {
    for fixture in FIXTURES {
        let original = model(fixture);
        let inputs = calibration(fixture).sample(0);
        for (form, model) in [("float32", original.clone()), ("int8", int8(&original, fixture))] {
            let bytes = model.to_bytes().expect("fixtures can be written");
            let options = LoadOptions::for_batch(&model, 1);
            let mut group = c.benchmark_group(format!("lower/{fixture}/{form}"));
            let executors: [(&str, &dyn Executor); 2] =
                [("lowered", &TractExecutor), ("tract's own", &PlainTractExecutor)];
            for (name, executor) in executors {
                group.bench_function(format!("load, {name}"), |b| b.iter(|| executor.load(&bytes, &options)));
                let mut session = executor.load(&bytes, &options).expect("fixtures load");
                group
                    .bench_function(format!("run, {name}"), |b| b.iter(|| session.run(&inputs).expect("fixtures run")));
            }
            group.finish();
        }
    }
}

criterion_group!(benches, plans);
criterion_main!(benches);
