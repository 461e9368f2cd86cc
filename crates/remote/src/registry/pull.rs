//! Getting a release from a registry into a folder. Everything that comes is hostile: lengths are those that manifests announce,
//! digests are checked, and paths stay inside the folder.

use std::{
    fs,
    path::{Component, Path},
};

use futures::StreamExt as _;
use oci_client::manifest::{OciDescriptor, OciImageManifest};
use plimsoll_trust::hex;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{
    Address, Credentials, RegistryError,
    artifact::{MANIFEST, MODEL, SIGNATURE, TITLE, digest_of},
    reader::Reader,
    wait,
};
use crate::cause::deepest;

/// More layers than any release has files.
const MOST_LAYERS: usize = 10_000;
/// More bytes than any release has.
const MOST_BYTES: u64 = 16 << 30;
/// More bytes than any signature has, which is held in memory.
const MOST_BUNDLE: u64 = 16 << 20;
/// More signatures than anybody looks through.
const MOST_SIGNATURES: usize = 32;
const PAYLOAD: &str = "payload";
const BUNDLE: &str = "model.sig";

/// What was pulled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulled {
    /// Digest of the payload's manifest.
    pub digest: String,
    /// Digest of the signature's manifest.
    pub signature_digest: String,
    /// Files.
    pub files: usize,
    /// Bytes of them.
    pub bytes: u64,
}

/// Pulls a release into a new folder: `payload/`, and the signature, key and attestations beside it. Of several signatures the
/// one by `wanted` (a key's id) is taken, else the only one. Nothing is verified but digests: whoever calls does that next.
pub fn pull(
    address: &Address,
    credentials: &Credentials,
    wanted: Option<&str>,
    folder: &Path,
) -> Result<Pulled, RegistryError> {
    let reader = Reader::new(address, credentials)?;
    wait(async {
        let mut registry = Registry { reader: &reader, address, files: 0, bytes: 0 };
        let reference = address.reference();
        let (model, digest) = registry.manifest(reference.digest().or(reference.tag()).unwrap_or("latest")).await?;
        if model.artifact_type.as_deref() != Some(MODEL) {
            let found = model.artifact_type.as_deref().unwrap_or("of no type");
            return Err(registry.refused(format!("it is {found}, expected {MODEL}")));
        }
        let (signature, signature_digest) = registry.signature(&digest, wanted).await?;
        registry.layers(&model, &folder.join(PAYLOAD)).await?;
        registry.layers(&signature, folder).await?;
        Ok(Pulled { digest, signature_digest, files: registry.files, bytes: registry.bytes })
    })
}

struct Registry<'r> {
    reader: &'r Reader<'r>,
    address: &'r Address,
    files: usize,
    bytes: u64,
}

impl Registry<'_> {
    fn refused(&self, reason: impl Into<String>) -> RegistryError {
        RegistryError::Refused { place: self.address.to_string(), reason: reason.into() }
    }

    /// A manifest with its digest, by tag or digest.
    async fn manifest(&self, tag_or_digest: &str) -> Result<(OciImageManifest, String), RegistryError> {
        let bytes = self.reader.manifest(tag_or_digest, MANIFEST).await?;
        let digest = digest_of(&bytes);
        if tag_or_digest.contains(':') && tag_or_digest != digest {
            return Err(self.refused(format!("the registry sent the manifest {digest} for {tag_or_digest}")));
        }
        let manifest: OciImageManifest =
            serde_json::from_slice(&bytes).map_err(|e| self.refused(format!("it is no image manifest: {e}")))?;
        if manifest.layers.len() > MOST_LAYERS {
            return Err(self.refused(format!("it has {} layers", manifest.layers.len())));
        }
        Ok((manifest, digest))
    }

    /// The manifest of the signature to go by.
    async fn signature(
        &self,
        subject: &str,
        wanted: Option<&str>,
    ) -> Result<(OciImageManifest, String), RegistryError> {
        let listed = self.reader.referrers(subject).await?;
        // An index may leave the type out; then the manifest says it.
        let possible = |m: &&Value| m.get("artifactType").is_none_or(|t| t == SIGNATURE);
        let digest = |m: &Value| m.get("digest").and_then(Value::as_str).map(str::to_owned);
        let mut digests: Vec<String> = listed.iter().filter(possible).filter_map(digest).collect();
        digests.sort_unstable();
        if digests.len() > MOST_SIGNATURES {
            return Err(self.refused(format!("it has {} signatures", digests.len())));
        }
        let mut found = Vec::new();
        for digest in digests {
            if !is_digest(&digest) {
                return Err(self.refused("it lists a signature without a digest"));
            }
            let (manifest, digest) = self.manifest(&digest).await?;
            let signs = manifest.subject.as_ref().is_some_and(|s| s.digest == subject);
            if manifest.artifact_type.as_deref() != Some(SIGNATURE) || !signs {
                continue;
            }
            match wanted {
                Some(wanted) if self.signer(&manifest).await?.as_deref() != Some(wanted) => {}
                _ => found.push((manifest, digest)),
            }
        }
        match (found.len(), wanted) {
            (1, _) | (2.., Some(_)) => Ok(found.swap_remove(0)),
            (0, None) => Err(self.refused("nothing signs it")),
            (0, Some(wanted)) => Err(self.refused(format!("the key {wanted} does not sign it"))),
            (several, None) => {
                let reason = format!("{several} signatures claim it: give the key that you trust by --public-key");
                Err(self.refused(reason))
            }
        }
    }

    /// The key that a signature names; a hint, which verification holds to.
    async fn signer(&self, manifest: &OciImageManifest) -> Result<Option<String>, RegistryError> {
        let Some(layer) = manifest.layers.iter().find(|l| title(l) == Some(BUNDLE)) else { return Ok(None) };
        if self.size(layer)? > MOST_BUNDLE {
            return Err(self.refused(format!("its signature announces {} bytes", layer.size)));
        }
        let mut bytes = Vec::new();
        self.copy(layer, &mut bytes).await?;
        let bundle: serde_json::Value = serde_json::from_slice(&bytes).unwrap_or_default();
        let hint = bundle.pointer("/verificationMaterial/publicKey/hint");
        Ok(hint.and_then(|h| h.as_str()).map(str::to_owned))
    }

    async fn layers(&mut self, manifest: &OciImageManifest, folder: &Path) -> Result<(), RegistryError> {
        for layer in &manifest.layers {
            let name = title(layer).ok_or_else(|| self.refused("one of its layers has no file name"))?;
            let plain = Path::new(name).components().all(|c| matches!(c, Component::Normal(_)));
            if !plain || name.is_empty() || name.contains(['\\', '\0']) {
                return Err(self.refused(format!("its file name `{name}` leads elsewhere")));
            }
            self.bytes = self.bytes.saturating_add(self.size(layer)?);
            if self.bytes > MOST_BYTES {
                return Err(self.refused(format!("it announces more than {MOST_BYTES} bytes")));
            }
            let path = folder.join(name);
            let failed = |source| RegistryError::File { path: path.clone(), source };
            fs::create_dir_all(path.parent().unwrap_or(folder)).map_err(failed)?;
            let mut file = fs::File::create_new(&path).map_err(failed)?;
            self.copy(layer, &mut file).await?;
            self.files += 1;
        }
        Ok(())
    }

    fn size(&self, layer: &OciDescriptor) -> Result<u64, RegistryError> {
        u64::try_from(layer.size).map_err(|_| self.refused(format!("a layer announces {} bytes", layer.size)))
    }

    /// Copies a layer: as many bytes as its descriptor says, with its digest.
    async fn copy(&self, layer: &OciDescriptor, out: &mut impl std::io::Write) -> Result<(), RegistryError> {
        if !is_digest(&layer.digest) {
            return Err(self.refused("one of its layers has no digest"));
        }
        let place = format!("{} of {}", layer.digest, self.address);
        let refused = |reason: String| RegistryError::Refused { place: place.clone(), reason };
        let mut stream = self.reader.blob(&layer.digest, &place).await?.into_body().bytes_stream();
        let (mut hasher, mut bytes, size) = (Sha256::new(), 0_u64, self.size(layer)?);
        while let Some(piece) = stream.next().await {
            let broken = |e| RegistryError::Unreachable { place: place.clone(), reason: deepest(&e) };
            let piece = piece.map_err(broken)?;
            bytes = bytes.saturating_add(piece.len() as u64);
            if bytes > size {
                return Err(refused(format!("it goes on after the {size} bytes that were announced")));
            }
            hasher.update(&piece);
            out.write_all(&piece)?;
        }
        let digest = format!("sha256:{}", hex(&hasher.finalize()));
        if digest != layer.digest || bytes != size {
            let reason = format!("the registry sent {bytes} bytes of {digest}, which is not what was announced");
            return Err(refused(reason));
        }
        Ok(())
    }
}

/// A SHA-256 as registries write it, and nothing that leads elsewhere in an address.
fn is_digest(text: &str) -> bool {
    let hex = text.strip_prefix("sha256:").unwrap_or_default();
    hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

fn title(layer: &OciDescriptor) -> Option<&str> {
    layer.annotations.as_ref()?.get(TITLE).map(String::as_str)
}
