//! Beside dockerd: what a dockerd 28.5 answered to the requests of tests/dockerd is recorded there as facts; pierless
//! answers the same, or a line of `differences.json` says why not.

use super::harness::{Env, source_tree};
use super::process;

#[test]
fn pierless_answers_as_dockerd_does() {
    let env = Env::new();
    let script = source_tree().join("tests/dockerd/record.py");
    let output = process::run(env.command("/usr/bin/python3").arg("-B").arg(script).arg("compare").arg(env.socket()));
    assert_eq!(output.code, 0, "{}{}", output.out, output.err);
}
