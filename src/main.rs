//! The one executable: see [`pierless::main`].

use std::process::ExitCode;

fn main() -> ExitCode {
    pierless::main()
}
