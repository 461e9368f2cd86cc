//! What `rollout` takes.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use plimsoll_profile::{Day, RolloutMetric};

use crate::args::Repository;

/// Which rollout.
#[derive(Debug, Args)]
pub(crate) struct At {
    #[command(flatten)]
    pub(crate) repository: Repository,
    /// Folder of telemetry, policy and decisions [default: .plimsoll/rollout/NAME beside the repository]
    #[arg(long, value_name = "DIR")]
    pub(crate) rollout: Option<PathBuf>,
    /// The day that it is, as 2026-11-30 [default: today in UTC; `decide` and `watch`: yesterday, the last whole day]
    #[arg(long, value_name = "DAY", value_parser = day)]
    pub(crate) day: Option<Day>,
}

/// Who acts, and why.
#[derive(Debug, Args)]
pub(crate) struct Act {
    #[command(flatten)]
    pub(crate) at: At,
    /// Who acts, as the decision names them [default: the user's name here]
    #[arg(long, value_name = "NAME")]
    pub(crate) by: Option<String>,
    /// Say what would happen and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// Who acts, with the reason that is asked for.
#[derive(Debug, Args)]
pub(crate) struct Reasoned {
    #[command(flatten)]
    pub(crate) act: Act,
    /// Why; it stands in the signed decision
    #[arg(long)]
    pub(crate) reason: String,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Rollout {
    /// Freeze a policy and begin the beta of the release that the beta channel is at
    #[command(after_help = "Example:\n  plimsoll rollout start --policy policy.toml")]
    Start {
        #[command(flatten)]
        act: Act,
        /// The policy; a copy of it is kept, and its digest stands in every decision
        #[arg(long, value_name = "TOML")]
        policy: PathBuf,
    },
    /// Take telemetry into the store: JSON Lines, CSV, Parquet; files or folders of them, here or in an object store
    ///
    /// Each file is taken once, in one transaction; each device-day counts once. What is wrong goes into quarantine, with the
    /// reason. Ids become keyed pseudonyms. Telemetry from before the policy's retention is deleted.
    #[command(
        after_help = "Examples:\n  plimsoll rollout ingest telemetry/\n  plimsoll rollout ingest s3://telemetry/bed-sensor/2026-11-26"
    )]
    Ingest {
        #[command(flatten)]
        at: At,
        /// Files and folders; s3://BUCKET/PREFIX, and s3:// or https:// addresses of single files
        #[arg(required = true, value_name = "PATH")]
        paths: Vec<PathBuf>,
        /// Keep what users write; otherwise only their ratings are stored
        #[arg(long)]
        keep_text: bool,
        /// Take only files that this key has signed: beside FILE lies FILE.dsse.json. May be given more than once
        #[arg(long, value_name = "PEM")]
        gateway_key: Vec<PathBuf>,
    },
    /// Set the list of the enrolled: a CSV of device,consented,left
    Enrol {
        #[command(flatten)]
        at: At,
        /// The list; it replaces the one before
        list: PathBuf,
    },
    /// Delete all that is known of a device, and refuse what will come of it
    Forget {
        #[command(flatten)]
        at: At,
        /// The device's id
        device: String,
    },
    /// Judge the telemetry up to a day: advance (0), hold (102) or halt (100)
    ///
    /// Writes a signed decision into the chain. A halt halts the channels at once.
    #[command(
        after_help = "Examples:\n  plimsoll rollout decide\n  plimsoll rollout decide --outcomes outcomes.parquet"
    )]
    Decide {
        #[command(flatten)]
        at: At,
        /// Device outcomes that another engine wrote by outcomes.sql: a Parquet file or a folder of them
        #[arg(long, value_name = "PATH")]
        outcomes: Option<PathBuf>,
        /// Judge, and write and move nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Judge a release that has reached everybody; an alarm halts it and opens a problem record
    Watch {
        #[command(flatten)]
        at: At,
    },
    /// Where the rollout is, on one screen
    Status {
        #[command(flatten)]
        at: At,
        /// Write a page with the course of each metric
        #[arg(long, value_name = "FILE")]
        html: Option<PathBuf>,
        /// Show it again every so many seconds
        #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "30")]
        watch: Option<u64>,
    },
    /// Move the release to the next stage, on a judgement that lets it
    Advance {
        #[command(flatten)]
        act: Act,
    },
    /// Move the release one stage on where evidence cannot say it: a person decides
    Resolve {
        #[command(flatten)]
        act: Reasoned,
    },
    /// Halt the release: devices go back to the one before
    Halt {
        #[command(flatten)]
        act: Reasoned,
    },
    /// Go on with a halted release, where it was
    Resume {
        #[command(flatten)]
        act: Reasoned,
    },
    /// Give a halted release up: the channels go back to the one before
    Rollback {
        #[command(flatten)]
        act: Reasoned,
    },
    /// Past telemetry through a policy: when it would have halted, how many devices it would have spared
    ///
    /// 98 where the frozen policy says anything else of the same telemetry; 102 where some of that is no longer there.
    Replay {
        #[command(flatten)]
        at: At,
        /// The policy [default: the frozen one, which must give every decision again]
        #[arg(long, value_name = "TOML")]
        policy: Option<PathBuf>,
        /// Outcomes that a judgement was given by `decide --outcomes`. May be given more than once
        #[arg(long, value_name = "PATH")]
        outcomes: Vec<PathBuf>,
    },
    /// Rehearse a policy: play rollouts of fleets that do not exist
    #[command(
        after_help = "Example:\n  plimsoll rollout simulate docs/examples/policy.toml --harm over-budget=1pp --runs 100"
    )]
    Simulate {
        /// The policy, with a [plan]
        policy: PathBuf,
        /// Harm of the release, as over-budget=1pp, rating=0.3 or crash-loops=1%; none for a harmless one. May be given more than once
        #[arg(long, value_name = "WHAT=AMOUNT", value_parser = harm)]
        harm: Vec<(Harmed, f64)>,
        /// Rollouts to play
        #[arg(long, default_value_t = 100)]
        runs: u64,
    },
    /// Print the SQL that makes device outcomes of device-days, for an engine that holds a large fleet
    Sql,
}

fn day(text: &str) -> Result<Day, String> {
    Day::parse(text).ok_or_else(|| "a day is written as 2026-11-30".into())
}

/// What a release that is played does harm to.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Harmed {
    Metric(RolloutMetric),
    CrashLoops,
    SignatureFailures,
}

impl Harmed {
    fn all() -> impl Iterator<Item = (&'static str, Self)> {
        let metrics = RolloutMetric::ALL.iter().map(|m| (m.name(), Self::Metric(*m)));
        metrics.chain([("crash-loops", Self::CrashLoops), ("signature-failures", Self::SignatureFailures)])
    }
}

fn harm(text: &str) -> Result<(Harmed, f64), String> {
    let (name, amount) = text.split_once('=').ok_or("write WHAT=AMOUNT, such as over-budget=1pp")?;
    let known = || Harmed::all().map(|(name, _)| name).collect::<Vec<_>>().join(", ");
    let found = Harmed::all().find(|(n, _)| *n == name);
    let (_, harmed) = found.ok_or_else(|| format!("`{name}` is none of {}", known()))?;
    let (number, scale) = match amount.strip_suffix("pp").or_else(|| amount.strip_suffix('%')) {
        Some(points) => (points, 0.01),
        None => (amount, 1.0),
    };
    let number: f64 = number.trim().parse().map_err(|_| format!("`{amount}` is no amount"))?;
    if (0.0..=5.0).contains(&(number * scale)) {
        Ok((harmed, number * scale))
    } else {
        Err("harm lies between 0 and 5".into())
    }
}
