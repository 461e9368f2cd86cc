//! A server or a device: what its hardware is, where models run on it, and what they may cost.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    budget::{self, Budgets},
    error::{ConfigError, Problem},
    extends,
    metric::Metric,
    reader::{self, FromToml, Table, Value, Wrong, one_of},
    source::{Source, Span, Spanned},
    units::{Bandwidth, Bytes, Count, Hertz, Price, Seconds, Share},
};

/// Instruction-set extensions that machines are told apart by; the names that figures carry.
const ISA: &[(&str, &str)] = &[
    ("avx2", "avx2"),
    ("fma", "fma"),
    ("avx512f", "avx512f"),
    ("avx512vnni", "avx512vnni"),
    ("avxvnni", "avxvnni"),
    ("neon", "neon"),
    ("dotprod", "dotprod"),
    ("i8mm", "i8mm"),
    ("sve", "sve"),
];

/// What the profile describes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Something in the field.
    Device,
    /// Something in a data centre.
    Server,
}

impl FromToml for Kind {
    fn from_toml(value: &Value<'_>) -> Result<Self, Wrong> {
        one_of(value, &[("device", Self::Device), ("server", Self::Server)])
    }
}

/// What runs the models.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExecutorName {
    /// `tract`.
    Tract,
    /// `onnxruntime`.
    OnnxRuntime,
}

impl ExecutorName {
    /// As figures name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tract => "tract",
            Self::OnnxRuntime => "onnxruntime",
        }
    }
}

impl FromToml for ExecutorName {
    fn from_toml(value: &Value<'_>) -> Result<Self, Wrong> {
        one_of(value, &[("tract", Self::Tract), ("onnxruntime", Self::OnnxRuntime)])
    }
}

struct Isa(&'static str);

impl FromToml for Isa {
    fn from_toml(value: &Value<'_>) -> Result<Self, Wrong> {
        one_of(value, ISA).map(Self)
    }
}

/// Multiply-accumulates that one core completes in a cycle at its peak.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct MacsPerCycle {
    /// In 32-bit floats.
    pub f32: Option<f64>,
    /// In 16-bit floats.
    pub f16: Option<f64>,
    /// In 8-bit integers.
    pub i8: Option<f64>,
}

/// Facts about the hardware. What is not written is not known.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Hardware {
    /// Pattern of the CPU's name as the operating system tells it; `*` stands for anything.
    pub cpu: Option<String>,
    /// Instruction-set extensions that every machine of this kind has.
    pub isa: Vec<String>,
    /// Cores that a model may use.
    pub cores: Option<u64>,
    /// Main memory in bytes.
    pub memory: Option<Bytes>,
    /// Flash or disk for models, in bytes.
    pub flash: Option<Bytes>,
    /// Clock of a core.
    pub clock: Option<Hertz>,
    /// Peak of one core.
    pub macs_per_cycle: MacsPerCycle,
    /// Bandwidth to main memory.
    pub memory_bandwidth: Option<Bandwidth>,
}

/// A stream that the model keeps up with: one inference a hop.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stream {
    /// Time that one inference looks at.
    pub window: Seconds,
    /// Time from one inference to the next.
    pub hop: Seconds,
}

/// What a server has to carry and costs. Descriptive so far: no budget is judged by it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Server {
    /// Inferences a day, all clients together.
    pub inferences_per_day: Option<Count>,
    /// The busiest second over the mean one.
    pub peak_to_mean: Option<f64>,
    /// Share of an instance's time that may be used.
    pub utilization: Option<Share>,
    /// Instances that run today.
    pub instances: Option<Count>,
    /// Price of one instance.
    pub price: Option<Price>,
}

/// A server or a device.
#[derive(Debug, Clone, PartialEq)]
pub struct Profile {
    /// The file.
    pub source: Arc<Source>,
    /// Its `name`, or the file's name.
    pub name: String,
    /// What it describes.
    pub kind: Kind,
    /// What runs the models.
    pub executor: ExecutorName,
    /// Facts.
    pub hardware: Hardware,
    /// Real time, where it matters.
    pub stream: Option<Stream>,
    /// Load and price of a server.
    pub server: Option<Server>,
    /// What a model may cost.
    pub budgets: Budgets,
}

impl Profile {
    /// Reads a file and those that it extends.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        Self::from_text(path, reader::open(path)?.text())
    }

    /// Reads a text under the path that it is known by; what it extends is read from the file system.
    pub fn from_text(path: impl AsRef<Path>, text: &str) -> Result<Self, ConfigError> {
        Self::from_text_among(path, text, &extends::read_text)
    }

    /// Reads a text under the path that it is known by, and the texts of the files that it extends from wherever `load` finds them; it
    /// says why it finds none.
    pub fn from_text_among(
        path: impl AsRef<Path>,
        text: &str,
        load: &dyn Fn(&Path) -> Result<String, String>,
    ) -> Result<Self, ConfigError> {
        let (source, problems) = extends::follow(Source::new(path.as_ref(), text), load);
        reader::read_layers(&source, problems, |table, layers| profile(table, layers, &source))
    }

    /// The files that a profile extends, the nearest first, as far as they can be read.
    pub fn extended(path: &Path) -> Vec<PathBuf> {
        extends::paths(path, &extends::read_text)
    }
}

fn profile(table: &Table<'_>, layers: &[Table<'_>], source: &Arc<Source>) -> Option<Profile> {
    table.schema();
    // Followed already.
    table.raw("extends");
    let stem = source.path().file_stem().map_or_else(|| "profile".into(), |s| s.to_string_lossy().into_owned());
    let name = table.get::<String>("name").map_or(stem, |n| n.value);
    let kind = table.need::<Kind>("kind", "write `kind = \"device\"` or `kind = \"server\"`");
    let executor =
        table.need::<ExecutorName>("executor", "write `executor = \"tract\"` or \"onnxruntime\": what runs the models");
    let hardware = table.table("hardware").map(|t| hardware(&t)).unwrap_or_default();
    let stream_table = table.table("stream");
    let stream = stream_table.as_ref().and_then(stream);
    let server_table = table.table("server");
    let server = server_table.as_ref().map(server);
    table.raw("budget");
    let budgets = budget::inherited(layers, "budget", Metric::ALL, source);
    if let (Some(Spanned { value: Kind::Device, span }), Some(_)) = (&kind, &server_table) {
        table.report(
            Problem::at(*span, "a device has no `server` table").help("write `kind = \"server\"` or remove [server]"),
        );
    }
    let limit_of = |metric: Metric| {
        let budget = budgets.iter().find(|b| b.metric == metric)?;
        Some(budget.limits.first().map_or_else(Span::default, |l| l.span))
    };
    if let (Some(span), None) = (limit_of(Metric::RealTimeFactor), &stream_table) {
        table.report(
            Problem::at(span, "a real-time factor needs the stream's hop").help("add [stream] with `window` and `hop`"),
        );
    }
    if let Some(span) = limit_of(Metric::LatencyEstimate) {
        let facts = [
            ("clock", hardware.clock.is_some()),
            ("macs-per-cycle.f32", hardware.macs_per_cycle.f32.is_some()),
            ("memory-bandwidth", hardware.memory_bandwidth.is_some()),
        ];
        let absent: Vec<&str> = facts.iter().filter(|(_, there)| !there).map(|(name, _)| *name).collect();
        if !absent.is_empty() {
            let problem = Problem::at(span, "an estimate of latency needs facts about the hardware");
            table.report(problem.help(format!("add to [hardware]: {}", absent.join(", "))));
        }
    }
    Some(Profile {
        name,
        kind: kind?.value,
        executor: executor?.value,
        hardware,
        stream,
        server,
        budgets: Budgets { source: Arc::clone(source), budgets },
        source: Arc::clone(source),
    })
}

fn hardware(table: &Table<'_>) -> Hardware {
    let macs_per_cycle = table.table("macs-per-cycle").map(|t| {
        let one = |key| positive(&t, key);
        let macs = MacsPerCycle { f32: one("f32"), f16: one("f16"), i8: one("i8") };
        t.finish();
        macs
    });
    let isa = table.list::<Isa>("isa").map(|l| l.value).unwrap_or_default();
    let hardware = Hardware {
        cpu: table.get::<String>("cpu").map(|c| c.value),
        isa: isa.into_iter().map(|i| i.value.0.to_owned()).collect(),
        cores: table.get::<Count>("cores").map(|c| c.value.0),
        memory: table.get("memory").map(|v| v.value),
        flash: table.get("flash").map(|v| v.value),
        clock: table.get("clock").map(|v| v.value),
        macs_per_cycle: macs_per_cycle.unwrap_or_default(),
        memory_bandwidth: table.get("memory-bandwidth").map(|v| v.value),
    };
    table.finish();
    hardware
}

fn stream(table: &Table<'_>) -> Option<Stream> {
    let window = table.need::<Seconds>("window", "the time that one inference looks at, such as \"750s\"");
    let hop = table.need::<Seconds>("hop", "the time from one inference to the next, such as \"30s\"");
    table.finish();
    let (window, hop) = (window?, hop?);
    if hop.value > window.value {
        let problem =
            Problem::at(hop.span, "the hop is longer than the window: part of the stream would never be seen");
        table.report(problem.help("make `hop` at most as long as `window`"));
    }
    Some(Stream { window: window.value, hop: hop.value })
}

fn server(table: &Table<'_>) -> Server {
    let peak_to_mean = positive(table, "peak-to-mean");
    let server = Server {
        inferences_per_day: table.get("inferences-per-day").map(|v| v.value),
        peak_to_mean,
        utilization: table.get("utilization").map(|v| v.value),
        instances: table.get("instances").map(|v| v.value),
        price: table.get("price").map(|v| v.value),
    };
    table.finish();
    server
}

/// A plain number above zero.
fn positive(table: &Table<'_>, key: &'static str) -> Option<f64> {
    table.get::<reader::Number>(key).and_then(|n| {
        if n.value.0 > 0.0 {
            return Some(n.value.0);
        }
        table.report(Problem::at(n.span, "this is not above zero").help("write a number such as 4"));
        None
    })
}
