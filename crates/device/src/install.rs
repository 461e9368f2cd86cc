//! Putting a release into a slot: every file by its digest, the folder by its signature, the model by its fit and its self-test.

use std::io::{self, Read};

use plimsoll_onnx::Model;
use plimsoll_profile::{Contract, DeviceSpec, Version};
use plimsoll_record::{
    ManifestFile, PAYLOAD, PUBLIC_KEY, PointedRelease, RECORD, ReleaseManifest, ReleaseRecord, SIGNATURE, names::blob,
};
use plimsoll_runtime::Executor;
use plimsoll_trust::{
    PublicKey, hex, oms, read_bounded,
    tuf::{Opened, Source},
};
use sha2::{Digest, Sha256};

use crate::{
    DeviceError,
    disk::make_folders,
    fit::fits,
    selftest::{Untested, self_test, shipped_contract},
    state::{Installed, Slot, State},
};

const RECORD_LIMIT: u64 = 1 << 20;
const SIGNATURE_LIMIT: u64 = 64 << 20;

/// What an installation needs.
pub(crate) struct Installation<'i> {
    pub(crate) spec: &'i DeviceSpec,
    pub(crate) state: &'i State,
    pub(crate) executor: &'i dyn Executor,
    pub(crate) release: &'i PointedRelease,
    pub(crate) manifest: &'i ReleaseManifest,
    pub(crate) channel: &'i str,
    /// The repository.
    pub(crate) source: &'i dyn Source,
}

impl Installation<'_> {
    /// Fills a slot that is not active. It is whole at the end, or empty.
    pub(crate) fn fill(&self, slot: Slot) -> Result<Installed, DeviceError> {
        let files: Vec<&ManifestFile> = self.manifest.files.iter().filter(|f| is_needed(&f.path)).collect();
        let bytes: u64 = files.iter().map(|f| f.bytes).sum();
        if let Some(flash) = &self.spec.flash {
            let other = self.state.installed(slot.other())?.map_or(0, |i| i.bytes);
            if bytes.saturating_add(other) > flash.0 {
                let reason =
                    format!("its {bytes} bytes beside the {other} that run are more than the {} of flash", flash.0);
                return Err(self.unfit(reason));
            }
        }
        self.state.clear(slot)?;
        let filled = self.copy(&files, slot).and_then(|()| self.examine(slot, bytes));
        match filled {
            Ok(installed) => {
                self.state.finish(slot, &installed)?;
                Ok(installed)
            }
            Err(e) => {
                // What is left without `installed.json` is nothing; where it cannot be removed now, the next one does.
                self.state.clear(slot).ok();
                Err(e)
            }
        }
    }

    fn unfit(&self, reason: impl Into<String>) -> DeviceError {
        let release = format!("{} {}", self.release.release, self.release.version);
        DeviceError::Unfit { release, reason: reason.into() }
    }

    fn copy(&self, files: &[&ManifestFile], slot: Slot) -> Result<(), DeviceError> {
        let disk = self.state.disk();
        let folder = self.state.slot(slot);
        let mut folders = Vec::new();
        for file in files {
            let place = folder.join(&file.path);
            let io = |source| DeviceError::Io { path: place.clone(), source };
            let above = place.parent().unwrap_or(&folder).to_owned();
            if !folders.contains(&above) {
                folders.push(above.clone());
            }
            make_folders(disk, &above).map_err(io)?;
            let refused = |reason: String| DeviceError::refused(&file.path, reason);
            let opened = self.source.open(&blob(&file.sha256)).map_err(|e| refused(e.to_string()))?;
            let missing = || refused("the repository does not hold it".into());
            let Opened { content, bytes } = opened.ok_or_else(missing)?;
            if bytes != file.bytes {
                return Err(refused(format!("it has {bytes} bytes, {} were signed", file.bytes)));
            }
            let mut content = Hashed { content: content.take(file.bytes), hasher: Sha256::new(), failed: None };
            let written = disk.write(&place, &mut content);
            // A server that breaks off is no matter of the disk.
            if let Some(reason) = content.failed {
                return Err(refused(reason));
            }
            written.map_err(io)?;
            disk.sync(&place).map_err(io)?;
            let found = hex(&content.hasher.finalize());
            if found != file.sha256 {
                return Err(DeviceError::forged(
                    &file.path,
                    format!("its SHA-256 is {found}, {} was signed", file.sha256),
                ));
            }
        }
        // Their bytes last; now their names do.
        for folder in folders {
            disk.sync_folder(&folder).map_err(|source| DeviceError::Io { path: folder.clone(), source })?;
        }
        Ok(())
    }

    /// Looks at what lies in the slot, as it lies there.
    fn examine(&self, slot: Slot, bytes: u64) -> Result<Installed, DeviceError> {
        let folder = self.state.slot(slot);
        let payload = folder.join(PAYLOAD);
        let what = format!("{} {}", self.release.release, self.release.version);
        let refused = |reason: String| DeviceError::forged(&what, reason);
        let key = PublicKey::read(&folder.join(PUBLIC_KEY)).map_err(|e| refused(e.to_string()))?;
        if key.id() != self.manifest.signing_key {
            return Err(refused(format!("its key is {}, the repository says {}", key.id(), self.manifest.signing_key)));
        }
        let bundle = read_bounded(&folder.join(SIGNATURE), SIGNATURE_LIMIT)?;
        let signed = oms::verify(&payload, &bundle, &key).map_err(|e| refused(e.to_string()))?;
        let digest = signed.root_digest();
        if digest != self.release.release_digest {
            let expected = &self.release.release_digest;
            return Err(refused(format!("its release digest is {digest}, the channel says {expected}")));
        }
        let record = read_bounded(&payload.join(RECORD), RECORD_LIMIT)?;
        let record: ReleaseRecord = serde_json::from_slice(&record).map_err(|e| refused(format!("{RECORD}: {e}")))?;
        if record.schema != ReleaseRecord::SCHEMA {
            return Err(self.unfit(format!("its record is of the schema `{}`", record.schema.escape_default())));
        }
        if record.name != self.release.release || record.version != self.release.version {
            return Err(refused(format!("it says that it is {} {}", record.name, record.version)));
        }
        if record.trial != self.manifest.trial {
            return Err(refused("its trial mark is not the repository's".into()));
        }
        let model = signed.get(&record.model.file).map(|f| f.sha256_hex());
        if model.as_ref() != Some(&record.model.sha256) {
            return Err(refused(format!("`{}` is another model than it says", record.model.file.escape_default())));
        }
        let here = env!("CARGO_PKG_VERSION");
        if is_older(here, &record.minimum_client) {
            let minimum = record.minimum_client.escape_default();
            return Err(self.unfit(format!("it needs a client of version {minimum}, this one is {here}")));
        }
        if let Some(contract) = &self.spec.contract {
            let contract = Contract::read(&contract.path)?;
            let model = Model::read(&payload.join(&record.model.file)).map_err(|e| self.unfit(e.to_string()))?;
            let made_for = shipped_contract(&payload).map_err(|reason| self.unfit(reason))?;
            fits(&model, &contract, made_for.as_ref()).map_err(|reason| self.unfit(reason))?;
        }
        let memory = self.spec.memory.map(|m| m.0);
        let tested = self_test(self.executor, &payload, &record.model.file, memory);
        Ok(Installed {
            release: self.release.clone(),
            channel: self.channel.into(),
            bytes,
            model: record.model.file,
            self_test: tested.map_err(|e| match e {
                Untested::Failed(reason) => self.unfit(format!("its self-test failed: {reason}")),
                Untested::NotRun(e) => e.into(),
            })?,
        })
    }
}

/// What a device keeps of a release: attestations are for those who let it in.
fn is_needed(path: &str) -> bool {
    path == SIGNATURE || path == PUBLIC_KEY || path.strip_prefix(PAYLOAD).is_some_and(|rest| rest.starts_with('/'))
}

/// Whether a version comes before another; one that cannot be read is later than any.
fn is_older(version: &str, minimum: &str) -> bool {
    match (Version::parse(version), Version::parse(minimum)) {
        (Some(version), Some(minimum)) => version.numbers < minimum.numbers,
        _ => true,
    }
}

/// What is read is hashed.
struct Hashed {
    content: io::Take<Box<dyn Read + Send>>,
    hasher: Sha256,
    /// Why no more could be read.
    failed: Option<String>,
}

impl Read for Hashed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.content.read(buffer).inspect_err(|e| self.failed = Some(e.to_string()))?;
        self.hasher.update(buffer.get(..n).unwrap_or_default());
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_compared_by_number_and_what_cannot_be_read_is_too_new() {
        assert!(!is_older("0.1.0", "0.1.0") && !is_older("0.10.0", "0.9.9"));
        assert!(is_older("0.1.0", "0.1.1") && is_older("0.9.0", "0.10.0") && is_older("0.1.0", "soon"));
    }
}
