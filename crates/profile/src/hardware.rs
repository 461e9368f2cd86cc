//! What a machine is: instruction set, cores, memory, and the stream that a device keeps up with. What is not written is not known.

use crate::{
    error::Problem,
    reader::{self, FromToml, Table, Value, Wrong, one_of},
    server::few,
    units::{Bandwidth, Bytes, Count, Hertz, Joules, Seconds, Watts},
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

struct Isa(&'static str);

impl FromToml for Isa {
    fn from_toml(value: &Value<'_>) -> Result<Self, Wrong> {
        one_of(value, ISA).map(Self)
    }
}

/// Something of multiply-accumulates in each type that they are done in.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ByType {
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
    /// Copies of a model that the flash holds at once: 2 where an update is written beside the version that runs.
    pub slots: Option<u64>,
    /// Clock of a core.
    pub clock: Option<Hertz>,
    /// Multiply-accumulates that one core completes in a cycle at its peak.
    pub macs_per_cycle: ByType,
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

/// What a device draws.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Power {
    /// While it infers, the whole device.
    pub active: Option<Watts>,
    /// While it waits for the next hop, the whole device with what else it does.
    pub idle: Option<Watts>,
    /// Energy of one charge; `None` of a device on mains.
    pub battery: Option<Joules>,
    /// Joules of a multiply-accumulate.
    pub mac: ByType,
    /// Joules of a byte that is moved.
    pub byte: Option<f64>,
}

/// Reads `[hardware]`.
pub(crate) fn hardware(table: &Table<'_>) -> Hardware {
    let isa = table.list::<Isa>("isa").map(|l| l.value).unwrap_or_default();
    let hardware = Hardware {
        cpu: table.get::<String>("cpu").map(|c| c.value),
        isa: isa.into_iter().map(|i| i.value.0.to_owned()).collect(),
        cores: few(table, table.get::<Count>("cores")),
        memory: table.get("memory").map(|v| v.value),
        flash: table.get("flash").map(|v| v.value),
        slots: table.get::<Count>("slots").map(|c| c.value.0),
        clock: table.get("clock").map(|v| v.value),
        macs_per_cycle: by_type(table, "macs-per-cycle", positive),
        memory_bandwidth: table.get("memory-bandwidth").map(|v| v.value),
    };
    table.finish();
    hardware
}

/// Reads `[stream]`.
pub(crate) fn stream(table: &Table<'_>) -> Option<Stream> {
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

/// Reads `[power]`.
pub(crate) fn power(table: &Table<'_>) -> Power {
    let (active, idle) = (table.get::<Watts>("active"), table.get::<Watts>("idle"));
    let joules = |t: &Table<'_>, key| t.get::<Joules>(key).map(|j| j.value.0);
    let mac = by_type(table, "energy-per-mac", joules);
    let byte = table.get::<Joules>("energy-per-byte");
    if let (Some(active), Some(idle)) = (&active, &idle)
        && active.value < idle.value
    {
        let problem = Problem::at(active.span, "inferring takes less power than waiting");
        table.report(problem.help("`active` is what the whole device draws while it infers"));
    }
    if let (Some(byte), true) = (&byte, mac == ByType::default()) {
        let problem = Problem::at(byte.span, "energy of bytes without energy of multiply-accumulates");
        table.report(problem.help("add `energy-per-mac`, such as { f32 = \"4pJ\" }, or remove this"));
    }
    let power = Power {
        active: active.map(|a| a.value),
        idle: idle.map(|i| i.value),
        battery: table.get("battery").map(|b| b.value),
        mac,
        byte: byte.map(|b| b.value.0),
    };
    table.finish();
    power
}

fn by_type(table: &Table<'_>, key: &'static str, read: fn(&Table<'_>, &'static str) -> Option<f64>) -> ByType {
    let Some(inner) = table.table(key) else { return ByType::default() };
    let found = ByType { f32: read(&inner, "f32"), f16: read(&inner, "f16"), i8: read(&inner, "i8") };
    inner.finish();
    found
}

/// A plain number above zero.
pub(crate) fn positive(table: &Table<'_>, key: &'static str) -> Option<f64> {
    table.get::<reader::Number>(key).and_then(|n| {
        if n.value.0 > 0.0 {
            return Some(n.value.0);
        }
        table.report(Problem::at(n.span, "this is not above zero").help("write a number such as 4"));
        None
    })
}
