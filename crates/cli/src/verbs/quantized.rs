//! What `quantize --explain` adds: which node costs what, and how another quantized file of the same model compares.

use std::{collections::BTreeMap, path::Path};

use plimsoll_dataset::Dataset;
use plimsoll_onnx::Model;
use plimsoll_optimize::recorded;
use plimsoll_record::{NodeSensitivity, QuantizedComparison, Standing};
use plimsoll_transform::quantize::{self, QuantizeOptions};

use crate::{
    failure::{Failure, Named},
    ui,
    world::{self, World},
};

/// The nodes that the options quantize, the most damaging first.
pub(crate) fn sensitivity(
    world: &World,
    simple: &Model,
    data: &Dataset,
    options: &QuantizeOptions,
) -> Result<Vec<NodeSensitivity>, Failure> {
    let ranked = quantize::sensitivity(simple, options, &world.context(Some(data))?)?;
    Ok(ranked.into_iter().map(recorded::node).collect())
}

/// The model made beside another quantized file of the same original. `names` are the old names of values by their new ones.
pub(crate) fn against(
    world: &World,
    original: (&Model, &Model),
    made: (&Path, &Model, &BTreeMap<String, String>),
    other: &Path,
    data: &Dataset,
) -> Result<QuantizedComparison, Failure> {
    let (as_read, simple) = original;
    let rival = world::model(other)?;
    let context = world.context(Some(data))?;
    let standing = |path: &Path, model: &Model, alone: Vec<String>| -> Result<Standing, Failure> {
        let found = quantize::damage(as_read, model, &context).of_model(path)?;
        let bytes = model.to_bytes()?.len() as u64;
        Ok(Standing { model: path.display().to_string(), bytes, damage: recorded::damage(&found), alone })
    };
    let (ours, theirs) =
        (quantize::quantized_of(simple, made.1, made.2), quantize::quantized_of(simple, &rival, &BTreeMap::new()));
    let without = |a: &[String], b: &[String]| a.iter().filter(|n| !b.contains(n)).map(|n| label(simple, n)).collect();
    Ok(QuantizedComparison {
        both: ours.iter().filter(|n| theirs.contains(n)).count() as u64,
        made: standing(made.0, made.1, without(&ours, &theirs))?,
        other: standing(other, &rival, without(&theirs, &ours))?,
    })
}

/// A node by the value that it computes.
fn label(model: &Model, output: &str) -> String {
    let view = model.view();
    view.producer(output).map_or_else(|| output.to_owned(), |(_, n)| plimsoll_onnx::node::label(n))
}

/// The ranking as a table.
pub(crate) fn sensitivity_text(found: &[NodeSensitivity]) -> String {
    let row = |s: &NodeSensitivity| {
        let sign = if s.bytes_saved < 0 { "-" } else { "" };
        vec![
            short(s),
            s.operators.join(", "),
            format!("{sign}{}", ui::bytes(s.bytes_saved.unsigned_abs())),
            s.damage.divergence.map_or("–".into(), |d| format!("{d:.2e}")),
            s.damage.sqnr.map_or("–".into(), |d| format!("{d:.1} dB")),
            s.damage.agreement.map_or("–".into(), |a| format!("{a:.4}")),
        ]
    };
    let header = ["node quantized alone", "operator", "saves", "divergence", "SQNR", "agreement"];
    let samples = found.first().map_or(0, |s| s.damage.samples);
    let table = ui::table(&header, found.iter().map(row).collect());
    format!(
        "{table}\nrounded to nearest, on {samples} samples held back from calibration; --exclude NODE keeps one in float\n"
    )
}

/// Both models as a table, with the nodes that only one of them quantizes.
pub(crate) fn comparison_text(found: &QuantizedComparison) -> String {
    let row = |s: &Standing| {
        vec![
            s.model.clone(),
            ui::bytes(s.bytes),
            s.damage.divergence.map_or("–".into(), |d| format!("{d:.2e}")),
            s.damage.sqnr.map_or("–".into(), |d| format!("{d:.1} dB")),
            s.damage.agreement.map_or("–".into(), |a| format!("{a:.4}")),
            s.damage.samples.to_string(),
        ]
    };
    let header = ["model", "size", "divergence", "SQNR", "agreement", "n"];
    let mut text = ui::table(&header, vec![row(&found.made), row(&found.other)]);
    text += &format!(
        "\n{} nodes are quantized in both; outputs are those of the executor named by --executor\n",
        found.both
    );
    for standing in [&found.made, &found.other] {
        if !standing.alone.is_empty() {
            text += &format!("only in {}: {}\n", standing.model, standing.alone.join(", "));
        }
    }
    text
}

/// The names of a row, the shorter ones of those that `--exclude` takes: some converters write whole paths into node names.
fn short(cost: &NodeSensitivity) -> String {
    let long = |names: &[String]| names.iter().map(String::len).sum::<usize>();
    let names =
        if long(&cost.nodes) > long(&cost.exclude) && long(&cost.nodes) > 60 { &cost.exclude } else { &cost.nodes };
    match names.as_slice() {
        [one, other, _, ..] => format!("{one}, {other} and {} more", names.len() - 2),
        few => few.join(", "),
    }
}
