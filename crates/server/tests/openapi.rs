//! The committed API description is the one that the code makes.

use std::path::Path;

#[test]
fn the_committed_description_is_the_generated_one() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../openapi/salus.json");
    let generated = salus_server::openapi_document();
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    if committed != generated {
        let fresh = Path::new(env!("CARGO_TARGET_TMPDIR")).join("salus.json");
        std::fs::write(&fresh, generated).unwrap();
        panic!(
            "the API has changed: look at {} and commit it",
            fresh.display()
        );
    }
}

#[test]
fn every_operation_says_what_it_is_for_and_how_it_fails() {
    let document: serde_json::Value =
        serde_json::from_str(salus_server::openapi_document()).unwrap();
    assert_eq!(document["openapi"], "3.1.0");
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let name = format!("{method} {path}");
            assert!(
                operation["summary"].as_str().is_some_and(|s| !s.is_empty()),
                "{name}"
            );
            assert!(
                operation["tags"].as_array().is_some_and(|t| t.len() == 1),
                "{name}"
            );
        }
    }
}

#[test]
fn every_reference_names_a_schema_that_is_there() {
    let document: serde_json::Value =
        serde_json::from_str(salus_server::openapi_document()).unwrap();
    let schemas = document["components"]["schemas"].as_object().unwrap();
    let mut open = vec![&document];
    while let Some(value) = open.pop() {
        match value {
            serde_json::Value::Object(fields) => {
                if let Some(reference) = fields.get("$ref").and_then(|r| r.as_str()) {
                    let name = reference
                        .strip_prefix("#/components/schemas/")
                        .unwrap_or_default();
                    assert!(schemas.contains_key(name), "{reference}");
                }
                open.extend(fields.values());
            }
            serde_json::Value::Array(items) => open.extend(items),
            _ => {}
        }
    }
}
