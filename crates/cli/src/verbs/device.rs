//! The agent of a device, as the small program `plimsoll-device` has it, and what takes the rest of this one: measuring on the device.

use std::{
    io::{self, BufReader, Write},
    path::{Path, PathBuf},
    time::SystemTime,
};

use clap::{Args, Subcommand};
use plimsoll_dataset::{Archive, Samples, decode_arrays, encode_arrays};
use plimsoll_device::{Agent, DeviceError, Runner, records};
use plimsoll_profile::DeviceSpec;
use plimsoll_record::{DeviceAction, DeviceStatus, PAYLOAD, PointedRelease};

use crate::{
    args, evidence,
    exit::Exit,
    failure::Failure,
    manual::Code,
    reference::each,
    ui,
    verbs::bench,
    world::{World, today},
};

/// No message of arrays is longer.
const MOST: u64 = 256 << 20;

#[derive(Debug, Subcommand)]
pub(crate) enum Device {
    /// Look at the channel and follow it: verify, install into the other slot, test, swap
    ///
    /// Whatever does not hold, what runs goes on running: with metadata that are stale or forged, or a clock that cannot be right, nothing
    /// is installed (98); a release that does not fit the device's budgets, contract or self-test is not tried again (100).
    Sync(At),
    /// Run the active release: named arrays on stdin, or samples of a file, are answered by arrays on stdout
    ///
    /// A message is a line with the arrays' names and then each array in npy format. Crashes in a row, and the release before it runs
    /// again. An array `group` is what a server that routes draws a request's release by.
    Run {
        #[command(flatten)]
        at: At,
        /// Samples to run instead of stdin; nothing is printed but what came of them
        #[arg(long, value_name = "NPZ")]
        data: Option<PathBuf>,
    },
    /// Latency and memory of the active release on this device, beside the one that it replaced
    ///
    /// With -o FILE --sign KEY the figures become evidence, which `check --evidence` on another machine takes over.
    Bench(OnDevice),
    /// The daily records, as JSON Lines
    Report {
        #[command(flatten)]
        at: At,
        /// That of the running day, too
        #[arg(long)]
        today: bool,
    },
    /// What runs, without a look at the channel
    Status(At),
    /// Let a release be tried again that crashed or did not suit the device
    Forgive {
        #[command(flatten)]
        at: At,
        /// Its release digest
        digest: String,
    },
}

/// Which device.
#[derive(Debug, Args)]
pub(crate) struct At {
    /// The device's file, such as docs/examples/device.toml
    file: PathBuf,
}

impl At {
    fn agent(&self) -> Result<Agent, Failure> {
        Ok(Agent::new(DeviceSpec::read(&self.file)?)?)
    }
}

#[derive(Debug, Args)]
pub(crate) struct OnDevice {
    #[command(flatten)]
    at: At,
    /// Samples to run on; without them, inputs are drawn
    #[arg(long, value_name = "NPZ")]
    data: Option<PathBuf>,
    /// Seconds that measuring may take
    #[arg(long, default_value_t = 10.0, value_name = "SECONDS", value_parser = args::seconds)]
    budget: f64,
    #[command(flatten)]
    record: evidence::Record,
}

impl From<DeviceError> for Failure {
    fn from(e: DeviceError) -> Self {
        let code = match e {
            DeviceError::Config(e) => return e.into(),
            DeviceError::Exec(e) => return e.into(),
            DeviceError::Refused { .. } => Code::VerificationRefused,
            DeviceError::Unfit { .. } => Code::GateFailed,
            DeviceError::Busy { .. } => Code::RepositoryBusy,
            DeviceError::NoModel | DeviceError::Address { .. } => Code::NoRepository,
            DeviceError::Damaged { .. } => Code::BadConfig,
            _ => Code::NotWritten,
        };
        let failure = Self::new(code, e.to_string());
        match e.help() {
            Some(help) => failure.help(help),
            None => failure,
        }
    }
}

pub(crate) fn run(world: &World, verb: &Device) -> Result<Exit, Failure> {
    match verb {
        Device::Sync(at) => {
            let status = at.agent()?.sync(world.executor()?, SystemTime::now())?;
            world.print(&status, || text(&status))?;
            Ok(match status.action {
                DeviceAction::Held => Exit::VerificationRefused,
                DeviceAction::Unfit => Exit::GateFailed,
                _ => Exit::Pass,
            })
        }
        Device::Status(at) => {
            let status = at.agent()?.standing(SystemTime::now())?;
            world.print(&status, || text(&status))?;
            Ok(Exit::Pass)
        }
        Device::Run { at, data: None } => answer(world, &at.agent()?),
        Device::Run { at, data: Some(data) } => samples(world, &at.agent()?, data),
        Device::Bench(on) => measure(world, on),
        Device::Report { at, today: with_today } => {
            let found = records(at.agent()?.state(), today(), *with_today)?;
            let lines = found.iter().map(serde_json::to_string).collect::<Result<Vec<_>, _>>();
            let lines = lines.map_err(|e| Failure::new(Code::Internal, e.to_string()))?;
            if !lines.is_empty() {
                ui::data(&lines.into_iter().map(|l| l + "\n").collect::<String>())?;
            }
            Ok(Exit::Pass)
        }
        Device::Forgive { at, digest } => {
            let held = at.agent()?.forgive(digest)?;
            ui::say(if held { "it is tried again" } else { "it was not held back" });
            Ok(Exit::Pass)
        }
    }
}

fn text(status: &DeviceStatus) -> String {
    let name = |r: &Option<PointedRelease>| match r {
        Some(r) => format!("{} {} ({})", r.release, r.version, r.release_digest.get(..20).unwrap_or_default()),
        None => "nothing".into(),
    };
    let action = match status.action {
        DeviceAction::None => "nothing to do",
        DeviceAction::Switched => "switched",
        DeviceAction::Waiting => "waiting",
        DeviceAction::WentBack => "went back",
        DeviceAction::Held => "held: nothing was installed",
        DeviceAction::Unfit => "unfit: not tried again",
    };
    let epoch = status.epoch.map_or_else(String::new, |e| format!(", epoch {e}"));
    format!(
        "device  {} · {}{epoch}\naction  {action}\nwhy     {}\nruns    {}\nkeeps   {}\n",
        status.device,
        status.channel,
        status.reason,
        name(&status.active),
        name(&status.other)
    )
}

fn answer(world: &World, agent: &Agent) -> Result<Exit, Failure> {
    let mut runner = Runner::start(agent, world.executor()?, SystemTime::now())?;
    let mut source = BufReader::new(io::stdin().lock());
    let bad = |reason: String| Failure::new(Code::BadData, format!("stdin: {reason}"));
    while let Some(mut arrays) = decode_arrays(&mut source, MOST).map_err(bad)? {
        let key = arrays.remove("group").and_then(|g| g.to_i64().ok()).and_then(|g| g.first().map(i64::to_string));
        let answer = runner.infer(key.as_deref(), &arrays, SystemTime::now())?;
        if let Some(reason) = &answer.went_back {
            ui::say(&format!("went back to the release {}: {reason}", answer.release));
        }
        let bytes = encode_arrays(&answer.outputs).map_err(bad)?;
        let mut out = io::stdout().lock();
        out.write_all(&bytes).and_then(|()| out.flush()).map_err(|e| bad(e.to_string()))?;
    }
    runner.end()?;
    Ok(Exit::Pass)
}

fn samples(world: &World, agent: &Agent, data: &Path) -> Result<Exit, Failure> {
    let data = Archive::open(data)?;
    let groups = data.group().map(<[i64]>::to_vec);
    let mut runner = Runner::start(agent, world.executor()?, SystemTime::now())?;
    let (mut n, mut ran) = (0usize, Ok(()));
    data.for_each_slice(64, &mut |slice| {
        let slice = each(&slice).and_then(|samples| {
            for inputs in samples {
                let key = groups.as_ref().and_then(|g| g.get(n)).map(i64::to_string);
                let answer = runner.infer(key.as_deref(), &inputs, SystemTime::now())?;
                if let Some(reason) = answer.went_back {
                    ui::say(&format!("went back to the release {}: {reason}", answer.release));
                }
                n += 1;
            }
            Ok(())
        });
        match slice {
            Ok(()) => std::ops::ControlFlow::Continue(()),
            Err(e) => {
                ran = Err(e);
                std::ops::ControlFlow::Break(())
            }
        }
    })?;
    let release = runner.active().release.clone();
    runner.end()?;
    ran?;
    ui::say(&format!("{n} inferences; {} {} runs", release.release, release.version));
    Ok(Exit::Pass)
}

/// The active release is timed beside the one that it replaced, where that is kept.
fn measure(world: &World, on: &OnDevice) -> Result<Exit, Failure> {
    let agent = on.at.agent()?;
    let state = agent.state();
    let (slot, installed) = state.active()?.ok_or(DeviceError::NoModel)?;
    let model = |slot, file: &str| state.slot(slot).join(PAYLOAD).join(file);
    let other = state.installed(slot.other())?;
    let bench = args::Bench {
        model: model(slot, &installed.model),
        baseline: other.map(|other| model(slot.other(), &other.model)),
        data: on.data.clone(),
        max_increase: None,
        batch: 1,
        offline: None,
        before: None,
        after: None,
        hop: None,
        budget: on.budget,
        record: on.record.clone(),
    };
    bench::run(world, &bench)
}
