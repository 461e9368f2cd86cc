//! Halt files: one key is enough to stop a channel, and stops nothing but the state that it names.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{ChannelPointer, PointerState, names::is_digest};

/// Longest reason that a halt carries.
const LONGEST_REASON: usize = 2_000;

/// `halt.<channel>.json`. While the channel's pointer has this epoch, devices treat it as halted: they go back to the fallback
/// that the pointer itself names, so that whoever halts cannot choose where devices go. The next epoch, which takes the channel's
/// own keys, ends the halt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Halt {
    /// `plimsoll.halt/1`.
    pub schema: String,
    /// Name of the release channel.
    pub channel: String,
    /// Signed with trial keys: production clients refuse it.
    pub trial: bool,
    /// Epoch of the pointer that is halted.
    pub epoch: u64,
    /// Why.
    pub reason: String,
    /// When, in UTC (RFC 3339).
    pub utc: String,
    /// SHA-256 of the decision behind it; `null` for a person's own.
    pub decision_sha256: Option<String>,
}

impl Halt {
    /// The schema's name.
    pub const SCHEMA: &'static str = "plimsoll.halt/1";

    /// Why clients refuse it as the halt of a channel.
    pub fn check(&self, channel: &str) -> Result<(), String> {
        if self.schema != Self::SCHEMA {
            return Err(format!("its schema is `{}`", self.schema.escape_default()));
        }
        if self.channel != channel {
            return Err(format!("it halts the channel `{}`", self.channel.escape_default()));
        }
        if self.reason.len() > LONGEST_REASON {
            return Err(format!("its reason has {} bytes", self.reason.len()));
        }
        match &self.decision_sha256 {
            Some(digest) if !is_digest(digest) => Err("its decision is no SHA-256".into()),
            _ => Ok(()),
        }
    }
}

impl ChannelPointer {
    /// The pointer as devices have to take it, beside the channel's halt file.
    pub fn under(mut self, halt: Option<&Halt>) -> Self {
        if halt.is_some_and(|h| h.channel == self.channel && h.trial == self.trial && h.epoch == self.epoch) {
            self.state = PointerState::Halted;
        }
        self
    }
}
