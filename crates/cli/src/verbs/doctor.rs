//! What this machine can measure and sign, and what is missing.

use plimsoll_record::{Diagnosis, Finding};
use plimsoll_runtime::MachineFacts;

use crate::{args::ExecutorName, exit::Exit, failure::Failure, places::Home, ui, world::World};

pub(crate) fn run(world: &World) -> Result<Exit, Failure> {
    let facts = MachineFacts::read();
    let needed = [build(), executor(world), folder()];
    // Load passes; what is missing does not.
    let works = needed.iter().all(|f| f.good);
    let findings = needed.into_iter().chain([onnxruntime(world), machine(&facts), load(&facts), keys()]).collect();
    let diagnosis = Diagnosis { schema: "plimsoll.doctor/1".into(), findings };
    world.print(&diagnosis, || text(&diagnosis))?;
    Ok(if works { Exit::Pass } else { Exit::Other })
}

fn finding(subject: &str, good: bool, found: impl Into<String>, remedy: &str) -> Finding {
    let remedy = if good { String::new() } else { remedy.into() };
    Finding { subject: subject.into(), good, found: found.into(), remedy }
}

fn build() -> Finding {
    let good = !cfg!(debug_assertions);
    let found = format!("{} {}", env!("CARGO_PKG_VERSION"), if good { "release build" } else { "debug build" });
    finding("plimsoll", good, found, "use `cargo xtask`, which builds in release profile: gating refuses in this one")
}

fn executor(world: &World) -> Finding {
    match world.executor() {
        Ok(e) => finding(
            "executor",
            true,
            format!(
                "{} {}, in a process of its own with {} MiB and {} s",
                e.name(),
                e.version(),
                world.common.memory_limit,
                world.common.time_limit
            ),
            "",
        ),
        Err(failure) => {
            finding("executor", false, failure.message(), "raise --memory-limit: the program alone needs about 100 MiB")
        }
    }
}

fn onnxruntime(world: &World) -> Finding {
    match world.executor_named(ExecutorName::OnnxRuntime) {
        Ok(e) => finding("onnxruntime", true, format!("{}, where `--executor` or a profile names it", e.version()), ""),
        Err(missing) => finding("onnxruntime", false, missing.message(), missing.remedy()),
    }
}

fn machine(facts: &MachineFacts) -> Finding {
    let isa = if facts.isa.is_empty() { "no extension that matters".to_owned() } else { facts.isa.join(" ") };
    let memory = facts.memory_bytes.map_or("memory not known".to_owned(), ui::bytes);
    finding("machine", true, format!("{} · {} cores · {memory} · {isa}", facts.cpu, facts.logical_cores), "")
}

fn load(facts: &MachineFacts) -> Finding {
    let Some(load) = facts.load else {
        return finding("load", true, "not known on this system", "");
    };
    // A core that others use half the time moves medians by more than most budgets' head-room.
    let good = load < 0.5 * facts.logical_cores as f64;
    let remedy =
        "wait until other work has ended: absolute latencies taken now are too high (ratios to a baseline hold)";
    finding("load", good, format!("{load:.2} over the last minute"), remedy)
}

fn folder() -> Finding {
    match tempfile::Builder::new().prefix(plimsoll_trust::atomic::TEMPORARY).tempfile_in(".") {
        Ok(_) => finding("this folder", true, "can be written to", ""),
        Err(e) => {
            finding("this folder", false, e.to_string(), "`release` writes to .plimsoll here: choose another with -o")
        }
    }
}

fn keys() -> Finding {
    let trial = Home::new(None).trial_keys();
    let found = if trial.is_dir() {
        format!("trial keys in {}: good for trying, refused by production clients", trial.display())
    } else {
        format!("none yet; the first `release` makes trial keys in {}", trial.display())
    };
    finding("signing keys", true, found, "")
}

fn text(diagnosis: &Diagnosis) -> String {
    let line = |f: &Finding| {
        let mark = if f.good { "ok  " } else { "miss" };
        let remedy = if f.remedy.is_empty() { String::new() } else { format!("\n      {:<14}{}", "", f.remedy) };
        format!("{mark}  {:<14}{}{remedy}", f.subject, f.found)
    };
    diagnosis.findings.iter().map(line).collect::<Vec<_>>().join("\n") + "\n"
}
