//! Drafts a release spec for a model: budgets are today's figures + 10 %.

use std::{
    fmt::Write as _,
    path::{Component, Path, PathBuf},
};

use plimsoll_measure::{BenchOptions, EvaluationOptions, bench, evaluate, static_figures};
use plimsoll_profile::Spec;
use plimsoll_record::Figure;

use crate::{
    args,
    exit::Exit,
    failure::{Failure, Named},
    manual::Code,
    ui,
    world::{self, World},
};

pub(crate) fn run(world: &World, args: &args::Init) -> Result<Exit, Failure> {
    world.refuse_debug_build()?;
    let model = world::model(&args.model)?;
    let data = world::data(&args.data, &model)?;
    let output = args.output.clone().unwrap_or_else(|| args.model.with_file_name("plimsoll.toml"));
    if output.exists() {
        let message = format!("failed to write {}: it is there already", output.display());
        return Err(Failure::new(Code::NotWritten, message).help("choose another file with -o, or remove this one"));
    }
    world::check_output(&output, &[&args.model, &args.data])?;

    let executor = world.executor()?;
    let (mut figures, _) = static_figures(&model, Some(&data))?;
    if data.label().is_some() {
        let options = EvaluationOptions { threads: world.common.threads, ..EvaluationOptions::default() };
        figures.extend(evaluate(executor, &model, None, &data, &options).of_model(&args.model)?.figures);
    }
    let options = BenchOptions { threads: world.common.threads, ..BenchOptions::default() };
    figures.extend(bench(executor, &model, None, Some(&data), &options).of_model(&args.model)?.figures);

    let folder = output.parent().unwrap_or(Path::new(""));
    let text = draft(&args.model, &args.data, folder, data.label().is_some(), &figures);
    // What is drafted is read as any other spec: a draft that does not hold would be a defect here.
    Spec::from_text(&output, &text)?;
    world::write(&output, text.as_bytes())?;
    ui::say(&format!("wrote {}", output.display()));
    ui::say(&format!("next: plimsoll check {}", output.display()));
    Ok(Exit::Pass)
}

fn draft(model: &Path, data: &Path, folder: &Path, labelled: bool, figures: &[Figure]) -> String {
    let get = |metric: &str| figures.iter().find(|f| f.metric == metric);
    let name: String = model.file_stem().unwrap_or_default().to_string_lossy().to_lowercase();
    let name: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let name: String = name.trim_matches('-').chars().take(64).collect();
    let quoted = |path: PathBuf| toml_text(&path.to_string_lossy());
    let mut t = String::new();
    let mut line = |text: String| _ = writeln!(t, "{text}");
    line("# What is released and what it must keep: `plimsoll check` judges, `plimsoll release` ships.".into());
    line("schema = 1".into());
    line("# Servers and devices to hold it against (see profiles/); none yet.".into());
    line("# profiles = [\"profiles/server-x86.toml\"]".into());
    line("\n[release]".into());
    line(format!("name = {}\nversion = \"0.1.0\"", toml_text(if name.is_empty() { "model" } else { &name })));
    line(format!("\n[model]\npath = {}", quoted(relative(model, folder))));
    line("\n[data]  # npz files without a common sample".into());
    if labelled {
        line("# calibration = \"calib.npz\"  # for int8, no labels needed\n# validation = \"valid.npz\"  # what `optimize` chooses by".into());
        line(format!("test = {}  # what the gate judges by", quoted(relative(data, folder))));
    } else {
        line(format!("calibration = {}  # for int8", quoted(relative(data, folder))));
        line("# validation = \"valid.npz\"  # labelled: what `optimize` chooses by\n# test = \"test.npz\"  # labelled: what the gate judges by".into());
    }
    line("\n[budget]  # today's figures + 10 %".into());
    let more = |f: &Figure| f.value * 1.1;
    for (metric, unit) in [("artifact-size", "bytes"), ("macs", ""), ("peak-activation-memory", "bytes")] {
        if let Some(f) = get(metric) {
            let today = if unit.is_empty() { ui::count(f.value as u64) } else { ui::bytes(f.value as u64) };
            line(format!("{metric} = {}  # today {today}", more(f).ceil()));
        }
    }
    if let Some(f) = get("latency.p50") {
        let max = format!("{:.1}us", more(f) * 1e6);
        line(format!(
            "# Shared machines are noisy: a warning. On a quiet one of its kind, make it an error.\nlatency.p50 = {{ max = \"{max}\", level = \"warn\" }}"
        ));
    }
    if let Some(f) = get("accuracy") {
        let [low, _] = f.bounds();
        let min = ((low - 0.01).max(0.0) * 1e4).floor() / 100.0;
        let today = f.value * 100.0;
        line(format!("accuracy = {{ min = \"{min}%\" }}  # today {today:.2} %; its interval's lower end less 1 pp"));
    }
    t
}

/// A TOML string.
pub(crate) fn toml_text(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => _ = write!(out, "\\u{:04X}", c as u32),
            c => out.push(c),
        }
    }
    out + "\""
}

/// The path as seen from a folder; absolute where they have no common root.
fn relative(path: &Path, folder: &Path) -> PathBuf {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let (Ok(path), Ok(folder)) = (path.canonicalize(), folder.canonicalize()) else { return path.to_owned() };
    let common = path.components().zip(folder.components()).take_while(|(a, b)| a == b).count();
    if common == 0 {
        return path;
    }
    let up = folder.components().skip(common).map(|_| Component::ParentDir);
    up.chain(path.components().skip(common)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_survive_toml() {
        let check = |text: &str| {
            let spec = format!(
                "schema = 1\nprofiles = [{}]\n[release]\nname = \"a\"\nversion = \"1.0.0\"\n[model]\npath = \"m\"\n",
                toml_text(text)
            );
            assert_eq!(Spec::from_text("a.toml", &spec).unwrap().profiles[0].written, text);
        };
        check("plain/model.onnx");
        check("C:\\models\\a \"b\".onnx");
        check("ünïcode/模型.onnx");
    }
}
