//! Getting a release from a registry into a folder. Everything that comes is hostile: lengths are those that manifests announce,
//! digests are checked, and paths stay inside the folder.

use std::{
    fs,
    path::{Component, Path},
};

use futures::StreamExt as _;
use oci_client::{
    Client, Reference, RegistryOperation,
    manifest::{ImageIndexEntry, OciDescriptor, OciImageManifest},
    secrets::RegistryAuth,
};
use plimsoll_trust::hex;
use sha2::{Digest, Sha256};

use super::{
    Address, Credentials, RegistryError,
    artifact::{MANIFEST, MODEL, SIGNATURE, TITLE, digest_of},
    client, wait,
};

/// More layers than any release has files.
const MOST_LAYERS: usize = 10_000;
/// More bytes than any release has.
const MOST_BYTES: u64 = 16 << 30;
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
    let (client, auth) = (client(address), credentials.auth());
    wait(async {
        let denied = RegistryError::of("log in to", address);
        client.auth(address.reference(), &auth, RegistryOperation::Pull).await.map_err(denied)?;
        let mut registry = Registry { client: &client, auth: &auth, address, files: 0, bytes: 0 };
        let (model, digest) = registry.manifest(address.reference()).await?;
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
    client: &'r Client,
    auth: &'r RegistryAuth,
    address: &'r Address,
    files: usize,
    bytes: u64,
}

impl Registry<'_> {
    fn refused(&self, reason: impl Into<String>) -> RegistryError {
        RegistryError::Refused { place: self.address.to_string(), reason: reason.into() }
    }

    async fn manifest(&self, place: &Reference) -> Result<(OciImageManifest, String), RegistryError> {
        let pulled = self.client.pull_manifest_raw(place, self.auth, &[MANIFEST]).await;
        let (bytes, _) = pulled.map_err(RegistryError::of("pull", &place.whole()))?;
        let digest = digest_of(&bytes);
        if place.digest().is_some_and(|d| d != digest) {
            return Err(self.refused(format!("the registry sent the manifest {digest} for {}", place.whole())));
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
        let listed = self.client.pull_referrers(&self.address.at_digest(subject), None).await;
        let listed = listed.map_err(RegistryError::of("list the signatures of", self.address))?;
        // An index may leave the type out; then the manifest says it.
        let possible = |m: &&ImageIndexEntry| m.artifact_type.as_deref().is_none_or(|t| t == SIGNATURE);
        let mut digests: Vec<&str> = listed.manifests.iter().filter(possible).map(|m| m.digest.as_str()).collect();
        digests.sort_unstable();
        if digests.len() > MOST_SIGNATURES {
            return Err(self.refused(format!("it has {} signatures", digests.len())));
        }
        let mut found = Vec::new();
        for digest in digests {
            let (manifest, digest) = self.manifest(&self.address.at_digest(digest)).await?;
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
        let place = format!("{} of {}", layer.digest, self.address);
        let refused = |reason: String| RegistryError::Refused { place: place.clone(), reason };
        let stream = self.client.pull_blob_stream(self.address.reference(), layer.digest.as_str()).await;
        let mut stream = stream.map_err(RegistryError::of("pull", &place))?;
        let (mut hasher, mut bytes, size) = (Sha256::new(), 0_u64, self.size(layer)?);
        while let Some(piece) = stream.next().await {
            let piece = piece.map_err(|e| refused(format!("it broke off, or is not what was announced: {e}")))?;
            bytes = bytes.saturating_add(piece.len() as u64);
            if bytes > size {
                return Err(refused(format!("it goes on after the {size} bytes that were announced")));
            }
            hasher.update(&piece);
            out.write_all(&piece)?;
        }
        let digest = format!("sha256:{}", hex(&hasher.finalize()));
        if digest != layer.digest || bytes != size {
            return Err(refused(format!("the registry sent {bytes} bytes of {digest}")));
        }
        Ok(())
    }
}

fn title(layer: &OciDescriptor) -> Option<&str> {
    layer.annotations.as_ref()?.get(TITLE).map(String::as_str)
}
