//! Evidence: figures that somebody else took and signed, and who did.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Figure;

/// Where a figure that was not taken in this run comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EvidenceSource {
    /// The file, as named on the command line.
    pub file: String,
    /// Key that signed it: SHA-256 of its SPKI PEM text.
    pub signer: String,
}

/// A figure that was taken over.
#[derive(Debug, Clone, PartialEq)]
pub struct TakenOver {
    /// The figure.
    pub figure: Figure,
    /// Where it comes from.
    pub source: EvidenceSource,
}
