//! Dump.
#![allow(clippy::print_stdout, reason = "x")]
use tract_onnx::prelude::*;
use tract_onnx::tract_hir::infer::Factoid;
fn main() -> TractResult<()> {
    let path = std::env::args().nth(1).unwrap();
    let bytes = std::fs::read(path)?;
    let mut model =
        tract_onnx::onnx().with_ignore_value_info(true).with_ignore_output_shapes(true).model_for_read(&mut &*bytes)?;
    for ix in 0..model.input_outlets()?.len() {
        let f = model.input_fact(ix)?.clone();
        let rank = f.shape.rank().concretize().unwrap() as usize;
        let dims: Vec<usize> = f
            .shape
            .dims()
            .take(rank)
            .map(|d| d.concretize().and_then(|d| d.to_i64().ok()).unwrap_or(1) as usize)
            .collect();
        model.set_input_fact(ix, InferenceFact::dt_shape(f.datum_type.concretize().unwrap(), &*dims))?;
    }
    let mut m = model.into_typed()?;
    if std::env::args().nth(2).as_deref() != Some("raw") {
        m = m.into_decluttered()?;
    }
    if std::env::args().nth(2).as_deref() == Some("opt") {
        m = m.into_optimized()?;
    }
    for id in m.eval_order()? {
        let n = m.node(id);
        let ins: Vec<String> = n.inputs.iter().map(|o| format!("{}/{}", o.node, o.slot)).collect();
        let outs: Vec<String> = n
            .outputs
            .iter()
            .map(|o| {
                let mut s = format!("{:?}", o.fact);
                if s.chars().count() > 90 {
                    s = s.chars().take(90).collect();
                }
                s
            })
            .collect();
        let mut op = format!("{:?}", n.op);
        if op.chars().count() > 400 {
            op = op.chars().take(400).collect();
        }
        println!("{id} {} {ins:?} -> {outs:?}\n      {op}", n.op.name());
    }
    Ok(())
}
