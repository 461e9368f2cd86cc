//! Reading from a registry, with every answer bounded: manifests, tokens and errors by what any of them needs, layers by whoever asks.
//! Access is asked for as OCI distribution and Docker's token authentication say: what a registry demands, once it demands it.

use std::{cell::RefCell, time::Duration};

use futures::StreamExt as _;
use object_store::{
    ClientOptions, HeaderValue,
    client::{HttpClient, HttpConnector as _, HttpRequest, HttpRequestBody, HttpResponse, ReqwestConnector},
};
use plimsoll_trust::base64;
use serde_json::Value;

use super::{
    Address, Credentials, RegistryError,
    artifact::INDEX,
    challenge::{Challenge, token_url},
};
use crate::cause::{deepest, plain};

/// The distribution specification asks registries to take manifests of 4 MiB.
const MOST_MANIFEST: usize = 4 << 20;
/// More than any token has.
const MOST_TOKEN: usize = 64 << 10;
/// What is read of an answer that is an error.
const MOST_ERROR: usize = 16 << 10;
/// No answer takes longer.
const TIMEOUT: Duration = Duration::from_secs(3_600);

/// One repository of a registry, for reading.
pub(super) struct Reader<'r> {
    http: HttpClient,
    /// Scheme, host and repository.
    base: String,
    address: &'r Address,
    credentials: &'r Credentials,
    /// What goes with every request once the registry has demanded something.
    authorization: RefCell<Option<String>>,
}

impl<'r> Reader<'r> {
    pub(super) fn new(address: &'r Address, credentials: &'r Credentials) -> Result<Self, RegistryError> {
        let options = ClientOptions::new()
            .with_allow_http(address.is_loopback())
            .with_connect_timeout(super::CONNECT)
            .with_read_timeout(super::READ)
            .with_timeout(TIMEOUT);
        let unusable = |e: object_store::Error| RegistryError::Io(std::io::Error::other(deepest(&e)));
        let http = ReqwestConnector::default().connect(&options).map_err(unusable)?;
        let scheme = if address.is_loopback() { "http" } else { "https" };
        let reference = address.reference();
        let base = format!("{scheme}://{}/v2/{}", reference.resolve_registry(), reference.repository());
        Ok(Self { http, base, address, credentials, authorization: RefCell::default() })
    }

    /// The bytes of a manifest or index, by tag or digest.
    pub(super) async fn manifest(&self, tag_or_digest: &str, kind: &str) -> Result<Vec<u8>, RegistryError> {
        let place = self.place(tag_or_digest);
        let answer = self.get(&format!("manifests/{tag_or_digest}"), kind, &place).await?;
        bounded(answer, MOST_MANIFEST, &place).await
    }

    /// What refers to a manifest: by the referrers API, else by the tag that stands in for it; nothing where there is neither.
    pub(super) async fn referrers(&self, digest: &str) -> Result<Vec<Value>, RegistryError> {
        let place = format!("the signatures of {}", self.place(digest));
        match self.get(&format!("referrers/{digest}"), INDEX, &place).await {
            Ok(answer) => listed(&bounded(answer, MOST_MANIFEST, &place).await?, &place),
            Err(RegistryError::NotFound(_)) => self.tagged_referrers(digest).await,
            Err(e) => Err(e),
        }
    }

    /// The same by the tag alone.
    pub(super) async fn tagged_referrers(&self, digest: &str) -> Result<Vec<Value>, RegistryError> {
        let tag = digest.replace(':', "-");
        match self.manifest(&tag, INDEX).await {
            Ok(bytes) => listed(&bytes, &self.place(&tag)),
            Err(RegistryError::NotFound(_)) => Ok(Vec::new()),
            Err(e) => Err(e),
        }
    }

    /// The answer that has a layer's bytes; whoever reads it counts them.
    pub(super) async fn blob(&self, digest: &str, place: &str) -> Result<HttpResponse, RegistryError> {
        self.get(&format!("blobs/{digest}"), "*/*", place).await
    }

    fn place(&self, tag_or_digest: &str) -> String {
        format!("{tag_or_digest} of {}", self.address)
    }

    async fn get(&self, path: &str, accept: &str, place: &str) -> Result<HttpResponse, RegistryError> {
        let url = format!("{}/{path}", self.base);
        let known = self.authorization.borrow().clone();
        let mut answer = self.send(&url, accept, known.as_deref(), place).await?;
        if answer.status().as_u16() == 401
            && let Some(demanded) = self.demanded(&answer, place).await?
            && known.as_ref() != Some(&demanded)
        {
            answer = self.send(&url, accept, Some(&demanded), place).await?;
            *self.authorization.borrow_mut() = Some(demanded);
        }
        succeeded(answer, place).await
    }

    /// What the registry demands to see, where there is something to show.
    async fn demanded(&self, answer: &HttpResponse, place: &str) -> Result<Option<String>, RegistryError> {
        let texts = answer.headers().get_all("www-authenticate").iter().filter_map(|v| v.to_str().ok());
        let basic = match self.credentials {
            Credentials::Anonymous => None,
            Credentials::User { name, password } => {
                Some(format!("Basic {}", base64(format!("{name}:{}", password.0).as_bytes())))
            }
        };
        Ok(match Challenge::strongest(texts) {
            None => None,
            Some(Challenge::Basic) => basic,
            Some(Challenge::Bearer { realm, service, scope }) => {
                let scope =
                    scope.unwrap_or_else(|| format!("repository:{}:pull", self.address.reference().repository()));
                let url = token_url(&realm, service.as_deref(), &scope);
                let place = format!("a token for {place}");
                let answer = self.send(&url, "application/json", basic.as_deref(), &place).await?;
                let answer = bounded(succeeded(answer, &place).await?, MOST_TOKEN, &place).await?;
                let token: Value = serde_json::from_slice(&answer).unwrap_or_default();
                let token = ["token", "access_token"].iter().find_map(|name| token.get(name)?.as_str());
                let none = || RegistryError::Refused { place, reason: "the answer holds none".into() };
                Some(format!("Bearer {}", token.ok_or_else(none)?))
            }
        })
    }

    async fn send(
        &self,
        url: &str,
        accept: &str,
        authorization: Option<&str>,
        place: &str,
    ) -> Result<HttpResponse, RegistryError> {
        let refused =
            |what: &str| RegistryError::Refused { place: place.into(), reason: format!("{what} cannot be sent") };
        let mut request = HttpRequest::new(HttpRequestBody::empty());
        *request.uri_mut() = url.parse().map_err(|_| refused("its address"))?;
        let headers = request.headers_mut();
        headers.insert("accept", accept.parse().map_err(|_| refused("its type"))?);
        if let Some(authorization) = authorization {
            let mut value: HeaderValue = authorization.parse().map_err(|_| refused("what it demands"))?;
            // No log shows it.
            value.set_sensitive(true);
            headers.insert("authorization", value);
        }
        let answer = self.http.execute(request).await;
        answer.map_err(|e| RegistryError::Unreachable { place: place.into(), reason: deepest(&e) })
    }
}

/// What an index lists.
fn listed(index: &[u8], place: &str) -> Result<Vec<Value>, RegistryError> {
    let refused = |reason: String| RegistryError::Refused { place: place.into(), reason };
    let index: Value = serde_json::from_slice(index).map_err(|e| refused(format!("it is no index: {e}")))?;
    let listed = index.get("manifests").and_then(Value::as_array).cloned();
    listed.ok_or_else(|| refused("it is no index: it lists no manifests".into()))
}

/// An answer that is none of an error.
async fn succeeded(answer: HttpResponse, place: &str) -> Result<HttpResponse, RegistryError> {
    let status = answer.status().as_u16();
    match status {
        200..=299 => Ok(answer),
        404 => Err(RegistryError::NotFound(place.into())),
        _ => {
            let mut said = Vec::new();
            let mut stream = answer.into_body().bytes_stream();
            while let Some(Ok(piece)) = stream.next().await {
                said.extend_from_slice(&piece);
                if said.len() > MOST_ERROR {
                    break;
                }
            }
            // As the distribution specification writes errors; else nothing of it is for people.
            let document: Value = serde_json::from_slice(&said).unwrap_or_default();
            let message = document.pointer("/errors/0/message").and_then(Value::as_str).map(plain).unwrap_or_default();
            Err(RegistryError::Answer { place: place.into(), status, message })
        }
    }
}

/// The bytes of an answer, up to so many.
async fn bounded(answer: HttpResponse, most: usize, place: &str) -> Result<Vec<u8>, RegistryError> {
    let mut bytes = Vec::new();
    let mut stream = answer.into_body().bytes_stream();
    while let Some(piece) = stream.next().await {
        let piece = piece.map_err(|e| RegistryError::Unreachable { place: place.into(), reason: deepest(&e) })?;
        if piece.len() > most - bytes.len() {
            return Err(RegistryError::Refused {
                place: place.into(),
                reason: format!("it is longer than {most} bytes"),
            });
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes)
}
