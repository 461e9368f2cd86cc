//! Evidence: the figures that `bench` and `evaluate` write, signed by whoever took them, so that a gate need not measure again.
//!
//! A DSSE envelope with a payload type of its own: no signature under a release, an attestation or a channel can pass for one
//! under figures, nor the other way round. What the figures mean is the gate's to say.

use std::path::Path;

use plimsoll_record::{EvidenceSource, Figure, Figures, FiguresError, TakenOver};
use plimsoll_trust::{
    KeySource, PublicKey, ReadError,
    dsse::{DsseError, Envelope},
    read_bounded, to_sorted_json,
};

use crate::ReleaseError;

/// Payload type of the envelope.
pub const FIGURES_TYPE: &str = "application/vnd.plimsoll.figures+json";
/// No document of figures is longer.
const LIMIT: u64 = 16 << 20;

/// Why evidence is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EvidenceError {
    /// The file could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Figures that nobody vouches for.
    #[error("{file} is not signed")]
    Unsigned {
        /// The file.
        file: String,
    },
    /// Nobody is trusted.
    #[error("{file} is signed, but no key is trusted to sign evidence")]
    NoKey {
        /// The file.
        file: String,
    },
    /// Neither an envelope nor figures.
    #[error("{file}: {source}")]
    Envelope {
        /// The file.
        file: String,
        /// Why.
        source: DsseError,
    },
    /// Signed by a key that is not trusted.
    #[error("{file} is signed by the key {signer}, which is not trusted here ({})", trusted.join(", "))]
    Stranger {
        /// The file.
        file: String,
        /// The key that it names.
        signer: String,
        /// The keys that are trusted.
        trusted: Vec<String>,
    },
    /// The signature is not over these bytes.
    #[error("{file} is not what the key {signer} has signed")]
    Changed {
        /// The file.
        file: String,
        /// The key that it names.
        signer: String,
    },
    /// What was signed is no document of figures.
    #[error("{file}: {source}")]
    Document {
        /// The file.
        file: String,
        /// Why.
        source: FiguresError,
    },
    /// A figure is of something else than what is judged.
    #[error("{0}")]
    Other(Box<Mismatch>),
}

/// A figure is of something else than what is judged.
#[derive(Debug, thiserror::Error)]
#[error("{file}: the figure `{metric}` is {relation} {found}; {judged} is {expected}")]
pub struct Mismatch {
    /// The file.
    pub file: String,
    /// The figure.
    pub metric: String,
    /// What the digest in it stands for, in words.
    pub relation: &'static str,
    /// Digest in the figure.
    pub found: String,
    /// What it was held against, in words.
    pub judged: &'static str,
    /// Digest of that.
    pub expected: String,
}

impl EvidenceError {
    /// What the user can do about it.
    pub fn help(&self) -> Option<String> {
        Some(match self {
            Self::Read(e) => return e.help(),
            Self::Unsigned { .. } => {
                "sign figures where they are taken: `plimsoll bench MODEL --sign KEY -o FILE`, or `evaluate` with the same options"
                    .into()
            }
            Self::NoKey { .. } => "name the public key of who measured: --evidence-key PEM".into(),
            Self::Envelope { .. } | Self::Changed { .. } => {
                "copy the file again from where it was written; after a change it must be measured and signed anew".into()
            }
            Self::Stranger { .. } => {
                "if you trust whoever holds that key, give its public half with --evidence-key; else have it measured by somebody you trust".into()
            }
            Self::Document { source: FiguresError::Schema { .. }, .. } => {
                "the file was written by another version of plimsoll: measure with this one".into()
            }
            Self::Document { .. } => "measure again: `bench` and `evaluate` write whole figures".into(),
            Self::Other(_) => "measure this model, on these data, against this baseline; or leave the file out".into(),
        })
    }
}

/// What figures must be of.
#[derive(Debug, Clone, Copy, Default)]
pub struct Judged<'j> {
    /// Digest of the model that is judged.
    pub model_digest: &'j str,
    /// Digest of the baseline, where there is one.
    pub baseline_digest: Option<&'j str>,
    /// Digest of the data, where there are any.
    pub data_digest: Option<&'j str>,
}

/// Figures whose signature has been verified.
#[derive(Debug, Clone)]
pub struct SignedFigures {
    source: EvidenceSource,
    figures: Figures,
}

/// Signs a document of figures. The same figures and key give the same bytes.
pub fn sign_figures(figures: &Figures, key: &dyn KeySource) -> Result<Vec<u8>, ReleaseError> {
    let encode = |source| ReleaseError::Encode { what: "the figures".into(), source };
    let payload = to_sorted_json(figures).map_err(encode)?;
    let envelope = Envelope::sign(FIGURES_TYPE, &payload, &[key])?;
    to_sorted_json(&envelope).map_err(encode)
}

/// Reads evidence that one of the keys has signed.
pub fn read_evidence(path: &Path, keys: &[PublicKey]) -> Result<SignedFigures, EvidenceError> {
    let bytes = read_bounded(path, LIMIT)?;
    let file = path.display().to_string();
    let envelope = match Envelope::from_json(&bytes) {
        Ok(envelope) => envelope,
        Err(_) if is_plain(&bytes) => return Err(EvidenceError::Unsigned { file }),
        Err(source) => return Err(EvidenceError::Envelope { file, source }),
    };
    let Some(first) = envelope.signatures.first() else { return Err(EvidenceError::Unsigned { file }) };
    if keys.is_empty() {
        return Err(EvidenceError::NoKey { file });
    }
    let open = |key: &PublicKey| envelope.verify(FIGURES_TYPE, &[key], 1).map(|payload| (key.id(), payload));
    let mut attempts = keys.iter().map(open);
    let opened = attempts.find(|a| !matches!(a, Err(DsseError::Signatures { .. })));
    let (signer, payload) = match opened {
        Some(Ok(opened)) => opened,
        Some(Err(source)) => return Err(EvidenceError::Envelope { file, source }),
        // The key id is a hint: good for telling what went wrong, and for nothing else.
        None => {
            let (signer, trusted): (_, Vec<_>) = (first.keyid.clone(), keys.iter().map(PublicKey::id).collect());
            return Err(if trusted.contains(&signer) {
                EvidenceError::Changed { file, signer }
            } else {
                EvidenceError::Stranger { file, signer, trusted }
            });
        }
    };
    match Figures::from_json(&payload) {
        Ok(figures) => Ok(SignedFigures { source: EvidenceSource { file, signer }, figures }),
        Err(source) => Err(EvidenceError::Document { file, source }),
    }
}

/// Whether it is what `bench --json` prints.
fn is_plain(bytes: &[u8]) -> bool {
    let value: Option<serde_json::Value> = serde_json::from_slice(bytes).ok();
    value.is_some_and(|v| v.get("schema").and_then(|s| s.as_str()).is_some_and(|s| s.starts_with("plimsoll.")))
}

impl SignedFigures {
    /// The measured figures, if all are of what is judged, and what they leave open, as `metric: reason`. Counted figures are left
    /// out: whoever judges counts for himself. So are comparisons where the judge has no baseline to hold theirs against.
    pub fn of(&self, judged: &Judged<'_>) -> Result<(Vec<TakenOver>, Vec<String>), EvidenceError> {
        let file = &self.source.file;
        let mut taken = Vec::new();
        let mut open: Vec<String> = self.figures.withheld.iter().map(|w| format!("{w} ({file})")).collect();
        for figure in self.figures.figures.iter().filter(|f| f.executor != "static") {
            self.check(figure, judged)?;
            if !figure.baseline_digest.is_empty() && judged.baseline_digest.is_none() {
                let (metric, baseline) = (&figure.metric, &figure.baseline_digest);
                open.push(format!("{metric}: {file} compares with the model {baseline}; name it with --baseline"));
                continue;
            }
            taken.push(TakenOver { figure: figure.clone(), source: self.source.clone() });
        }
        Ok((taken, open))
    }

    fn check(&self, figure: &Figure, judged: &Judged<'_>) -> Result<(), EvidenceError> {
        // An empty digest is one of nothing: no data, no baseline. Those that a metric needs are for the gate to ask for.
        let pairs = [
            ("of the model", figure.model_digest.as_str(), "the model judged", Some(judged.model_digest)),
            ("compared with the model", &figure.baseline_digest, "the baseline given", judged.baseline_digest),
            ("of the data", &figure.data_digest, "what was given", judged.data_digest),
        ];
        for (relation, found, judged, expected) in pairs {
            if let Some(expected) = expected.filter(|e| !found.is_empty() && *e != found) {
                return Err(EvidenceError::Other(Box::new(Mismatch {
                    file: self.source.file.clone(),
                    metric: figure.metric.clone(),
                    relation,
                    found: found.into(),
                    judged,
                    expected: expected.into(),
                })));
            }
        }
        Ok(())
    }
}
