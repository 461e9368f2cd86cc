//! Channel pointers: small signed files that say which release a channel is at.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::names::{is_digest, is_name, is_version};

const WHOLE: u16 = 10_000;

/// What devices do with a pointer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PointerState {
    /// Devices in the share take the release.
    Active,
    /// Nobody new takes it; who has it keeps it.
    Paused,
    /// Who has it goes back to `previous`.
    Halted,
}

/// A release, by every digest that names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PointedRelease {
    /// Name of the model.
    pub release: String,
    /// Its version.
    pub version: String,
    /// SHA-256 of its manifest.
    pub manifest_sha256: String,
    /// OpenSSF Model Signing root digest of its payload.
    pub release_digest: String,
}

/// `channel.<name>.json`. A client refuses an epoch smaller than one it has seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ChannelPointer {
    /// `plimsoll.channel/1`.
    pub schema: String,
    /// Name of the release channel.
    pub channel: String,
    /// Signed with trial keys: production clients refuse it.
    pub trial: bool,
    /// Grows by one with every change; going back to an older release is a higher epoch, too.
    pub epoch: u64,
    /// The release.
    #[serde(flatten)]
    pub target: PointedRelease,
    /// What the channel was at before, which is what devices fall back on.
    pub previous: Option<PointedRelease>,
    /// Share of devices that take the release, in hundredths of a per cent (0 to 10000).
    pub percent_bp: u16,
    /// Draws devices into the share: first 8 bytes of SHA-256(salt, 0, device id) modulo 10000 is below `percent_bp`.
    pub salt: String,
    /// Share that never takes a release early, to compare with: the highest buckets ([`ChannelPointer::holds_back`]).
    pub holdback_bp: u16,
    /// What devices do.
    pub state: PointerState,
    /// Devices wait until then (RFC 3339); `null` for at once.
    pub not_before: Option<String>,
    /// SHA-256 of the decision that let the release in; `null` where none was asked for.
    pub decision_sha256: Option<String>,
}

impl ChannelPointer {
    /// The schema's name.
    pub const SCHEMA: &'static str = "plimsoll.channel/1";

    /// Whether devices of a bucket (0 to 9999) are the holdback: the last ones, which a growing share reaches last.
    pub fn holds_back(&self, bucket: u16) -> bool {
        bucket >= WHOLE.saturating_sub(self.holdback_bp)
    }

    /// Whether devices of a bucket take the release now, as far as the share decides. The holdback takes it with everybody: at 100 %
    /// only once `holdback_bp` is 0.
    pub fn takes(&self, bucket: u16) -> bool {
        bucket < self.percent_bp && !self.holds_back(bucket)
    }

    /// The bucket of a device, or of whatever else the share draws from (a user of a server): 0 to 9999.
    pub fn bucket(&self, id: &str) -> u16 {
        let digest: [u8; 32] =
            Sha256::new().chain_update(&self.salt).chain_update([0]).chain_update(id).finalize().into();
        let [a, b, c, d, e, f, g, h, ..] = digest;
        (u64::from_be_bytes([a, b, c, d, e, f, g, h]) % u64::from(WHOLE)) as u16
    }

    /// Why clients refuse it as the pointer of a channel.
    pub fn check(&self, channel: &str) -> Result<(), String> {
        if self.schema != Self::SCHEMA {
            return Err(format!("its schema is `{}`", self.schema.escape_default()));
        }
        if self.channel != channel {
            return Err(format!("it is the pointer of the channel `{}`", self.channel.escape_default()));
        }
        if self.percent_bp > WHOLE || self.holdback_bp > WHOLE {
            return Err("it has a share above 100 %".into());
        }
        for target in [Some(&self.target), self.previous.as_ref()].into_iter().flatten() {
            if !is_name(&target.release) {
                return Err(format!("`{}` is no name", target.release.escape_default()));
            }
            if !is_version(&target.version) {
                return Err(format!("`{}` is no version", target.version.escape_default()));
            }
            if !is_digest(&target.manifest_sha256) || !is_digest(&target.release_digest) {
                return Err("it has a digest that is no SHA-256".into());
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pointer(percent_bp: u16, holdback_bp: u16) -> ChannelPointer {
        let digests = PointedRelease {
            release: "m".into(),
            version: "1".into(),
            manifest_sha256: String::new(),
            release_digest: String::new(),
        };
        ChannelPointer {
            schema: ChannelPointer::SCHEMA.into(),
            channel: "general".into(),
            trial: true,
            epoch: 1,
            target: digests,
            previous: None,
            percent_bp,
            salt: "salt".into(),
            holdback_bp,
            state: PointerState::Active,
            not_before: None,
            decision_sha256: None,
        }
    }

    fn check(percent_bp: u16, holdback_bp: u16, bucket: u16) -> (bool, bool) {
        let pointer = pointer(percent_bp, holdback_bp);
        (pointer.takes(bucket), pointer.holds_back(bucket))
    }

    #[test]
    fn buckets_are_those_of_the_specification() {
        // python: int.from_bytes(hashlib.sha256(b"salt\0device-1").digest()[:8], "big") % 10000
        let pointer = pointer(0, 0);
        assert_eq!(["device-1", "device-2", ""].map(|id| pointer.bucket(id)), [7112, 4352, 7940]);
    }

    #[test]
    fn a_growing_share_never_reaches_the_holdback() {
        assert_eq!(check(500, 1_000, 499), (true, false));
        assert_eq!(check(500, 1_000, 500), (false, false));
        assert_eq!(check(10_000, 1_000, 8_999), (true, false));
        assert_eq!(check(10_000, 1_000, 9_000), (false, true));
        assert_eq!(check(10_000, 0, 9_999), (true, false));
        assert_eq!(check(0, 10_000, 0), (false, true));
    }
}
