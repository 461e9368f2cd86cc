//! Putting a release into a registry: content, then the signature, then what lists the signature, and the tag last.

use std::fs;

use oci_client::{Client, Reference, RegistryOperation};
use serde_json::Value;

use super::{
    Address, Artifact, Credentials, RegistryError,
    artifact::{self, Content, INDEX, MANIFEST, Packed, digest_of},
    client,
    reader::Reader,
    wait,
};

/// What was pushed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    /// Address, pinned to the digest of the payload's manifest.
    pub address: Address,
    /// Digest of the payload's manifest.
    pub digest: String,
    /// Digest of the signature's manifest.
    pub signature_digest: String,
    /// Tag that lists the signature; `None` where the registry does by itself.
    pub fallback_tag: Option<String>,
}

/// Pushes a release and its signature. What is there already is not sent again.
pub fn push(address: &Address, artifact: &Artifact, credentials: &Credentials) -> Result<Pushed, RegistryError> {
    if address.digest().is_some() || address.reference().tag().is_none() {
        let reason = "a release is pushed to a tag".into();
        return Err(RegistryError::Address { address: address.to_string(), reason });
    }
    let model = artifact::model(artifact)?;
    let signature = artifact::signature(artifact, &model)?;
    let (client, auth) = (client(address), credentials.auth());
    wait(async {
        let denied = RegistryError::of("log in to", address);
        client.auth(address.reference(), &auth, RegistryOperation::Push).await.map_err(denied)?;
        let reader = Reader::new(address, credentials)?;
        let registry = Registry { client: &client, reader: &reader, address };
        registry.blobs(&model).await?;
        registry.blobs(&signature).await?;
        registry.manifest(&address.at_digest(&signature.digest), signature.manifest.clone(), MANIFEST).await?;
        let fallback_tag = registry.list(&model, &signature).await?;
        registry.manifest(address.reference(), model.manifest.clone(), MANIFEST).await?;
        Ok(Pushed {
            address: address.pinned(&model.digest),
            digest: model.digest.clone(),
            signature_digest: signature.digest.clone(),
            fallback_tag,
        })
    })
}

struct Registry<'r> {
    client: &'r Client,
    reader: &'r Reader<'r>,
    address: &'r Address,
}

impl Registry<'_> {
    async fn blobs(&self, packed: &Packed) -> Result<(), RegistryError> {
        for blob in &packed.blobs {
            let reference = self.address.reference();
            let there = self.client.blob_exists(reference, &blob.digest).await;
            if there.map_err(RegistryError::of("look into", self.address))? {
                continue;
            }
            let bytes = match &blob.content {
                Content::Bytes(bytes) => bytes.clone(),
                Content::File(path) => {
                    let bytes = fs::read(path).map_err(|source| RegistryError::File { path: path.clone(), source })?;
                    if digest_of(&bytes) != blob.digest {
                        let reason = "it was changed while it was pushed".into();
                        return Err(RegistryError::Refused { place: path.display().to_string(), reason });
                    }
                    bytes
                }
            };
            let pushed = self.client.push_blob(reference, bytes, &blob.digest).await;
            pushed.map_err(RegistryError::of("push to", self.address))?;
        }
        Ok(())
    }

    async fn manifest(&self, place: &Reference, bytes: Vec<u8>, kind: &'static str) -> Result<(), RegistryError> {
        let bad = |_| RegistryError::Io(std::io::Error::other("a media type is no header"));
        let pushed = self.client.push_manifest_raw(place, bytes, kind.parse().map_err(bad)?).await;
        pushed.map(drop).map_err(RegistryError::of("push to", &place.whole()))
    }

    /// Sees to it that the signature is found by what it signs; the tag that lists it, where the registry does not.
    async fn list(&self, model: &Packed, signature: &Packed) -> Result<Option<String>, RegistryError> {
        let is_signature = |m: &Value| m.get("digest").and_then(Value::as_str) == Some(&signature.digest);
        if self.reader.referrers(&model.digest).await?.iter().any(is_signature) {
            return Ok(None);
        }
        let listed = self.reader.tagged_referrers(&model.digest).await?;
        let tag = model.digest.replace(':', "-");
        let place = self.address.at_tag(&tag);
        self.manifest(&place, artifact::index(&listed, signature)?, INDEX).await?;
        Ok(Some(tag))
    }
}
