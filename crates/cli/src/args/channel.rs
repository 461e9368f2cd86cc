//! Arguments of the verbs that keep a repository: channel and audit.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Repository;

#[derive(Debug, Subcommand)]
pub(crate) enum Channel {
    /// What each channel points to, and who may change it
    Status {
        #[command(flatten)]
        at: Repository,
    },
    /// Put a release folder into the beta channel, or let what is there into the general one
    Publish {
        #[command(flatten)]
        at: Repository,
        /// Release folder to put into the beta channel, signed by the key `signing`
        #[arg(long, value_name = "DIR", conflicts_with_all = ["release", "decision"])]
        from: Option<PathBuf>,
        /// The release's version [default: the one in the beta channel]
        #[arg(long, value_name = "VERSION")]
        release: Option<String>,
        /// The channel to let it into
        #[arg(long, value_parser = ["beta", "general"])]
        channel: String,
        /// Share of devices that take it, in per cent
        #[arg(long, value_name = "PERCENT", default_value_t = 100.0)]
        percent: f64,
        /// Verification summary that lets it in: of a gate, as in the release's attestations/, or of a rollout. Production demands one
        #[arg(long, value_name = "DSSE")]
        decision: Option<PathBuf>,
        #[command(flatten)]
        actor: Actor,
        /// Say what would happen and change nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Make a repository for production: its roles, their keys, and who holds them
    Init {
        /// Where to make it: a folder, or s3://BUCKET/PREFIX
        #[arg(long, value_name = "DIR|URL")]
        repository: PathBuf,
        /// Folder of the keys: NAME.pem private ones, of every role as many as its threshold; NAME.pub.pem public halves of the others
        #[arg(long, value_name = "DIR")]
        keys: PathBuf,
        /// Draw the keys that are not there
        #[arg(long)]
        draw_keys: bool,
        /// Who holds a key; once a key
        #[arg(long = "holder", value_name = "KEY=PERSON", value_parser = pair)]
        holders: Vec<(String, String)>,
        /// Say who would hold what and make nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Give the release that a channel is at to another share of devices
    Advance {
        #[command(flatten)]
        at: Repository,
        /// The channel
        #[arg(long, value_parser = ["beta", "general"])]
        channel: String,
        /// Share of devices that take it, in per cent
        #[arg(long, value_name = "PERCENT")]
        percent: f64,
        /// Verification summary that lets more devices have it [default: the one that let it into the channel]
        #[arg(long, value_name = "DSSE")]
        decision: Option<PathBuf>,
        #[command(flatten)]
        actor: Actor,
    },
    /// Halt a channel, by any one key that may: devices go back to the release before
    Halt {
        #[command(flatten)]
        at: Repository,
        /// The channel
        #[arg(long, value_parser = ["beta", "general"])]
        channel: String,
        #[command(flatten)]
        actor: Actor,
    },
    /// Go on with the release that a channel was halted at
    Resume {
        #[command(flatten)]
        at: Repository,
        /// The channel
        #[arg(long, value_parser = ["beta", "general"])]
        channel: String,
        #[command(flatten)]
        actor: Actor,
    },
    /// Point a channel at the release before, for every device
    Rollback {
        #[command(flatten)]
        at: Repository,
        /// The channel
        #[arg(long, value_parser = ["beta", "general"])]
        channel: String,
        #[command(flatten)]
        actor: Actor,
    },
    /// Put another key in the place of one; clients that hold the first root follow
    RotateKey {
        #[command(flatten)]
        at: Repository,
        /// Name or id of the old key
        #[arg(long, value_name = "KEY")]
        key: String,
        /// PEM file of the new key, private or public; its name becomes the key's
        #[arg(long, value_name = "PEM")]
        new: PathBuf,
        /// Who holds the new key
        #[arg(long, value_name = "PERSON", default_value = "")]
        holder: String,
        /// The role to change [default: every role that lists the key]
        #[arg(long)]
        role: Option<String>,
        #[command(flatten)]
        actor: Actor,
    },
    /// Take a key away from its roles; what it signed is signed anew by the others
    Revoke {
        #[command(flatten)]
        at: Repository,
        /// Name or id of the key
        #[arg(long, value_name = "KEY")]
        key: String,
        /// The role to change [default: every role that lists the key]
        #[arg(long)]
        role: Option<String>,
        #[command(flatten)]
        actor: Actor,
    },
    /// Sign anew what is about to expire: for a clock to call, once a day
    Refresh {
        #[command(flatten)]
        at: Repository,
        /// Say what would happen and change nothing
        #[arg(long)]
        dry_run: bool,
    },
}

/// Who changes a repository.
#[derive(Debug, Args)]
pub(crate) struct Actor {
    /// Who you are, for the audit log [default: the user's name as the environment has it]
    #[arg(long, value_name = "NAME")]
    pub(crate) person: Option<String>,
    /// Why, for the audit log
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub(crate) reason: String,
}

/// What to do with the audit log.
#[derive(Debug, Subcommand)]
pub(crate) enum Audit {
    /// Hold every line against the one before, and the last one against the repository
    Verify {
        #[command(flatten)]
        at: Repository,
        /// Trusted root metadata of the repository [default: its own first root]
        #[arg(long, value_name = "JSON")]
        root: Option<PathBuf>,
    },
    /// Print the lines of a log that verifies, as JSON Lines
    Export {
        #[command(flatten)]
        at: Repository,
        /// Trusted root metadata of the repository [default: its own first root]
        #[arg(long, value_name = "JSON")]
        root: Option<PathBuf>,
    },
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, person)) if !key.is_empty() && !person.is_empty() => Ok((key.into(), person.into())),
        _ => Err("write KEY=PERSON".into()),
    }
}
