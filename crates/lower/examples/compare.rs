//! Compares tract's own plan of a model with the lowered one: results and time, alternated, one thread.
//!
//! `cargo run --release -p plimsoll-lower --example compare -- MODEL.onnx [OTHER.onnx…]`; further models are timed against the first, lowered.
#![expect(clippy::print_stdout, reason = "a program for people")]

use std::time::{Duration, Instant};

use plimsoll_lower::{Isa, lower};
use tract_onnx::{prelude::*, tract_hir::infer::Factoid};

fn load(path: &str, lowered: bool) -> TractResult<(std::sync::Arc<TypedRunnableModel>, usize)> {
    let bytes = std::fs::read(path)?;
    let framework = tract_onnx::onnx().with_ignore_value_info(true).with_ignore_output_shapes(true);
    let mut model = framework.model_for_read(&mut &*bytes)?;
    for index in 0..model.input_outlets()?.len() {
        let fact = model.input_fact(index)?.clone();
        let rank = fact.shape.rank().concretize().unwrap_or(0) as usize;
        let open = |d: &tract_onnx::tract_hir::infer::GenericFactoid<TDim>| {
            d.concretize().and_then(|d| d.to_i64().ok()).map(|d| d as usize)
        };
        let shape: Vec<usize> = fact
            .shape
            .dims()
            .take(rank)
            .enumerate()
            .map(|(a, d)| {
                open(d).unwrap_or(if a == 0 {
                    1
                } else {
                    std::env::var("DIM").ok().and_then(|d| d.parse().ok()).unwrap_or(1)
                })
            })
            .collect();
        model.set_input_fact(
            index,
            InferenceFact::dt_shape(fact.datum_type.concretize().unwrap_or(DatumType::F32), &*shape),
        )?;
    }
    let mut model = model.into_typed()?;
    let mut islands = 0;
    if lowered {
        let lowered = lower(model, Isa::detect())?;
        islands = lowered.islands.len();
        if std::env::var("ISLANDS").is_ok() {
            println!("{:?}", lowered.islands.iter().map(|i| i.len()).collect::<Vec<_>>());
            let mut n = std::collections::BTreeMap::new();
            for id in lowered.model.eval_order()? {
                *n.entry(lowered.model.node(id).op.name().to_string()).or_insert(0) += 1;
            }
            println!("{n:?}");
        }
        model = lowered.model;
    }
    Ok((model.into_decluttered()?.into_optimized()?.into_runnable()?, islands))
}

fn inputs(plan: &TypedRunnableModel, seed: u64) -> TractResult<TVec<TValue>> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 24) as f32
    };
    let mut values = tvec!();
    for index in 0..plan.model().input_outlets()?.len() {
        let fact = plan.model().input_fact(index)?;
        let shape = fact.shape.as_concrete().expect("shapes are concrete");
        let numbers: Vec<f32> = (0..shape.iter().product()).map(|_| next() * 4. - 2.).collect();
        let tensor = Tensor::from_shape(shape, &numbers)?;
        let tensor = if fact.datum_type == f32::datum_type() {
            tensor
        } else {
            let numbers: Vec<f32> = numbers.iter().map(|x| ((x + 2.) * 60.).floor()).collect();
            Tensor::from_shape(shape, &numbers)?.cast_to_dt(fact.datum_type)?.into_owned()
        };
        values.push(tensor.into_tvalue());
    }
    Ok(values)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() -> TractResult<()> {
    let paths: Vec<String> = std::env::args().skip(1).collect();
    let (plain, _) = load(&paths[0], false)?;
    let mut plans = if std::env::var("ALONE").is_ok() { vec![] } else { vec![("tract".to_owned(), plain)] };
    for path in &paths {
        let (plan, islands) = load(path, true)?;
        plans.push((format!("lowered {path} ({islands} islands)"), plan));
    }
    let values = inputs(&plans[0].1, 1)?;
    for seed in 1..4 {
        let values = inputs(&plans[0].1, seed)?;
        let expected = plans[0].1.run(values.clone())?;
        let found = plans[plans.len().min(2) - 1].1.run(values)?;
        for (a, b) in expected.iter().zip(&found) {
            let (a, b) = (a.cast_to::<f32>()?, b.cast_to::<f32>()?);
            let (a, b) =
                (a.try_as_plain_ram()?.as_slice::<f32>()?.to_vec(), b.try_as_plain_ram()?.as_slice::<f32>()?.to_vec());
            let worst = a.iter().zip(&b).map(|(a, b)| (a - b).abs()).fold(0f32, f32::max);
            let scale = a.iter().map(|a| a.abs()).fold(0f32, f32::max);
            println!("largest difference {worst:e} of {scale:e}, NaN {}", b.iter().filter(|b| b.is_nan()).count());
        }
    }
    let mut states = plans.iter().map(|(_, plan)| plan.spawn()).collect::<TractResult<Vec<_>>>()?;
    let mut times = vec![vec![]; plans.len()];
    let end = Instant::now() + Duration::from_secs(2);
    while Instant::now() < end {
        for (state, times) in states.iter_mut().zip(&mut times) {
            let values = values.clone();
            let start = Instant::now();
            drop(state.run(values)?);
            times.push(start.elapsed().as_secs_f64());
        }
    }
    let base = times[0].clone();
    for ((name, _), own) in plans.iter().zip(times) {
        let ratio = median(own.iter().zip(&base).map(|(a, b)| a / b).collect());
        println!("{name}: {:.1} us, {ratio:.3} of tract", median(own) * 1e6);
    }
    Ok(())
}
