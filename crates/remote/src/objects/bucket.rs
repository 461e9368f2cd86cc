//! A bucket read as a folder of files that others write: what has arrived, by name.

use std::{error::Error, path::Path};

use futures::TryStreamExt;
use object_store::{ObjectStore, path::Path as ObjectPath};
use plimsoll_trust::{
    ReadError,
    tuf::{Opened, Source},
};

use super::{
    address::{Address, AddressError},
    deepest, open,
    source::ObjectSource,
};

/// Objects below an address.
#[derive(Debug)]
pub struct Bucket(ObjectSource);

impl Bucket {
    /// Of an address; on a web server, whose files nobody lists, objects can be opened by name alone.
    pub fn at(address: &str) -> Result<Self, AddressError> {
        Ok(Self(open(address)?))
    }

    /// The names of all objects below the address, in order.
    pub fn names(&self) -> Result<Vec<String>, AddressError> {
        let address = self.0.place().to_string_lossy().into_owned();
        let refused = |reason: String, help| AddressError { address: address.clone(), reason, help };
        if matches!(Address::parse(&address)?, Address::Server { .. }) {
            let reason = "a web server does not say which files it has".into();
            return Err(refused(reason, "name a file, or a folder in an object store: s3://BUCKET/PREFIX"));
        }
        let failed = |e: &(dyn Error + 'static)| refused(deepest(e), "check the address and the rights of the keys");
        let prefix = self.0.prefix.trim_end_matches('/');
        let prefix = ObjectPath::parse(prefix).map_err(|e| failed(&e))?;
        let below = Some(&prefix).filter(|p| !p.as_ref().is_empty());
        let all: Vec<_> = self.0.runtime.block_on(self.0.objects.list(below).try_collect()).map_err(|e| failed(&e))?;
        let name = |path: &ObjectPath| path.as_ref().strip_prefix(&self.0.prefix).map(str::to_owned);
        let mut names: Vec<String> = all.iter().filter_map(|meta| name(&meta.location)).collect();
        names.sort_unstable();
        Ok(names)
    }

    /// An object; nothing where there is none of that name.
    pub fn open(&self, name: &str) -> Result<Option<Opened>, ReadError> {
        self.0.open(name)
    }

    /// The address.
    pub fn place(&self) -> &Path {
        self.0.place()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use object_store::{PutPayload, memory::InMemory};

    use super::*;
    use crate::objects::runtime;

    #[test]
    fn objects_beside_the_address_are_not_below_it() {
        let (memory, runtime) = (Arc::new(InMemory::new()), Arc::new(runtime().unwrap()));
        for name in ["fleet/b.jsonl", "fleet/2026/a.csv", "fleet-of-others/c.jsonl", "d.jsonl"] {
            let payload = PutPayload::from_static(b"x");
            runtime.block_on(object_store::ObjectStoreExt::put(memory.as_ref(), &name.into(), payload)).unwrap();
        }
        let objects = memory as Arc<dyn ObjectStore>;
        let below = |prefix: &str| {
            let place = format!("s3://telemetry/{prefix}");
            Bucket(ObjectSource::new(Path::new(&place), Arc::clone(&objects), prefix, Arc::clone(&runtime)))
        };
        assert_eq!(below("fleet/").names().unwrap(), ["2026/a.csv", "b.jsonl"]);
        assert_eq!(below("").names().unwrap().len(), 4);
        assert!(below("fleet/").open("2026/a.csv").unwrap().is_some_and(|o| o.bytes == 1));
        let server = ObjectSource::new(Path::new("https://a/b"), objects, "", runtime);
        assert!(Bucket(server).names().unwrap_err().to_string().contains("does not say which files"));
    }
}
