//! Private keys in tokens and hardware modules, by PKCS#11: the key stays inside, a digest goes in, a signature comes out.
//!
//! A key is named by a URI (RFC 7512), such as `pkcs11:token=releases;object=engineer?module-path=/usr/lib/softhsm/libsofthsm2.so`.
//! A PIN never stands in it: `pin-value` is refused, `pin-source` names a file that its owner alone may read.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use cryptoki::{
    context::{CInitializeArgs, CInitializeFlags, Pkcs11},
    error::{Error, RvError},
    mechanism::Mechanism,
    object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle},
    session::{Session, UserType},
};
use p256::ecdsa::{Signature, VerifyingKey};
use sha2::{Digest, Sha256};

use super::{Asked, KeyError, KeySource, LIMIT, PublicKey, Secret, Secrets, file::refuse_exposed};
use crate::read_bounded;

/// Where a key is.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Uri {
    token: String,
    object: Option<String>,
    id: Option<Vec<u8>>,
    module: PathBuf,
    pin_source: Option<PathBuf>,
}

impl Uri {
    fn parse(text: &str) -> Result<Self, KeyError> {
        // The text is not shown where a PIN may stand in it.
        let refused = |reason: &str| KeyError::Uri { reason: reason.into() };
        let rest = text.strip_prefix("pkcs11:").ok_or_else(|| refused("it does not begin with `pkcs11:`"))?;
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let mut attributes = BTreeMap::new();
        for part in path.split(';').chain(query.split('&')).filter(|p| !p.is_empty()) {
            let (name, value) = part.split_once('=').ok_or_else(|| refused("an attribute has no `=`"))?;
            if name == "pin-value" {
                return Err(refused("a PIN stands in it, which others can read; use `pin-source` or the environment"));
            }
            let value = percent_decoded(value).ok_or_else(|| refused("a `%` is not followed by two hex digits"))?;
            if attributes.insert(name.to_owned(), value).is_some() {
                return Err(refused("an attribute is there twice"));
            }
        }
        let mut take = |name: &str| attributes.remove(name);
        let id = take("id");
        let mut text_of = |name: &str| -> Result<Option<String>, KeyError> {
            let text = take(name).map(String::from_utf8).transpose();
            text.map_err(|_| KeyError::Uri { reason: format!("its `{name}` is no UTF-8") })
        };
        let uri = Self {
            token: text_of("token")?.ok_or_else(|| refused("it names no `token`"))?,
            object: text_of("object")?,
            module: text_of("module-path")?.ok_or_else(|| refused("it names no `module-path`"))?.into(),
            pin_source: text_of("pin-source")?.map(|s| s.strip_prefix("file:").unwrap_or(&s).into()),
            id,
        };
        // `type=private` is what is meant, whether it is said or not.
        text_of("type")?;
        if uri.object.is_none() && uri.id.is_none() {
            return Err(refused("it names neither `object` nor `id`"));
        }
        match attributes.keys().next() {
            None => Ok(uri),
            Some(name) => Err(KeyError::Uri { reason: format!("its attribute `{name}` is not understood") }),
        }
    }

    fn find(&self, session: &Session, class: ObjectClass, what: &str) -> Result<ObjectHandle, KeyError> {
        let mut wanted = vec![Attribute::Class(class), Attribute::KeyType(KeyType::EC)];
        wanted.extend(self.object.iter().map(|label| Attribute::Label(label.clone().into_bytes())));
        wanted.extend(self.id.iter().map(|id| Attribute::Id(id.clone())));
        let found = session.find_objects(&wanted).map_err(|e| self.failed(&e))?;
        match found.as_slice() {
            [one] => Ok(*one),
            several => {
                let reason = format!("it holds {} {what} elliptic-curve keys of that name", several.len());
                Err(KeyError::Token { token: self.token.clone(), reason })
            }
        }
    }

    fn failed(&self, error: &Error) -> KeyError {
        let token = self.token.clone();
        match error {
            Error::Pkcs11(RvError::PinIncorrect, _) => KeyError::WrongSecret(Asked::Pin(token)),
            other => KeyError::Token { token, reason: other.to_string() },
        }
    }

    fn pin(&self, secrets: &dyn Secrets) -> Result<Secret, KeyError> {
        let asked = Asked::Pin(self.token.clone());
        let Some(path) = &self.pin_source else {
            return secrets.ask(&asked).ok_or(KeyError::Locked(asked));
        };
        let bytes = read_bounded(path, LIMIT)?;
        refuse_exposed(path)?;
        let text = String::from_utf8(bytes).map_err(|_| KeyError::WrongSecret(asked))?;
        Ok(Secret::new(text.trim_end_matches(['\r', '\n']).to_owned()))
    }
}

fn percent_decoded(text: &str) -> Option<Vec<u8>> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        decoded.push(if byte == b'%' {
            let digit = |b: Option<u8>| char::from(b?).to_digit(16).and_then(|d| u8::try_from(d).ok());
            let (high, low) = (digit(bytes.next())?, digit(bytes.next())?);
            high << 4 | low
        } else {
            byte
        });
    }
    Some(decoded)
}

/// A module is initialized once a process, whatever the number of its keys.
static MODULES: Mutex<BTreeMap<PathBuf, Pkcs11>> = Mutex::new(BTreeMap::new());

fn module(path: &Path) -> Result<Pkcs11, Error> {
    let mut modules = MODULES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(module) = modules.get(path) {
        return Ok(module.clone());
    }
    let module = Pkcs11::new(path)?;
    module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK))?;
    modules.insert(path.to_owned(), module.clone());
    Ok(module)
}

/// A private key in a token.
pub struct TokenKey {
    uri: Uri,
    session: Mutex<Session>,
    private: ObjectHandle,
    public: PublicKey,
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenKey({})", self.public.id())
    }
}

impl TokenKey {
    /// Opens the key that a URI names, and logs in to its token. The PIN is tried once: tokens lock after a few wrong ones.
    pub fn open(uri: &str, secrets: &dyn Secrets) -> Result<Self, KeyError> {
        let uri = Uri::parse(uri)?;
        let failed = |e| uri.failed(&e);
        let module = module(&uri.module).map_err(failed)?;
        let mut slots = Vec::new();
        for slot in module.get_slots_with_initialized_token().map_err(failed)? {
            if module.get_token_info(slot).map_err(failed)?.label().trim_end() == uri.token {
                slots.push(slot);
            }
        }
        let [slot] = slots.as_slice() else {
            let reason = format!("{} has {} tokens of that label", uri.module.display(), slots.len());
            return Err(KeyError::Token { token: uri.token, reason });
        };
        let session = module.open_ro_session(*slot).map_err(failed)?;
        let pin = uri.pin(secrets)?;
        match session.login(UserType::User, Some(&pin.expose().to_owned().into())) {
            // Sessions of one process share their login.
            Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => {}
            Err(e) => return Err(uri.failed(&e)),
        }
        let private = uri.find(&session, ObjectClass::PRIVATE_KEY, "private")?;
        let public = uri.find(&session, ObjectClass::PUBLIC_KEY, "public")?;
        let point = session.get_attributes(public, &[AttributeType::EcPoint]).map_err(failed)?;
        let Some(public) = point.iter().find_map(public_key) else {
            let reason = "its public key is no point of the curve P-256".into();
            return Err(KeyError::Token { token: uri.token, reason });
        };
        Ok(Self { session: Mutex::new(session), private, public, uri })
    }
}

/// A point as PKCS#11 gives it: uncompressed (SEC 1), in a DER octet string; some tokens leave the octet string out.
fn public_key(attribute: &Attribute) -> Option<PublicKey> {
    let Attribute::EcPoint(bytes) = attribute else { return None };
    let point = bytes.strip_prefix(&[0x04, 65]).filter(|rest| rest.len() == 65).unwrap_or(bytes);
    PublicKey::new(VerifyingKey::from_sec1_bytes(point).ok()?)
}

impl KeySource for TokenKey {
    fn public_key(&self) -> &PublicKey {
        &self.public
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let failed = |reason: String| KeyError::Sign { id: self.public.id(), reason };
        let session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        let raw = session.sign(&Mechanism::Ecdsa, self.private, &Sha256::digest(message));
        let raw = raw.map_err(|e| failed(format!("the token `{}` said: {e}", self.uri.token)))?;
        let der = Signature::from_slice(&raw).map_err(|_| failed("the token gave no ECDSA P-256 signature".into()))?;
        let der = der.to_der().as_bytes().to_vec();
        // Private and public objects of one label need not belong together.
        if !self.public.verifies(message, &der) {
            return Err(failed("the token's private key does not belong to its public key".into()));
        }
        Ok(der)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Parses a URI: the one place that does.
    fn check(uri: &str) -> Result<Uri, String> {
        Uri::parse(uri).map_err(|e| e.to_string())
    }

    #[test]
    fn uris_are_read_as_rfc_7512_writes_them() {
        let uri =
            check("pkcs11:token=my%20token;id=%01%ff;type=private?module-path=/m.so&pin-source=file:/pin").unwrap();
        let expected = Uri {
            token: "my token".into(),
            object: None,
            id: Some(vec![1, 255]),
            module: "/m.so".into(),
            pin_source: Some("/pin".into()),
        };
        assert_eq!(uri, expected);
        assert_eq!(check("pkcs11:object=k;token=t?module-path=m").unwrap().object.as_deref(), Some("k"));
    }

    #[test]
    fn a_pin_in_a_uri_is_refused_and_not_repeated() {
        let error = check("pkcs11:token=t;object=k?module-path=m&pin-value=123456").unwrap_err();
        assert!(error.contains("a PIN stands in it") && !error.contains("123456"), "{error}");
    }

    #[test]
    fn uris_that_name_no_key_are_refused() {
        for (uri, says) in [
            ("file:x", "does not begin"),
            ("pkcs11:object=k?module-path=m", "names no `token`"),
            ("pkcs11:token=t?module-path=m", "neither `object` nor `id`"),
            ("pkcs11:token=t;object=k", "names no `module-path`"),
            ("pkcs11:token=t;object=%zz?module-path=m", "two hex digits"),
            ("pkcs11:token=t;object=%ff?module-path=m", "no UTF-8"),
            ("pkcs11:token=t;token=t;object=k?module-path=m", "twice"),
            ("pkcs11:token=t;object=k;slot-id=1?module-path=m", "`slot-id` is not understood"),
            ("pkcs11:token", "has no `=`"),
        ] {
            let error = check(uri).unwrap_err();
            assert!(error.contains(says), "{uri}: {error}");
        }
    }
}
