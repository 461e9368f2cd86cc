//! Keys in a token, by SoftHSM (Debian's `softhsm2`). Where it is not installed, the test says so and ends.
#![cfg(feature = "pkcs11")]

use std::{
    env, fs,
    io::{self, Write as _},
    path::Path,
    process::Command,
};

use plimsoll_trust::{
    Asked, FileKey, KeyError, KeySource, Keyring, NoSecrets, PublicKey, Secret, Secrets,
    dsse::{Envelope, IN_TOTO},
    open_key,
};

const MODULES: [&str; 3] = [
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
];
const PIN: &str = "246813";
/// The child's place. SoftHSM is told of its tokens by the environment, which a process should not change under itself.
const PLACE: &str = "PLIMSOLL_TEST_TOKENS";

struct Pin(&'static str);

impl Secrets for Pin {
    fn ask(&self, asked: &Asked) -> Option<Secret> {
        assert_eq!(*asked, Asked::Pin("releases".into()));
        Some(Secret::new(self.0.into()))
    }
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&said));
}

#[test]
fn a_token_signs_and_a_wrong_pin_or_name_is_refused() {
    let Some(module) = MODULES.into_iter().find(|m| Path::new(m).is_file()) else {
        writeln!(io::stderr(), "SKIPPED: SoftHSM is not installed here (apt-get install softhsm2)").unwrap();
        return;
    };
    if let Some(place) = env::var_os(PLACE) {
        return check(Path::new(&place), module);
    }
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path();
    fs::create_dir(place.join("tokens")).unwrap();
    let config = place.join("softhsm2.conf");
    fs::write(&config, format!("directories.tokendir = {}\n", place.join("tokens").display())).unwrap();
    let key = FileKey::create(&place.join("engineer.pem")).unwrap();
    fs::write(place.join("public.pem"), key.public_key().pem()).unwrap();
    let tool = |arguments: &[&str]| {
        run(Command::new("softhsm2-util").env("SOFTHSM2_CONF", &config).current_dir(place).args(arguments));
    };
    tool(&["--init-token", "--free", "--label", "releases", "--so-pin", "97531", "--pin", PIN]);
    for (label, id) in [("engineer", "0a"), ("twice", "0b"), ("twice", "0c")] {
        let named = ["--import", "engineer.pem", "--token", "releases", "--label", label, "--id", id, "--pin", PIN];
        tool(&named);
    }
    let mut child = Command::new(env::current_exe().unwrap());
    run(child
        .env(PLACE, place)
        .env("SOFTHSM2_CONF", &config)
        .args(["--exact", "--nocapture"])
        .arg("a_token_signs_and_a_wrong_pin_or_name_is_refused"));
}

fn check(place: &Path, module: &str) {
    let uri = |rest: &str| format!("pkcs11:token=releases;{rest}?module-path={module}");
    let refused = |uri: &str, secrets: &dyn Secrets| open_key(uri, secrets).err().expect("this must be refused");

    // Before anybody is logged in: sessions share their login.
    let locked = refused(&uri("object=engineer"), &NoSecrets);
    assert!(matches!(locked, KeyError::Locked(Asked::Pin(_))), "{locked}");
    let wrong = refused(&uri("object=engineer"), &Pin("135790"));
    assert!(matches!(wrong, KeyError::WrongSecret(Asked::Pin(_))), "{wrong}");
    assert!(!format!("{wrong} {wrong:?}").contains("135790"));
    fs::write(place.join("pin"), format!("{PIN}\n")).unwrap();
    let from_file = format!("{}&pin-source=file:{}", uri("object=engineer"), place.join("pin").display());
    #[cfg(unix)]
    assert!(matches!(refused(&from_file, &NoSecrets), KeyError::Exposed { .. }));

    let public = PublicKey::read(&place.join("public.pem")).unwrap();
    let key = open_key(&uri("object=engineer"), &Pin(PIN)).unwrap();
    assert_eq!(*key.public_key(), public);
    let envelope = Envelope::sign(IN_TOTO, b"{}", &[key.as_ref()]).unwrap();
    assert_eq!(envelope.verify(IN_TOTO, &[&public], 1).unwrap(), b"{}");
    // A role's key may lie in a token as in a file.
    fs::write(place.join("by-id.key"), uri("id=%0a")).unwrap();
    let ring = Keyring::open_folder(place, &["by-id", "engineer"], &Pin(PIN)).unwrap();
    assert!(ring.iter().all(|(_, key)| key.public_key().verifies(b"message", &key.sign(b"message").unwrap())));

    for (uri, says) in [
        (uri("object=nobody"), "0 private"),
        (uri("object=twice"), "2 private"),
        (uri("object=engineer").replace("releases", "other"), "0 tokens"),
        (uri("object=engineer").replace("softhsm2.so", "absent.so"), "token `releases`"),
    ] {
        let error = refused(&uri, &Pin(PIN)).to_string();
        assert!(error.contains(says), "`{error}` does not say `{says}`");
    }
}
