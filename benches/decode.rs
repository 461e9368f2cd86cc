//! Reading, writing and digesting a model file; reading an archive of samples.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use plimsoll_benches::{FIXTURES, calibration, file, model};
use plimsoll_onnx::Model;

fn decode(c: &mut Criterion) {
    for fixture in FIXTURES {
        let bytes = std::fs::read(file(fixture, "model.onnx")).expect("the fixture is committed");
        let parsed = model(fixture);
        let mut group = c.benchmark_group(format!("decode/{fixture}"));
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function("read", |b| b.iter(|| Model::from_bytes(&bytes)));
        group.bench_function("write", |b| b.iter(|| parsed.to_bytes()));
        group.bench_function("digest", |b| b.iter(|| parsed.digest()));
        group.finish();
        let size = std::fs::metadata(file(fixture, "calib.npz")).expect("the fixture is committed").len();
        let mut group = c.benchmark_group(format!("samples/{fixture}"));
        group.throughput(Throughput::Bytes(size));
        group.bench_function("read", |b| b.iter(|| calibration(fixture)));
        group.finish();
    }
}

criterion_group!(benches, decode);
criterion_main!(benches);
