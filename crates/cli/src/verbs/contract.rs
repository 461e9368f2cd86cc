//! `contract init`: drafts a contract from a model that runs today.

use std::fmt::Write as _;

use plimsoll_dataset::Dataset;
use plimsoll_onnx::{DType, DimSpec, Model, ValueSpec, node};
use plimsoll_profile::Contract;
use plimsoll_transform::{
    adapt::{Fit, compare},
    ranges,
};

use crate::{
    args, contracts,
    exit::Exit,
    failure::Failure,
    manual::Code,
    ui,
    verbs::init::toml_text,
    world::{self, World},
};

pub(crate) fn run(world: &World, args: &args::Contract) -> Result<Exit, Failure> {
    match args {
        args::Contract::Init { model, data, output } => {
            let read = world::model(model)?;
            let data = data.as_deref().map(Dataset::read_npz).transpose()?;
            let text = draft(&read, data.as_ref())?;
            // What is drafted is read, and the model it is drafted from fits it.
            let contract = Contract::from_text(output.as_deref().unwrap_or(model.as_path()), &text)?;
            let compared = compare(&contract, &read);
            if compared.fit() != Fit::Fits {
                return Err(contracts::incompatible(model, &contract, &compared.points));
            }
            let Some(path) = output else {
                ui::data(&text)?;
                return Ok(Exit::Pass);
            };
            if path.exists() {
                let message = format!("failed to write {}: it is there already", path.display());
                return Err(
                    Failure::new(Code::NotWritten, message).help("give another file with -o, or remove it first")
                );
            }
            world::check_output(path, &[model])?;
            world::write(path, text.as_bytes())?;
            if !world.common.json {
                ui::say(&format!(
                    "drafted {}: look at axes, meaning and labels, which a model cannot say",
                    path.display()
                ));
            }
            Ok(Exit::Pass)
        }
    }
}

/// The text of a contract.
fn draft(model: &Model, data: Option<&Dataset>) -> Result<String, Failure> {
    let mut t = String::new();
    t.push_str("# What the running pipeline feeds the model and expects back. Drafted from the model that runs today: look at axes,\n");
    t.push_str("# meaning and labels; add units, ranges, sampling rates. A new model is then held against it, and what it takes and\n");
    t.push_str(
        "# gives otherwise is said in [[model.inputs]] and [[model.outputs]] (docs/contracts.md).\nschema = 1\n",
    );
    for spec in model.inputs() {
        let (dtype, dims) = declared(&spec)?;
        let _ = write!(
            t,
            "\n[[inputs]]\nname = {}\ndtype = \"{dtype}\"\nshape = [{}]\n",
            toml_text(&spec.name),
            shape(dims)
        );
        let axes = axes(dims, false);
        let _ = writeln!(t, "axes = [{}]", list(&axes));
        let seen = data.and_then(|d| d.inputs().get(&spec.name));
        let range = seen.and_then(|tensor| ranges::records(&[(spec.name.clone(), tensor.clone())].into()).pop());
        match range.as_ref().and_then(|(_, text)| text.split_once("..")) {
            Some((low, high)) if low != high => _ = writeln!(t, "range = [{low}, {high}]  # of the samples given"),
            _ => t.push_str("# range = [0, 1]                # least and greatest value that occurs\n"),
        }
        t.push_str("# unit = \"beats/min\"\n");
        if axes.contains(&"time") {
            t.push_str("# sampling-rate = \"1Hz\"\n");
        }
        let gaps = seen.and_then(|tensor| tensor.to_f64().ok()).is_some_and(|v| v.iter().any(|x| x.is_nan()));
        t.push_str(if gaps {
            "missing = \"nan\"                # as in the samples given\n"
        } else {
            "# missing = \"nan\"              # or a number that stands for it\n"
        });
    }
    for spec in model.outputs() {
        let (dtype, dims) = declared(&spec)?;
        let axes = axes(dims, true);
        let meaning = meaning(model, &spec, &axes);
        let _ = write!(
            t,
            "\n[[outputs]]\nname = {}\ndtype = \"{dtype}\"\nshape = [{}]\n",
            toml_text(&spec.name),
            shape(dims)
        );
        let _ =
            writeln!(t, "axes = [{}]\nmeaning = \"{meaning}\"  # or logits, probabilities, label, value", list(&axes));
        if axes.contains(&"class") {
            t.push_str("# labels = [\"sleep\", \"wake\"]  # in the order of the classes\n");
        }
    }
    let _ = write!(t, "\n# [executor]\n# max-opset = {}\n# operators = [", model.opset("").unwrap_or(1));
    let mut used: Vec<&str> = model.graph().node.iter().map(|n| n.op_type.as_str()).collect();
    used.sort_unstable();
    used.dedup();
    let _ = writeln!(t, "{}]", list(&used));
    t.push_str(
        "\n# [recorded]                     # what the pipeline really delivered, and what this model made of it\n",
    );
    t.push_str("# inputs = \"recorded-inputs.npz\"\n# outputs = \"incumbent-outputs.npz\"\n");
    Ok(t)
}

fn declared(spec: &ValueSpec) -> Result<(&'static str, &[DimSpec]), Failure> {
    let dtype = spec.dtype.and_then(DType::short_name);
    match (dtype, &spec.dims) {
        (Some(dtype), Some(dims)) => Ok((dtype, dims)),
        _ => {
            let message = format!("the model does not declare dtype and rank of `{}`", spec.name);
            Err(Failure::new(Code::BadModel, message)
                .help("write the contract by hand, from docs/examples/contract.toml"))
        }
    }
}

fn shape(dims: &[DimSpec]) -> String {
    let dim = |(i, d): (usize, &DimSpec)| match d {
        DimSpec::Fixed(n) => n.to_string(),
        DimSpec::Symbol(name) => toml_text(name),
        DimSpec::Unknown => toml_text(&format!("d{i}")),
    };
    dims.iter().enumerate().map(dim).collect::<Vec<_>>().join(", ")
}

fn list(words: &[&str]) -> String {
    words.iter().map(|w| toml_text(w)).collect::<Vec<_>>().join(", ")
}

/// What axes of such a shape usually are.
fn axes(dims: &[DimSpec], output: bool) -> Vec<&'static str> {
    let colours = |d: &DimSpec| matches!(d, DimSpec::Fixed(1 | 3 | 4));
    let known: &[&str] = match (dims, output) {
        ([], _) => &[],
        ([_], _) => &["batch"],
        ([_, _], true) => &["batch", "class"],
        ([_, _], false) => &["batch", "feature"],
        ([_, _, _], true) => &["batch", "class", "time"],
        ([_, _, _], false) => &["batch", "channel", "time"],
        ([_, first, _, last], _) if !colours(first) && colours(last) => &["batch", "height", "width", "channel"],
        ([_, _, _, _], _) => &["batch", "channel", "height", "width"],
        _ => &["batch", "channel", "time", "height", "width", "feature", "class"],
    };
    known.iter().take(dims.len()).copied().collect()
}

fn meaning(model: &Model, spec: &ValueSpec, axes: &[&str]) -> &'static str {
    let view = model.view();
    let last = view.producer(&spec.name).map(|(_, n)| n);
    let whole = spec.dtype.is_some_and(|d: DType| !d.is_float());
    match last {
        _ if whole => "label",
        _ if !axes.contains(&"class") => "value",
        Some(n) if node::is(n, "Softmax") => "probabilities",
        _ => "logits",
    }
}
