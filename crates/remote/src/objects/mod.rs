//! Repositories that lie elsewhere: in a bucket of an S3-compatible store (`s3://bucket/prefix`), which is read and written, or on a
//! web server (`https://…`), which is read. A bucket of telemetry is read by the same ways.
//!
//! Reading is bounded in size by whoever asks and in time here. Writing relies on conditional puts (`If-None-Match: *`,
//! `If-Match`): the lock is an object that one writer makes and renews, and what a writer has read it replaces only as it was read.

mod address;
mod bucket;
mod lease;
mod source;
mod store;
#[cfg(test)]
mod tests;

use std::{error::Error, io, path::Path, sync::Arc, time::Duration};

use object_store::{
    BackoffConfig, ClientConfigKey, ClientOptions, ObjectStore, PutMode, PutOptions, PutPayload, PutResult,
    RetryConfig,
    aws::{AmazonS3Builder, AmazonS3ConfigKey},
    http::HttpBuilder,
    path::Path as ObjectPath,
};
use plimsoll_trust::tuf::{Source, Store};
use tokio::runtime::{Builder, Runtime};

pub use address::AddressError;
pub use bucket::Bucket;

use self::{address::Address, lease::Times, source::ObjectSource, store::ObjectsStore};
use crate::cause::deepest;

/// A server that is not reached in that time is not there.
const CONNECT: Duration = Duration::from_secs(10);
/// A server that says nothing for so long has died.
const READ: Duration = Duration::from_secs(60);
/// No object takes longer.
const TIMEOUT: Duration = Duration::from_secs(900);
/// A busy server is asked again for so long.
const RETRY: Duration = Duration::from_secs(20);
const RETRIES: usize = 4;

/// The repository at an address, for reading.
pub fn source(address: &str) -> Result<Arc<dyn Source>, AddressError> {
    Ok(Arc::new(open(address)?))
}

/// The repository at an address, for writing: one in an object store.
pub fn store(address: &str) -> Result<Box<dyn Store>, AddressError> {
    match Address::parse(address)? {
        Address::Bucket { .. } => Ok(Box::new(ObjectsStore::of(open(address)?, Times::default()))),
        Address::Server { .. } => Err(AddressError {
            address: address.into(),
            reason: "a web server is read, not written".into(),
            help: "change the repository where it lies: a folder, or s3://BUCKET/PREFIX",
        }),
    }
}

fn open(address: &str) -> Result<ObjectSource, AddressError> {
    let failed = |e: &(dyn Error + 'static)| AddressError {
        address: address.into(),
        reason: deepest(e),
        help: "check the address, and what the environment says of the store (AWS_ENDPOINT_URL, AWS_REGION)",
    };
    let (objects, prefix): (Arc<dyn ObjectStore>, String) = match Address::parse(address)? {
        Address::Bucket { bucket, prefix } => {
            let mut builder = AmazonS3Builder::from_env().with_bucket_name(bucket).with_retry(retries());
            for (key, time) in [
                (ClientConfigKey::ConnectTimeout, CONNECT),
                (ClientConfigKey::ReadTimeout, READ),
                (ClientConfigKey::Timeout, TIMEOUT),
            ] {
                builder = builder.with_config(AmazonS3ConfigKey::Client(key), format!("{} seconds", time.as_secs()));
            }
            if address::endpoint_is_loopback() {
                builder = builder.with_allow_http(true);
            }
            (Arc::new(builder.build().map_err(|e| failed(&e))?), prefix)
        }
        Address::Server { url, loopback } => {
            let options = ClientOptions::new()
                .with_allow_http(loopback)
                .with_connect_timeout(CONNECT)
                .with_read_timeout(READ)
                .with_timeout(TIMEOUT);
            let builder = HttpBuilder::new().with_url(url).with_client_options(options).with_retry(retries());
            (Arc::new(builder.build().map_err(|e| failed(&e))?), String::new())
        }
    };
    let runtime = runtime().map_err(|e| failed(&e))?;
    Ok(ObjectSource::new(Path::new(address.trim_end_matches('/')), objects, &prefix, Arc::new(runtime)))
}

fn runtime() -> io::Result<Runtime> {
    // A thread of its own, so that connections are kept while nobody waits for them.
    Builder::new_multi_thread().worker_threads(1).thread_name("plimsoll-net").enable_all().build()
}

fn retries() -> RetryConfig {
    let backoff = BackoffConfig { init_backoff: Duration::from_millis(100), max_backoff: RETRY / 4, base: 2.0 };
    RetryConfig { backoff, max_retries: RETRIES, retry_timeout: RETRY }
}

/// Writes an object on a condition; nothing where the object is not as that says. So it is after a write, too, whose answer was lost on
/// the way and which was asked for again: whoever writes looks whether it is there.
fn put(
    (objects, runtime): (&dyn ObjectStore, &Runtime),
    path: &ObjectPath,
    bytes: &[u8],
    mode: PutMode,
) -> Result<Option<PutResult>, object_store::Error> {
    use object_store::Error as E;
    let replaces = matches!(mode, PutMode::Update(_));
    let options = PutOptions { mode, ..PutOptions::default() };
    match runtime.block_on(objects.put_opts(path, PutPayload::from(bytes.to_vec()), options)) {
        Ok(done) => Ok(Some(done)),
        // Where there is not even a bucket, nothing is found either.
        Err(e @ E::NotFound { .. }) if !replaces => Err(e),
        Err(E::AlreadyExists { .. } | E::Precondition { .. } | E::NotFound { .. }) => Ok(None),
        Err(e) => Err(e),
    }
}

/// An error of a store as one of input and output, by its kind.
fn io_error(error: &object_store::Error) -> io::Error {
    use object_store::Error as E;
    let kind = match error {
        E::NotFound { .. } => io::ErrorKind::NotFound,
        E::AlreadyExists { .. } | E::Precondition { .. } => io::ErrorKind::AlreadyExists,
        E::PermissionDenied { .. } | E::Unauthenticated { .. } => io::ErrorKind::PermissionDenied,
        E::InvalidPath { .. } => io::ErrorKind::InvalidInput,
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, deepest(error))
}
