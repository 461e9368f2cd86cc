//! What goes into a registry, and the two manifests that say so. The same files give the same manifests.

use std::path::{Path, PathBuf};

use plimsoll_trust::{hex, sha256_hex, sha256_of_file, to_sorted_json};
use serde_json::{Value, json};

use super::RegistryError;

pub(super) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(super) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(super) const MODEL: &str = "application/vnd.cncf.model.manifest.v1+json";
const MODEL_CONFIG: &str = "application/vnd.cncf.model.config.v1+json";
pub(super) const SIGNATURE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
const EMPTY: &str = "application/vnd.oci.empty.v1+json";
pub(super) const TITLE: &str = "org.opencontainers.image.title";
/// ModelPack's own name of a layer's file.
const FILE_PATH: &str = "org.cncf.model.filepath";

/// A file, and the path that it is pulled to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Path with `/`, such as `budgets/plimsoll.toml`.
    pub name: String,
    /// Where it lies.
    pub path: PathBuf,
}

/// A release to be pushed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// Name of the model.
    pub name: String,
    /// Its version.
    pub version: String,
    /// SPDX expression of its licence.
    pub licence: Option<String>,
    /// What is signed, in order.
    pub payload: Vec<File>,
    /// Signature, public key and attestations.
    pub beside: Vec<File>,
}

/// Content by its digest.
pub(super) enum Content {
    File(PathBuf),
    Bytes(Vec<u8>),
}

pub(super) struct Blob {
    pub(super) digest: String,
    pub(super) content: Content,
}

/// A manifest with everything that it names.
pub(super) struct Packed {
    pub(super) manifest: Vec<u8>,
    pub(super) digest: String,
    pub(super) blobs: Vec<Blob>,
}

pub(super) fn digest_of(bytes: &[u8]) -> String {
    format!("sha256:{}", sha256_hex(bytes))
}

fn encode(value: &Value) -> Result<Vec<u8>, RegistryError> {
    to_sorted_json(value).map_err(|e| RegistryError::Io(e.into()))
}

/// ModelPack's kinds of layers, all raw: no archive, no compression.
fn layer_type(name: &str) -> &'static str {
    match Path::new(name).extension().and_then(|e| e.to_str()) {
        Some("onnx") => "application/vnd.cncf.model.weight.v1.raw",
        Some("json" | "toml") => "application/vnd.cncf.model.weight.config.v1.raw",
        _ => "application/vnd.cncf.model.doc.v1.raw",
    }
}

fn beside_type(name: &str) -> &'static str {
    match name {
        _ if name.ends_with(".dsse.json") => "application/vnd.dsse.envelope.v1+json",
        _ if name.ends_with(".pem") => "application/x-pem-file",
        _ => SIGNATURE,
    }
}

fn layers(files: &[File], kind: fn(&str) -> &'static str, blobs: &mut Vec<Blob>) -> Result<Vec<Value>, RegistryError> {
    let mut layers = Vec::new();
    for file in files {
        let read = sha256_of_file(&file.path);
        let (sha256, bytes) =
            read.map_err(|e| RegistryError::File { path: file.path.clone(), source: std::io::Error::other(e) })?;
        let digest = format!("sha256:{}", hex(&sha256));
        layers.push(json!({
            "mediaType": kind(&file.name),
            "digest": digest,
            "size": bytes,
            "annotations": {TITLE: file.name, FILE_PATH: file.name},
        }));
        blobs.push(Blob { digest, content: Content::File(file.path.clone()) });
    }
    Ok(layers)
}

fn packed(manifest: &Value, config: Vec<u8>, mut blobs: Vec<Blob>) -> Result<Packed, RegistryError> {
    blobs.push(Blob { digest: digest_of(&config), content: Content::Bytes(config) });
    let manifest = encode(manifest)?;
    Ok(Packed { digest: digest_of(&manifest), manifest, blobs })
}

/// The manifest of the payload.
pub(super) fn model(artifact: &Artifact) -> Result<Packed, RegistryError> {
    let mut blobs = Vec::new();
    let layers = layers(&artifact.payload, layer_type, &mut blobs)?;
    let ids: Vec<&str> = blobs.iter().map(|b| b.digest.as_str()).collect();
    let mut descriptor = json!({"name": artifact.name, "version": artifact.version});
    let mut annotations = json!({TITLE: artifact.name, "org.opencontainers.image.version": artifact.version});
    if let Some(licence) = &artifact.licence {
        for (object, key, value) in [
            (&mut descriptor, "licenses", json!([licence])),
            (&mut annotations, "org.opencontainers.image.licenses", json!(licence)),
        ] {
            object.as_object_mut().map(|o| o.insert(key.into(), value));
        }
    }
    let config = json!({
        "descriptor": descriptor,
        "config": {"format": "onnx"},
        "modelfs": {"type": "layers", "diffIds": ids},
    });
    let config = encode(&config)?;
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": MODEL,
        "config": {"mediaType": MODEL_CONFIG, "digest": digest_of(&config), "size": config.len()},
        "layers": layers,
        "annotations": annotations,
    });
    packed(&manifest, config, blobs)
}

/// The manifest of what lies beside the payload, which refers to that of the payload.
pub(super) fn signature(artifact: &Artifact, subject: &Packed) -> Result<Packed, RegistryError> {
    let mut blobs = Vec::new();
    let layers = layers(&artifact.beside, beside_type, &mut blobs)?;
    let config = b"{}".to_vec();
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": SIGNATURE,
        "config": {"mediaType": EMPTY, "digest": digest_of(&config), "size": config.len()},
        "layers": layers,
        "subject": {"mediaType": MANIFEST, "digest": subject.digest, "size": subject.manifest.len()},
        "annotations": {TITLE: format!("signature of {} {}", artifact.name, artifact.version)},
    });
    packed(&manifest, config, blobs)
}

/// The index of those that refer to a manifest, with one more: for registries without a referrers API.
pub(super) fn index(known: &[Value], added: &Packed) -> Result<Vec<u8>, RegistryError> {
    let mut manifests = known.to_vec();
    let listed = |m: &Value| m.get("digest").and_then(Value::as_str) == Some(&added.digest);
    if !manifests.iter().any(listed) {
        manifests.push(json!({
            "mediaType": MANIFEST,
            "artifactType": SIGNATURE,
            "digest": added.digest,
            "size": added.manifest.len(),
        }));
    }
    encode(&json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests}))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The manifests of a small release: of its payload, and of its signature.
    fn check() -> [Packed; 2] {
        let folder = folder_of(&["model.onnx", "report.md", "model.sig"]);
        let file = |name: &str| File { name: name.into(), path: folder.path().join(name) };
        let artifact = Artifact {
            name: "sleep-wake".into(),
            version: "1.0.0".into(),
            licence: Some("MIT".into()),
            payload: vec![file("model.onnx"), file("report.md")],
            beside: vec![file("model.sig")],
        };
        let model = model(&artifact).unwrap();
        let signature = signature(&artifact, &model).unwrap();
        [model, signature]
    }

    fn folder_of(names: &[&str]) -> Folder {
        let path = std::env::temp_dir().join(format!(
            "plimsoll-artifact-{}-{:?}",
            std::process::id(),
            std::thread::current().id()
        ));
        std::fs::create_dir_all(&path).unwrap();
        names.iter().for_each(|name| std::fs::write(path.join(name), name).unwrap());
        Folder(path)
    }

    struct Folder(PathBuf);

    impl Folder {
        fn path(&self) -> &Path {
            &self.0
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn the_same_release_gives_the_same_manifests_and_the_signature_names_what_it_signs() {
        let [model, signature] = check();
        let [again, _] = check();
        assert_eq!(model.manifest, again.manifest);
        let document: Value = serde_json::from_slice(&signature.manifest).unwrap();
        assert_eq!(document["subject"]["digest"], model.digest.as_str());
        let document: Value = serde_json::from_slice(&model.manifest).unwrap();
        assert_eq!(document["layers"][0]["mediaType"], "application/vnd.cncf.model.weight.v1.raw");
        assert_eq!(document["layers"][0]["digest"], digest_of(b"model.onnx").as_str());
    }

    #[test]
    fn an_index_keeps_the_signatures_of_others_and_lists_each_once() {
        let [_, signature] = check();
        let others = vec![json!({"mediaType": MANIFEST, "digest": "sha256:00", "size": 1})];
        let once: Value = serde_json::from_slice(&index(&others, &signature).unwrap()).unwrap();
        let listed = once["manifests"].as_array().unwrap().clone();
        assert_eq!((listed.len(), &listed[0]), (2, &others[0]));
        let twice: Value = serde_json::from_slice(&index(&listed, &signature).unwrap()).unwrap();
        assert_eq!(once, twice);
    }
}
