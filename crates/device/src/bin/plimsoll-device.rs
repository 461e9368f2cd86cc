//! `plimsoll-device`: the agent as a small program of its own, without the optimizer.

use std::{
    io::{self, BufReader, Write},
    path::Path,
    process::ExitCode,
    sync::OnceLock,
    time::{Duration, SystemTime},
};

use plimsoll_dataset::{decode_arrays, encode_arrays};
use plimsoll_device::{Agent, DeviceError, Runner, records};
use plimsoll_profile::{Day, DeviceSpec};
use plimsoll_record::DeviceAction;
use plimsoll_runtime::{
    ExecError, Executor, Isolated, Limits, LoadOptions, Session, TractExecutor, WorkerCommand, worker,
};

const USAGE: &str = "plimsoll-device VERB DEVICE.toml
  sync     look at the channel and follow it; the status goes to stdout as JSON
  run      answer named arrays on stdin by named arrays on stdout, until stdin ends
  report   the records of the days that are over, as JSON Lines
  status   what runs, without a look at the channel
  forgive  DIGEST: let a release be tried again that crashed or did not suit";

/// No message of arrays is longer.
const MOST: u64 = 256 << 20;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match args.as_slice() {
        ["__worker"] => worker::serve(&TractExecutor, io::stdin().lock(), io::stdout().lock())
            .map(|()| ExitCode::SUCCESS)
            .map_err(|e| e.to_string()),
        [verb @ ("sync" | "run" | "report" | "status"), file] => act(verb, file).map_err(|e| told(&e)),
        ["forgive", file, digest] => forgive(file, digest).map_err(|e| told(&e)),
        ["--version"] => {
            print(concat!("plimsoll-device ", env!("CARGO_PKG_VERSION"), "\n")).map(|()| ExitCode::SUCCESS)
        }
        _ => {
            say(USAGE);
            return ExitCode::from(2);
        }
    };
    done.unwrap_or_else(|message| {
        say(&format!("error: {message}"));
        ExitCode::FAILURE
    })
}

fn told(error: &DeviceError) -> String {
    match (error, error.help()) {
        (DeviceError::Config(e), _) => e.render(),
        (_, Some(help)) => format!("{error}\n  help: {help}"),
        (_, None) => error.to_string(),
    }
}

fn print(text: &str) -> Result<(), String> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|e| e.to_string())
}

#[expect(clippy::print_stderr, reason = "a program's talk")]
fn say(text: &str) {
    eprintln!("{text}");
}

fn written(text: Result<(), String>) -> Result<(), DeviceError> {
    text.map_err(|reason| DeviceError::Io { path: "stdout".into(), source: io::Error::other(reason) })
}

/// tract in a child process, started when there is something to run: a release that crashes takes the child along, not the agent.
struct Child {
    limits: Limits,
    started: OnceLock<Isolated>,
}

impl Child {
    fn of(spec: &DeviceSpec) -> Self {
        // Address space, of which a process reserves more than it uses; what it uses is held against the budget.
        let memory_bytes = spec.memory.map_or(1 << 30, |m| m.0.saturating_mul(2).saturating_add(256 << 20));
        Self { limits: Limits { memory_bytes, time: Duration::from_secs(60) }, started: OnceLock::new() }
    }
}

impl Executor for Child {
    fn name(&self) -> &str {
        TractExecutor.name()
    }

    fn version(&self) -> String {
        TractExecutor.version()
    }

    fn load(&self, model: &[u8], options: &LoadOptions) -> Result<Box<dyn Session>, ExecError> {
        if let Some(started) = self.started.get() {
            return started.load(model, options);
        }
        let failed = |e: io::Error| ExecError::Failed { executor: "worker".into(), reason: e.to_string() };
        let program = std::env::current_exe().map_err(failed)?;
        let isolated = Isolated::new(WorkerCommand { program, args: vec!["__worker".into()] }, self.limits)?;
        self.started.get_or_init(|| isolated).load(model, options)
    }
}

fn act(verb: &str, file: &str) -> Result<ExitCode, DeviceError> {
    let agent = Agent::new(DeviceSpec::read(Path::new(file))?)?;
    match verb {
        "sync" => sync(&agent),
        "run" => run(&agent),
        "report" => report(&agent),
        _ => status(&agent),
    }
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default() + "\n"
}

fn sync(agent: &Agent) -> Result<ExitCode, DeviceError> {
    let status = agent.sync(&Child::of(agent.spec()), SystemTime::now())?;
    written(print(&json(&status)))?;
    Ok(match status.action {
        DeviceAction::Held => ExitCode::from(98),
        DeviceAction::Unfit => ExitCode::from(100),
        _ => ExitCode::SUCCESS,
    })
}

fn status(agent: &Agent) -> Result<ExitCode, DeviceError> {
    written(print(&json(&agent.standing(SystemTime::now())?)))?;
    Ok(ExitCode::SUCCESS)
}

fn report(agent: &Agent) -> Result<ExitCode, DeviceError> {
    let records = records(agent.state(), Day::of(SystemTime::now()), false)?;
    written(print(&records.iter().map(json).collect::<String>()))?;
    Ok(ExitCode::SUCCESS)
}

fn forgive(file: &str, digest: &str) -> Result<ExitCode, DeviceError> {
    let held = Agent::new(DeviceSpec::read(Path::new(file))?)?.forgive(digest)?;
    say(if held { "it is tried again" } else { "it was not held back" });
    Ok(ExitCode::SUCCESS)
}

fn run(agent: &Agent) -> Result<ExitCode, DeviceError> {
    let executor = Child::of(agent.spec());
    let mut runner = Runner::start(agent, &executor, SystemTime::now())?;
    let mut source = BufReader::new(io::stdin().lock());
    let bad = |reason: String| DeviceError::Io { path: "stdin".into(), source: io::Error::other(reason) };
    while let Some(mut arrays) = decode_arrays(&mut source, MOST).map_err(bad)? {
        // What is drawn by, on a server that routes: a whole number, as in data sets.
        let key = arrays.remove("group").and_then(|g| g.to_i64().ok()).and_then(|g| g.first().map(i64::to_string));
        let answer = runner.infer(key.as_deref(), &arrays, SystemTime::now())?;
        if let Some(reason) = &answer.went_back {
            say(&format!("went back to {}: {reason}", answer.release));
        }
        let mut out = io::stdout().lock();
        let bytes = encode_arrays(&answer.outputs).map_err(bad)?;
        out.write_all(&bytes).and_then(|()| out.flush()).map_err(|e| bad(e.to_string()))?;
    }
    runner.end()?;
    Ok(ExitCode::SUCCESS)
}
