//! The checked-in OpenAPI document is the one that the route table and the handlers' types give.

use super::harness::source_tree;

#[test]
fn golden_document() {
    let path = source_tree().join("openapi/openapi.json");
    let generated = pierless::openapi::generate();
    if std::env::var_os("PIERLESS_BLESS").is_some() {
        std::fs::write(&path, &generated).unwrap();
    }
    let checked_in = std::fs::read_to_string(&path).unwrap();
    let line = generated.lines().zip(checked_in.lines()).position(|(new, old)| new != old);
    assert!(
        generated == checked_in,
        "openapi/openapi.json is not what the code gives (first at line {:?}); PIERLESS_BLESS=1 renews it",
        line.map(|line| line + 1)
    );
}
