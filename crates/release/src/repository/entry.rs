//! How a release gets into the repository, and from beta into general.

use std::{path::Path, time::SystemTime};

use plimsoll_record::{AuditAction, ManifestFile, PointedRelease, ReleaseManifest, ReleaseRecord, Report};
use plimsoll_trust::{oms::FolderManifest, read_bounded, sha256_hex, tuf::Editor};

use super::{Placement, Published, Repository, check_channel, encode, holds, named};
use crate::{
    BETA, PAYLOAD, RECORD, ReleaseError,
    audit::Event,
    catalogue, decision,
    names::{blob, manifest_target},
    roles::{RELEASES, ROLES},
    verify::{VerifyOptions, verify_release},
};

const REPORT: &str = "report.json";
const REPORT_LIMIT: u64 = 16 << 20;
const RECORD_LIMIT: u64 = 1 << 20;
/// No file of a release is longer: it is held in memory while it is put away.
const FILE_LIMIT: u64 = 4 << 30;

/// A release on its way from beta into another channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Promotion<'p> {
    /// Its name.
    pub name: &'p str,
    /// Its version.
    pub version: &'p str,
    /// Where it goes.
    pub channel: &'p str,
    /// Who gets it there.
    pub placement: &'p Placement,
}

impl Repository {
    /// Puts a release folder into the repository, and the beta channel at it. The folder must verify with the signing key.
    pub fn publish(&self, release: &Path, placement: &Placement, now: SystemTime) -> Result<Published, ReleaseError> {
        self.noting(now, || {
            let manifest = self.manifest_of(release)?;
            let name = manifest_target(&manifest.name, &manifest.version);
            let bytes = encode(&name, &manifest)?;
            let target = PointedRelease {
                release: manifest.name.clone(),
                version: manifest.version.clone(),
                manifest_sha256: sha256_hex(&bytes),
                release_digest: manifest.release_digest.clone(),
            };
            let mut editor = Editor::open(self.store.as_ref(), ROLES)?;
            match editor.client().target(&name)? {
                Some(listed) if listed.sha256 != target.manifest_sha256 => {
                    let place = self.folder().into();
                    return Err(ReleaseError::Taken { name: target.release, version: target.version, place });
                }
                Some(_) => {}
                None => editor.set_target(RELEASES, &name, bytes)?,
            }
            let next = self.next(editor.client(), BETA, target, placement)?;
            // Content first: whoever sees the manifest finds what it lists.
            for file in &manifest.files {
                put_blob(&editor, release, file)?;
            }
            let (pointer, moved) = &next;
            let mut events = vec![];
            if *moved {
                let what = format!("{} enters the {BETA} channel at epoch {}", named(&pointer.target), pointer.epoch);
                events.push(Event::new(AuditAction::Publish, what));
                events.extend(waivers(release)?);
            }
            self.point(editor, next, &events, now)
        })
    }

    /// What a repository lists of a release folder, which must verify and be of its kind.
    fn manifest_of(&self, release: &Path) -> Result<ReleaseManifest, ReleaseError> {
        let signing = self.signing_key()?.public_key();
        let options =
            VerifyOptions { public_key: Some(signing.clone()), production: !self.trial, ..Default::default() };
        if let Some(step) = verify_release(release, &options)?.failure() {
            let what = format!("the release in {} ({})", release.display(), step.name);
            return Err(ReleaseError::Refused { what, reason: step.detail.clone() });
        }
        let record = read_bounded(&release.join(PAYLOAD).join(RECORD), RECORD_LIMIT)?;
        let record: ReleaseRecord =
            serde_json::from_slice(&record).map_err(|source| ReleaseError::Encode { what: RECORD.into(), source })?;
        if record.trial != self.trial {
            let of = |trial| if trial { "a trial" } else { "no trial" };
            let reason = format!("the release is {}, the repository is {}", of(record.trial), of(self.trial));
            return Err(ReleaseError::Inconsistent(reason));
        }
        let whole = FolderManifest::of_folder(release)?;
        Ok(ReleaseManifest {
            schema: ReleaseManifest::SCHEMA.into(),
            name: record.name,
            version: record.version,
            trial: record.trial,
            release_digest: FolderManifest::of_folder(&release.join(PAYLOAD))?.root_digest(),
            signing_key: signing.id(),
            files: whole
                .files
                .iter()
                .map(|f| ManifestFile { path: f.path.clone(), sha256: f.sha256_hex(), bytes: f.bytes })
                .collect(),
        })
    }

    /// Puts another channel at the release that the beta channel is at.
    pub fn promote(&self, promotion: &Promotion<'_>, now: SystemTime) -> Result<Published, ReleaseError> {
        let Promotion { name, version, channel, placement } = promotion;
        check_channel(channel)?;
        self.noting(now, || {
            let editor = Editor::open(self.store.as_ref(), ROLES)?;
            let beta = catalogue::pointer(editor.client(), BETA)?.map(|p| p.target);
            let target = match beta {
                Some(beta) if beta.release == *name && beta.version == *version => beta,
                other => {
                    return Err(ReleaseError::NotInBeta {
                        name: (*name).into(),
                        version: (*version).into(),
                        at: other.map(|b| format!("{} {}", b.release, b.version)),
                    });
                }
            };
            // Beta was believed when it was signed; what it points to is looked at again before everybody gets it.
            let manifest = self.whole(editor.client(), &target)?;
            if self.asks_for_decisions(channel) {
                self.held(editor.client(), channel, &manifest, placement.decision_sha256.as_deref())?;
            }
            let next = self.next(editor.client(), channel, target, placement)?;
            let by = placement.decision_sha256.as_ref().map(|d| format!(" by the decision {d}")).unwrap_or_default();
            let what = format!(
                "{} enters the {channel} channel for {} of 10000 devices at epoch {}{by}",
                named(&next.0.target),
                next.0.percent_bp,
                next.0.epoch
            );
            self.point(editor, next, &[Event::new(AuditAction::Promote, what)], now)
        })
    }

    /// Takes a decision into the repository: a verification summary in DSSE about a release that it lists. Its digest is what a
    /// [`Placement`] names.
    pub fn accept_decision(
        &self,
        name: &str,
        version: &str,
        envelope: &[u8],
        now: SystemTime,
    ) -> Result<String, ReleaseError> {
        self.noting(now, || {
            let editor = Editor::open(self.store.as_ref(), ROLES)?;
            let listed = catalogue::manifest(editor.client(), name, version)?;
            let missing =
                || ReleaseError::NotFound { what: format!("release {name} {version}"), place: self.folder().into() };
            let (manifest, _) = listed.ok_or_else(missing)?;
            let sha256 = decision::check(envelope, editor.client(), &manifest)?.sha256;
            editor.put_blob(&decision::decision_file(&sha256), envelope)?;
            Ok(sha256)
        })
    }
}

/// The waivers of a release's report, each a line of the log.
fn waivers(release: &Path) -> Result<Vec<Event>, ReleaseError> {
    let report = read_bounded(&release.join(PAYLOAD).join(REPORT), REPORT_LIMIT)?;
    let report: Report =
        serde_json::from_slice(&report).map_err(|source| ReleaseError::Encode { what: REPORT.into(), source })?;
    let waived = report.rows.iter().filter_map(|row| row.waiver.as_ref().map(|w| (row, w)));
    Ok(waived
        .map(|(row, w)| {
            Event::new(
                AuditAction::Waiver,
                format!(
                    "{}: {} {} is waived until {} by {}: {}",
                    row.profile, row.metric, row.limit, w.until, w.signed_off_by, w.reason
                ),
            )
        })
        .collect())
}

/// Content under its digest; what is there whole is left.
fn put_blob(editor: &Editor<'_>, release: &Path, file: &ManifestFile) -> Result<(), ReleaseError> {
    let name = blob(&file.sha256);
    if holds(editor.source().as_ref(), file).unwrap_or(false) {
        return Ok(());
    }
    let bytes = read_bounded(&release.join(&file.path), FILE_LIMIT)?;
    if sha256_hex(&bytes) != file.sha256 {
        let reason = "it was changed while it was published".into();
        return Err(ReleaseError::Refused { what: file.path.clone(), reason });
    }
    Ok(editor.put_blob(&name, &bytes)?)
}
