//! What whoever takes a release demands of it: the policy of `verify --policy`. Inert: how a release is held against it is decided
//! elsewhere.

use std::{path::Path, sync::Arc};

use crate::{
    error::{ConfigError, Problem},
    metric::Metric,
    reader::{self, FromToml, Table, Value, Wrong, a, unknown},
    source::{Source, Spanned},
    units::Count,
};

/// A verification policy. What it does not name, it does not demand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Demands {
    /// The file.
    pub source: Arc<Source>,
    /// Name of the release.
    pub name: Option<Spanned<String>>,
    /// Whether a release that is marked `trial` is refused.
    pub no_trial: Option<Spanned<bool>>,
    /// Keys of which one must have signed: SHA-256 of their SPKI PEM text, as `verify` prints it.
    pub signers: Option<Spanned<Vec<String>>>,
    /// Git commit that the release must have been built from: at least 12 digits of its name.
    pub commit: Option<Spanned<String>>,
    /// SHA-256 of the model file that the recipe must have started from.
    pub source_model: Option<Spanned<String>>,
    /// Profiles and specs whose gate must have been passed, by name.
    pub gates: Vec<Spanned<String>>,
    /// SHA-256 of texts of profiles or specs by which it must have passed.
    pub policies: Vec<Spanned<String>>,
    /// Whether a release that a waiver let through is refused.
    pub no_waivers: Option<Spanned<bool>>,
    /// Metrics that must have been judged and passed.
    pub budgets: Vec<Spanned<String>>,
    /// Samples that figures on data must at least be taken on.
    pub samples: Option<Spanned<u64>>,
    /// Types of attestations that must be there.
    pub attestations: Vec<Spanned<String>>,
}

/// Hex digits, at least so many and at most so many.
struct Digits<const LEAST: usize, const MOST: usize>(String);

impl<const LEAST: usize, const MOST: usize> FromToml for Digits<LEAST, MOST> {
    fn from_toml(value: &Value<'_>) -> Result<Self, Wrong> {
        let help = if LEAST == MOST {
            format!("write {MOST} hex digits")
        } else {
            format!("write {LEAST} to {MOST} hex digits")
        };
        let text = value.as_str().ok_or_else(|| Wrong::new(format!("this is {}, not text", a(value)), help.clone()))?;
        let text = text.to_ascii_lowercase();
        if !(LEAST..=MOST).contains(&text.len()) || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(Wrong::new("this is no digest of that length", help));
        }
        Ok(Self(text))
    }
}

type Sha256 = Digits<64, 64>;

impl Demands {
    /// Reads a file.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let source = reader::open(path)?;
        reader::read(&source, |table| Some(demands(table, &source)))
    }

    /// Reads a text under the path that it is known by.
    pub fn from_text(path: impl AsRef<Path>, text: &str) -> Result<Self, ConfigError> {
        let source = Arc::new(Source::new(path.as_ref(), text));
        reader::read(&source, |table| Some(demands(table, &source)))
    }
}

/// `false` is what is demanded; `true` demands nothing.
fn not(allowed: Spanned<bool>) -> Spanned<bool> {
    Spanned { value: !allowed.value, span: allowed.span }
}

fn demands(table: &Table<'_>, source: &Arc<Source>) -> Demands {
    table.schema();
    let mut demands = Demands {
        source: Arc::clone(source),
        name: None,
        no_trial: None,
        signers: None,
        commit: None,
        source_model: None,
        gates: vec![],
        policies: vec![],
        no_waivers: None,
        budgets: vec![],
        samples: None,
        attestations: vec![],
    };
    if let Some(t) = table.table("release") {
        demands.name = t.get::<String>("name");
        demands.no_trial = t.get::<bool>("trial").map(not);
        t.finish();
    }
    if let Some(t) = table.table("signers") {
        demands.signers = t.list::<Sha256>("keys").map(|keys| {
            if keys.value.is_empty() {
                t.report(Problem::at(keys.span, "no key is in this list").help("name a key, or remove [signers]"));
            }
            Spanned { value: keys.value.into_iter().map(|k| k.value.0).collect(), span: keys.span }
        });
        if demands.signers.is_none() && t.raw("keys").is_none() {
            t.missing("keys", "the ids of keys, as `verify` prints them");
        }
        t.finish();
    }
    if let Some(t) = table.table("built") {
        let digits = |d: Spanned<Sha256>| Spanned { value: d.value.0, span: d.span };
        demands.commit = t.get::<Digits<12, 64>>("commit").map(|d| Spanned { value: d.value.0, span: d.span });
        demands.source_model = t.get::<Sha256>("source-model").map(digits);
        t.finish();
    }
    if let Some(t) = table.table("gate") {
        demands.gates = t.list::<String>("passed").map(|l| l.value).unwrap_or_default();
        let policies = t.list::<Sha256>("policies").map(|l| l.value).unwrap_or_default();
        demands.policies = policies.into_iter().map(|p| Spanned { value: p.value.0, span: p.span }).collect();
        demands.no_waivers = t.get::<bool>("waivers").map(not);
        t.finish();
    }
    if let Some(t) = table.table("coverage") {
        demands.budgets = t.list::<String>("budgets").map(|l| l.value).unwrap_or_default();
        // Figures of endpoints have names of their own; whether a release has them is for it to show.
        let known: Vec<&str> = Metric::ALL.iter().map(|m| m.name()).collect();
        for budget in
            demands.budgets.iter().filter(|b| !known.contains(&b.value.as_str()) && !b.value.starts_with("endpoint."))
        {
            t.report(unknown(&budget.value, budget.span, "metric", &known));
        }
        demands.samples = t.get::<Count>("samples").map(|c| Spanned { value: c.value.0, span: c.span });
        t.finish();
    }
    if let Some(t) = table.table("attestations") {
        demands.attestations = t.list::<String>("types").map(|l| l.value).unwrap_or_default();
        t.finish();
    }
    demands
}
