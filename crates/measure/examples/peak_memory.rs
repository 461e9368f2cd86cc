//! Peak activation memory as it is counted, beside what tract says of its plan: a row for each model.
//!
//!     cargo build --release --workspace --example peak_memory
//!     target/release/examples/peak_memory MODEL[:INPUT=1x3x320x320,…]…

#[path = "../tests/support/plan.rs"]
mod plan;

use std::{collections::BTreeMap, path::Path};

use plimsoll_cost::analyse;
use plimsoll_onnx::{
    Model,
    shape::{Bindings, infer},
};
use plimsoll_runtime::LoadOptions;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut out = std::io::stdout().lock();
    for argument in std::env::args().skip(1) {
        let row = row(&argument).map_err(|e| format!("{argument}: {e}"))?;
        std::io::Write::write_all(&mut out, row.as_bytes())?;
    }
    Ok(())
}

fn row(argument: &str) -> Result<String, Box<dyn std::error::Error>> {
    let (path, sizes) =
        argument.split_once(".onnx:").map_or((argument.to_owned(), ""), |(p, s)| (format!("{p}.onnx"), s));
    let model = Model::read(Path::new(&path))?;
    let mut shapes: BTreeMap<String, Vec<usize>> = LoadOptions::for_batch(&model, 1).shapes;
    for size in sizes.split(',').filter(|s| !s.is_empty()) {
        let (name, dims) = size.rsplit_once('=').ok_or("sizes are INPUT=1x3x320x320")?;
        shapes.insert(name.to_owned(), dims.split('x').map(str::parse).collect::<Result<_, _>>()?);
    }
    let cost = analyse(&model, &infer(&model, &Bindings::shapes(shapes.clone())));
    let shown = |bytes: Option<u64>| bytes.map_or("unknown".to_owned(), |b| b.to_string());
    let theirs = match plan::peaks(&model.to_bytes()?, &shapes) {
        Ok(peaks) => {
            let ratio = cost.peak_activation_bytes.map(|b| b as f64 / peaks.evaluation_order as f64);
            let ratio = ratio.map_or(String::new(), |r| format!("{r:.3}"));
            format!("{} | {} | {ratio}", peaks.evaluation_order, peaks.plan_order)
        }
        Err(e) => format!("tract cannot load it: {} | |", format!("{e:?}").lines().next().unwrap_or_default()),
    };
    let (peak, in_place) = (shown(cost.peak_activation_bytes), shown(cost.peak_in_place_bytes));
    Ok(format!("| {path} | {peak} | {in_place} | {theirs} |\n"))
}
