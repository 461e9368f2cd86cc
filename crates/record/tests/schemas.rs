//! Holds the JSON Schemas to the types. `PLIMSOLL_BLESS=1` writes them again.

use std::{fs, path::Path};

#[test]
fn schemas_that_are_not_the_types_are_found() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas");
    for (kind, schema) in plimsoll_record::schemas() {
        let path = folder.join(format!("{kind}.json"));
        let text = serde_json::to_string_pretty(&schema).unwrap() + "\n";
        if std::env::var_os("PLIMSOLL_BLESS").is_some() {
            fs::write(&path, &text).unwrap();
        }
        let committed = fs::read_to_string(&path).unwrap_or_default();
        assert!(committed == text, "{} differs from the type; PLIMSOLL_BLESS=1 writes it again", path.display());
    }
}
