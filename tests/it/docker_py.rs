//! A second opinion: the Python client, which parses replies its own way.

use super::harness::Env;
use super::{fixtures, process};

#[test]
fn the_python_client_agrees() {
    let env = Env::new();
    let script = env.base().join("second_opinion.py");
    std::fs::write(&script, include_str!("second_opinion.py")).unwrap();
    let output = process::run(
        env.command("/usr/bin/python3")
            .arg(script)
            .arg(fixtures::busybox())
            .env("PYTHONPATH", fixtures::folder().join("py")),
    );
    assert_eq!((output.code, output.out.lines().last()), (0, Some("agreed")), "{}{}", output.out, output.err);
}
