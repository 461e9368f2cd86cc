//! A server or a device: what its hardware is, where models run on it, and what they may cost.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    budget::{self, Budgets},
    error::{ConfigError, Problem},
    extends,
    facts::Facts,
    hardware::{self, Hardware, Power, Stream},
    metric::Metric,
    reader::{self, FromToml, Table, Value, Wrong, one_of},
    server::{self, Server},
    source::{Source, Spanned},
};

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

/// What runs the models, if anything here does.
#[derive(Clone, Copy)]
struct Runs(Option<ExecutorName>);

impl FromToml for Runs {
    fn from_toml(value: &Value<'_>) -> Result<Self, Wrong> {
        let (tract, onnxruntime) = (Some(ExecutorName::Tract), Some(ExecutorName::OnnxRuntime));
        one_of(value, &[("tract", tract), ("onnxruntime", onnxruntime), ("none", None)]).map(Self)
    }
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
    /// What runs the models; `None` where no executor here does: what is counted and estimated is all that can be known.
    pub executor: Option<ExecutorName>,
    /// Facts.
    pub hardware: Hardware,
    /// Real time, where it matters.
    pub stream: Option<Stream>,
    /// What a device draws.
    pub power: Option<Power>,
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
    let executor = table.need::<Runs>(
        "executor",
        "write `executor = \"tract\"` or \"onnxruntime\": what runs the models; \"none\" where neither does",
    );
    let facts = Facts {
        hardware: table.table("hardware").map(|t| hardware::hardware(&t)).unwrap_or_default(),
        stream: table.table("stream").as_ref().and_then(hardware::stream),
        power: table.table("power").map(|t| hardware::power(&t)),
        server: table.table("server").map(|t| server::server(&t)),
    };
    table.raw("budget");
    let mut budgets = budget::inherited(layers, "budget", Metric::ALL, source);
    if kind.as_ref().is_some_and(|k| k.value == Kind::Server) {
        budgets.extend(facts.of_today(source, &budgets));
    }
    budgets.sort_by_key(|b| b.metric.name());
    if let Some(kind) = &kind {
        let (other, is, write) = match kind.value {
            Kind::Device => {
                ("server", "a device has no `server` table", "write `kind = \"server\"` or remove [server]")
            }
            Kind::Server => ("power", "a server has no `power` table", "write `kind = \"device\"` or remove [power]"),
        };
        if table.raw(other).is_some() {
            table.report(Problem::at(kind.span, is).help(write));
        }
    }
    if let (Some(Spanned { value: Runs(None), span }), Some(server)) = (&executor, &facts.server)
        && server.instances.is_some()
    {
        table.report(Problem::at(*span, "a server runs models").help("name the executor that it runs them in"));
    }
    for budget in &budgets {
        let span = budget.limits.first().map(|l| l.span).unwrap_or_default();
        facts.check(table, budget, span, source);
        if executor.as_ref().is_some_and(|e| e.value.0.is_none()) && budget.metric.is_measured() {
            let message = format!("`{}` is measured, and no executor here runs models for this profile", budget.metric);
            table.report(Problem::at(span, message).help(
                "limit what is counted or estimated; margins of accuracy belong into the release spec, which any executor may answer",
            ));
        }
    }
    let Facts { hardware, stream, power, server } = facts;
    Some(Profile {
        name,
        kind: kind?.value,
        executor: executor?.value.0,
        hardware,
        stream,
        power,
        server,
        budgets: Budgets { source: Arc::clone(source), budgets },
        source: Arc::clone(source),
    })
}
