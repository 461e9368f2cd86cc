//! A device as its agent sees it: who it is, where its model comes from, what it may cost there, when it may be swapped. Inert: the
//! agent decides.

use std::{path::Path, sync::Arc};

use crate::{
    day::Day,
    error::{ConfigError, Problem},
    reader::{self, FromToml, Name, Table, Value, Wrong, a, one_of},
    source::{Source, Spanned},
    spec::{PathAt, resolve},
    units::{Bytes, Count, Joules, Seconds, Share, Watts},
};

/// A pseudonym: what telemetry and enrolment lists name a device by.
struct Pseudonym(String);

impl FromToml for Pseudonym {
    fn from_toml(value: &Value<'_>) -> Result<Self, Wrong> {
        let text = String::from_toml(value)?;
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
        if !text.is_empty() && text.len() <= 64 && text.bytes().all(plain) {
            return Ok(Self(text));
        }
        let help = "up to 64 letters, digits, `-`, `_`, `.`, drawn at random: no name, no serial number";
        Err(Wrong::new("this is no pseudonym", help))
    }
}

/// Minutes after midnight, UTC: `"22:30"`.
struct TimeOfDay(u16);

impl FromToml for TimeOfDay {
    fn from_toml(value: &Value<'_>) -> Result<Self, Wrong> {
        let wrong = || Wrong::new(format!("this is {}, no time of day", a(value)), "write \"22:30\", in UTC");
        let text = value.as_str().ok_or_else(wrong)?;
        let (hours, minutes) = text.split_once(':').ok_or_else(wrong)?;
        let number = |t: &str, below: u16| {
            let plain = t.len() == 2 && t.bytes().all(|b| b.is_ascii_digit());
            t.parse::<u16>().ok().filter(|n| plain && *n < below)
        };
        match (number(hours, 24), number(minutes, 60)) {
            (Some(hours), Some(minutes)) => Ok(Self(hours * 60 + minutes)),
            _ => Err(wrong()),
        }
    }
}

/// A device, or a server that routes between two releases.
#[derive(Debug, Clone, PartialEq)]
pub struct DeviceSpec {
    /// The file.
    pub source: Arc<Source>,
    /// Its pseudonym.
    pub id: String,
    /// The agent's own folder.
    pub state: PathAt,
    /// Where the repository lies: mounted, mirrored, brought on a stick, or on a server at `https://…`.
    pub repository: PathAt,
    /// Root metadata that were put on the device when it was made.
    pub root: PathAt,
    /// The model that it runs; a repository that carries another is refused.
    pub name: String,
    /// Follows the beta channel as long as the enrolment list names it.
    pub beta: bool,
    /// Who has enrolled for the beta.
    pub enrolment: Option<PathAt>,
    /// Takes releases that are marked `trial`.
    pub trial: bool,
    /// What the pipeline on the device feeds the model.
    pub contract: Option<PathAt>,
    /// Bytes that both slots may hold together.
    pub flash: Option<Bytes>,
    /// Bytes that the process running the model may hold resident.
    pub memory: Option<Bytes>,
    /// An inference that takes longer is counted as over budget.
    pub latency: Option<Seconds>,
    /// What it draws while it infers.
    pub power: Option<Watts>,
    /// Share of the inferences that the previous release makes, too.
    pub shadow: f64,
    /// Energy that these may take in a day; needs `power`.
    pub shadow_energy: Option<Joules>,
    /// Crashes in a row, without `healthy` inferences in between, after which it goes back.
    pub crashes: u64,
    /// Inferences after which a release is healthy.
    pub healthy: u64,
    /// Command of the shell that ends with 0 when the model may be swapped.
    pub ready: Option<String>,
    /// Minutes of the day, UTC, from and to: no swap in between.
    pub quiet_hours: Option<[u16; 2]>,
    /// Keeps both releases of the channel ready, and draws each request's release by its key.
    pub routes: bool,
}

impl DeviceSpec {
    /// Reads a file.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        Self::from_source(reader::open(path)?)
    }

    /// Reads a text under the path that it is known by.
    pub fn from_text(path: impl AsRef<Path>, text: &str) -> Result<Self, ConfigError> {
        Self::from_source(Arc::new(Source::new(path.as_ref(), text)))
    }

    fn from_source(source: Arc<Source>) -> Result<Self, ConfigError> {
        reader::read(&source, |table| device(table, &source))
    }

    /// Whether a minute of the day lies in the quiet hours.
    pub fn is_quiet(&self, minute: u16) -> bool {
        match self.quiet_hours {
            Some([from, to]) if from < to => (from..to).contains(&minute),
            Some([from, to]) => minute >= from || minute < to,
            None => false,
        }
    }
}

/// A folder beside the file, or an address as it is written.
fn repository_at(source: &Source, written: Spanned<String>) -> PathAt {
    if written.value.contains("://") {
        return PathAt { path: (&written.value).into(), span: written.span, written: written.value };
    }
    resolve(source, written)
}

fn device(table: &Table<'_>, source: &Arc<Source>) -> Option<DeviceSpec> {
    table.schema();
    let path = |at: &Spanned<String>| resolve(source, at.clone());
    let contract = table.get::<String>("contract").map(|c| path(&c));
    let of_device = table.need_table("device", "write [device] with `id` and `state`");
    let (id, state, routes) = of_device.map_or((None, None, false), |t| {
        let id = t.need::<Pseudonym>("id", "a pseudonym such as \"9f2c41d07be8\", drawn at random");
        let state = t.need::<String>("state", "a folder of the agent's own, such as \"state\"");
        let routes = t.get::<bool>("routes").is_some_and(|r| r.value);
        t.finish();
        (id, state, routes)
    });
    let channel = table.need_table("channel", "write [channel] with `repository`, `root` and `name`")?;
    let repository = channel.need::<String>(
        "repository",
        "the folder that the repository is mounted or mirrored to, or its address: https://…",
    );
    let root = channel.need::<String>("root", "the trusted root metadata, such as \"root.json\"");
    let name = channel.need::<Name>("name", "the name of the model, as it is released");
    let beta = channel.get::<Follows>("follow");
    let enrolment = channel.get::<String>("enrolment");
    let trial = channel.get::<bool>("trial").is_some_and(|t| t.value);
    channel.finish();
    if let (Some(follow), None) = (&beta, &enrolment)
        && follow.value.0
    {
        let problem = Problem::at(follow.span, "following beta needs an enrolment list");
        channel.report(problem.help("add `enrolment = \"enrolment.toml\"`, which says who agreed to it, and when"));
    }
    let budget = table.table("budget");
    let [flash, memory] = ["flash", "memory"].map(|key| budget.as_ref().and_then(|t| t.get::<Bytes>(key)));
    let latency = budget.as_ref().and_then(|t| t.get::<Seconds>("latency"));
    budget.inspect(Table::finish);
    let run = table.table("run");
    let shadow = run.as_ref().and_then(|t| t.get::<Share>("shadow"));
    let shadow_energy = run.as_ref().and_then(|t| t.get::<Joules>("shadow-energy"));
    let power = run.as_ref().and_then(|t| t.get::<Watts>("power"));
    let [crashes, healthy] = ["crashes", "healthy"].map(|key| run.as_ref().and_then(|t| t.get::<Count>(key)));
    if let (Some(energy), None, Some(t)) = (&shadow_energy, &power, &run) {
        let problem = Problem::at(energy.span, "energy cannot be told without the power that is drawn");
        t.report(problem.help("add `power`, such as \"1.2W\""));
    }
    run.inspect(Table::finish);
    let install = table.table("install");
    let ready = install.as_ref().and_then(|t| t.get::<String>("ready"));
    let quiet_hours = install.as_ref().and_then(quiet_hours);
    install.inspect(Table::finish);
    Some(DeviceSpec {
        id: id?.value.0,
        state: path(&state?),
        repository: repository_at(source, repository?),
        root: path(&root?),
        name: name?.value.0,
        beta: beta.is_some_and(|b| b.value.0),
        enrolment: enrolment.map(|e| path(&e)),
        trial,
        contract,
        flash: flash.map(|v| v.value),
        memory: memory.map(|v| v.value),
        latency: latency.map(|v| v.value),
        power: power.map(|v| v.value),
        shadow: shadow.map_or(0.0, |s| s.value.0),
        shadow_energy: shadow_energy.map(|v| v.value),
        crashes: crashes.map_or(3, |c| c.value.0),
        healthy: healthy.map_or(100, |c| c.value.0),
        ready: ready.map(|r| r.value),
        quiet_hours,
        routes,
        source: Arc::clone(source),
    })
}

/// Whether it follows beta.
#[derive(Clone, Copy)]
struct Follows(bool);

impl FromToml for Follows {
    fn from_toml(value: &Value<'_>) -> Result<Self, Wrong> {
        one_of(value, &[("general", Self(false)), ("beta", Self(true))])
    }
}

fn quiet_hours(table: &Table<'_>) -> Option<[u16; 2]> {
    let list = table.list::<TimeOfDay>("quiet-hours")?;
    match list.value.as_slice() {
        [from, to] if from.value.0 != to.value.0 => Some([from.value.0, to.value.0]),
        _ => {
            let problem = Problem::at(list.span, "these are no two times of day");
            table.report(problem.help("write quiet-hours = [\"20:00\", \"06:00\"], in UTC"));
            None
        }
    }
}

/// A device whose user agreed to the beta.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enrolled {
    /// Its pseudonym.
    pub device: String,
    /// Day of the consent.
    pub consent: Day,
    /// Day on which it left.
    pub left: Option<Day>,
}

/// Who has enrolled for the beta: a pseudonym and a day each, and nothing else about anybody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enrolment {
    /// Each device once.
    pub devices: Vec<Enrolled>,
}

impl Enrolment {
    /// Reads a file.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        reader::read(&reader::open(path)?, enrolment)
    }

    /// Reads a text under the path that it is known by.
    pub fn from_text(path: impl AsRef<Path>, text: &str) -> Result<Self, ConfigError> {
        reader::read(&Arc::new(Source::new(path.as_ref(), text)), enrolment)
    }

    /// Whether a device takes part on a day.
    pub fn has(&self, device: &str, day: Day) -> bool {
        let takes_part = |e: &Enrolled| e.device == device && e.consent <= day && e.left.is_none_or(|left| day < left);
        self.devices.iter().any(takes_part)
    }
}

fn enrolment(table: &Table<'_>) -> Option<Enrolment> {
    table.schema();
    let mut devices: Vec<Enrolled> = Vec::new();
    for one in table.tables("enrolled") {
        let device = one.need::<Pseudonym>("device", "the device's pseudonym");
        let consent = one.need::<Day>("consent", "the day on which its user agreed, such as \"2026-11-30\"");
        let left = one.get::<Day>("left");
        one.finish();
        let (Some(device), Some(consent)) = (device, consent) else { continue };
        if devices.iter().any(|d| d.device == device.value.0) {
            table.report(Problem::at(device.span, "this device is there twice").help("write each device once"));
        }
        if let Some(left) = &left
            && left.value < consent.value
        {
            table.report(Problem::at(left.span, "it left before it agreed").help("correct one of the days"));
        }
        devices.push(Enrolled { device: device.value.0, consent: consent.value, left: left.map(|l| l.value) });
    }
    Some(Enrolment { devices })
}
