//! `cargo xtask <verb>`: builds the `plimsoll` binary in release profile and hands the verb over to it; developer verbs are
//! here. Links nothing, so that it is quick to build.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
    process::{Command, ExitCode, ExitStatus},
};

/// Exit code of anything that is not a documented outcome of a verb.
const OTHER: u8 = 1;

fn main() -> ExitCode {
    let args: Vec<_> = env::args_os().skip(1).collect();
    let verb = args.first().and_then(|a| a.to_str()).unwrap_or("--help").to_owned();
    let outcome = match verb.as_str() {
        "node-tests" => node_tests(args.get(1).map(PathBuf::from)),
        "crates" => count_crates(),
        "simulate-fleet" => simulate_fleet(args.get(1..).unwrap_or_default()),
        "test-cluster" => test_cluster(),
        _ => hand_over(&args),
    };
    outcome.unwrap_or_else(|message| {
        report(&format!("error: {message}"));
        ExitCode::from(OTHER)
    })
}

#[expect(clippy::print_stderr, reason = "xtask talks to a developer")]
fn report(line: &str) {
    eprintln!("{line}");
}

/// The workspace. Cargo says at run time which one it is called in: a target folder may be shared by several clones.
fn root() -> PathBuf {
    let own = env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    let own = Path::new(&own);
    own.parent().unwrap_or(own).to_owned()
}

fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

fn status(command: &mut Command) -> Result<ExitStatus, String> {
    command.status().map_err(|e| format!("failed to start {}: {e}", command.get_program().display()))
}

fn code_of(status: ExitStatus) -> ExitCode {
    ExitCode::from(status.code().and_then(|c| u8::try_from(c).ok()).unwrap_or(OTHER))
}

/// A verb that takes what the main job does without: a telemetry store, object stores, registries.
fn asks_for_all(args: &[OsString]) -> bool {
    args.first().is_some_and(|verb| verb == "rollout") || args.iter().any(|a| a.to_string_lossy().contains("://"))
}

/// Builds the command line and runs the verb in the caller's folder.
fn hand_over(args: &[OsString]) -> Result<ExitCode, String> {
    let release =
        env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |t| root().join(t)).join("release");
    let binary = release.join(format!("plimsoll{}", env::consts::EXE_SUFFIX));
    // Once all of it was built it stays so: going back and forth would build the command line each time.
    let all = release.join(".plimsoll-has-all");
    let mut build = cargo();
    build.args(["build", "--release", "--locked", "--package", "plimsoll-cli"]);
    if !all.exists() && !asks_for_all(args) {
        build.arg("--no-default-features");
    }
    if binary.is_file() {
        build.arg("--quiet");
    } else {
        report("building plimsoll: the first time takes minutes, the executor most of them");
    }
    if !status(&mut build)?.success() {
        return Err("the build of plimsoll failed".into());
    }
    if asks_for_all(args) {
        std::fs::write(&all, "").map_err(|e| format!("failed to write {}: {e}", all.display()))?;
    }
    let args = if args.is_empty() { vec!["--help".into()] } else { args.to_vec() };
    Ok(code_of(status(Command::new(binary).args(args).env("PLIMSOLL_ROOT", root()))?))
}

/// Runs the ONNX backend node tests that `dump_node_tests.py` wrote to a folder.
fn node_tests(folder: Option<PathBuf>) -> Result<ExitCode, String> {
    let folder =
        folder.ok_or("usage: cargo xtask node-tests FOLDER (written by crates/transform/tests/dump_node_tests.py)")?;
    let folder = folder.canonicalize().map_err(|e| format!("failed to open {}: {e}", folder.display()))?;
    let mut test = cargo();
    // Of the whole workspace, as the tests are built: with the features of one package alone tract would be built again.
    test.args(["test", "--release", "--locked", "--workspace", "--test", "node_tests", "--", "--nocapture"]);
    Ok(code_of(status(test.env("PLIMSOLL_NODE_TESTS", folder))?))
}

/// Plays whole rollouts of a harmless, a harmful and a borderline release, some devices being real agents.
fn simulate_fleet(args: &[OsString]) -> Result<ExitCode, String> {
    const USAGE: &str = "usage: cargo xtask simulate-fleet [--devices N] [--agents N] [--seed N] [--policy POLICY.toml] [--pages FOLDER]";
    let mut test = cargo();
    test.args([
        "test",
        "--release",
        "--locked",
        "--package",
        "plimsoll-cli",
        "--test",
        "simulated_fleet",
        "--",
        "--nocapture",
    ]);
    for pair in args.chunks(2) {
        let [name, value] = pair else { return Err(USAGE.into()) };
        let here = |path: &OsString| env::current_dir().map(|d| d.join(path)).map_err(|e| e.to_string());
        match name.to_str() {
            Some("--devices") => test.env("PLIMSOLL_DEVICES", value),
            Some("--agents") => test.env("PLIMSOLL_AGENTS", value),
            Some("--seed") => test.env("PLIMSOLL_SEED", value),
            Some("--policy") => test.env("PLIMSOLL_POLICY", here(value)?),
            Some("--pages") => test.env("PLIMSOLL_KEEP", here(value)?),
            _ => return Err(USAGE.into()),
        };
    }
    Ok(code_of(status(&mut test)?))
}

/// Runs the statement that makes outcomes in SQLite, DuckDB and a Spark cluster on loopback, and compares what they wrote. Python is
/// `PLIMSOLL_PYTHON` or `python3`, with duckdb, pyarrow and 'pyspark<4.1'.
fn test_cluster() -> Result<ExitCode, String> {
    let mut build = cargo();
    build.args(["build", "--release", "--locked", "--package", "plimsoll-rollout", "--example", "judge"]);
    if !status(&mut build)?.success() {
        return Err("the build of the example `judge` failed".into());
    }
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |t| root().join(t));
    let python = env::var_os("PLIMSOLL_PYTHON").unwrap_or_else(|| "python3".into());
    let mut script = Command::new(python);
    script
        .arg(root().join("docs/check_engines.py"))
        .arg("--judge")
        .arg(target.join("release/examples/judge"))
        .arg("--spark");
    Ok(code_of(status(&mut script)?))
}

/// Prints how many crates the main job's binary is built from.
#[expect(clippy::print_stdout, reason = "the count is what this verb is for")]
fn count_crates() -> Result<ExitCode, String> {
    let tree = [
        "tree",
        "--locked",
        "--package",
        "plimsoll-cli",
        "--no-default-features",
        "--edges",
        "normal,build",
        "--prefix",
        "none",
        "--format",
        "{p}",
    ];
    let output = cargo().args(tree).output().map_err(|e| format!("failed to run cargo tree: {e}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let mut names: Vec<&str> = text.lines().map(|l| l.trim_end_matches(" (*)")).filter(|l| !l.is_empty()).collect();
    names.sort_unstable();
    names.dedup();
    println!("{} crates", names.len());
    Ok(ExitCode::from(u8::from(!output.status.success())))
}
