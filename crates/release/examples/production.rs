//! Makes a repository for production in a folder, with keys and two releases in beta and general, for third-party clients to judge
//! and for attacks to be tried on.

use std::{collections::BTreeMap, error::Error, path::PathBuf, time::SystemTime};

use plimsoll_release::{GENERAL, Placement, Promotion, Repository, build};
use plimsoll_trust::dsse::{Envelope, IN_TOTO};
use serde_json::json;

#[path = "../tests/support/mod.rs"]
mod support;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = PathBuf::from(std::env::args_os().nth(1).ok_or("a folder is needed")?);
    let now = SystemTime::now();
    let keeper = Repository::create_in(&folder.join("repository"), &folder.join("keys"), true, &BTreeMap::new(), now)?;
    for version in ["1.0.0", "1.1.0"] {
        let mut input = support::input(version, version.as_bytes());
        input.trial = false;
        let built = build(&input, keeper.signing_key()?, &folder.join("releases"))?;
        keeper.publish(&built.folder, &Placement::default(), now)?;
        // What a gate says of a release, as far as a promotion asks.
        let summary = json!({
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{"name": "payload", "digest": {"sha256": built.release_digest}}],
            "predicateType": "https://slsa.dev/verification_summary/v1",
            "predicate": {
                "policy": {"digest": {"sha256": plimsoll_trust::sha256_hex(&input.spec)}},
                "verificationResult": "PASSED",
                "gate": {"modelDigest": input.model_digest, "sampleDigests": {"test": plimsoll_trust::sha256_hex(b"test")}},
            },
        });
        let envelope = Envelope::sign(IN_TOTO, &serde_json::to_vec(&summary)?, &[keeper.signing_key()?])?;
        let decision = keeper.accept_decision(&built.name, version, &serde_json::to_vec(&envelope)?, now)?;
        let placement = Placement { decision_sha256: Some(decision), ..Placement::default() };
        let promotion = Promotion { name: &built.name, version, channel: GENERAL, placement: &placement };
        keeper.promote(&promotion, now)?;
    }
    Ok(())
}
