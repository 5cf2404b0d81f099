//! Requests that nobody thought of, made from the API's own description.

use super::fixtures;
use super::harness::{Env, source_tree};
use super::process;

/// `PIERLESS_FUZZ_SECONDS` and `PIERLESS_FUZZ_SEED` say how long, and which requests.
#[test]
fn no_request_fails_by_our_fault() {
    let mut env = Env::with_busybox();
    let setting = |name: &str, default: &str| std::env::var(name).unwrap_or(default.to_owned());
    let output = process::run_for(
        env.command("/usr/bin/python3")
            .arg(source_tree().join("tests/it/fuzz.py"))
            .arg(env.socket())
            .arg(source_tree().join("openapi/openapi.json"))
            .arg(setting("PIERLESS_FUZZ_SECONDS", "30"))
            .arg(setting("PIERLESS_FUZZ_SEED", "1"))
            .env("PYTHONPATH", fixtures::folder().join("fuzz")),
        std::time::Duration::from_secs(3600),
    );
    assert_eq!(output.code, 0, "{}{}", output.out, output.err);
    assert!(output.out.contains("generated"), "no request was made: {}", output.out);
    let server = env.server.as_mut().unwrap();
    assert!(server.is_running(), "the API has ended: {}", server.err.now());
    assert!(!server.err.now().contains("panicked"), "{}", server.err.now());
}
