//! `pierless save`: images as an archive, on standard output or in a file that is whole or not there.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, IsTerminal};
use std::path::{Path, PathBuf};

use super::Error;
use super::args::Save;
use super::verbs::platforms;
use crate::engine::{self, Engine};

/// Bytes that go out at a time.
const BUFFER: usize = 256 << 10;

/// `pierless save`.
pub fn save(engine: &Engine, options: &Save) -> Result<(), Error> {
    if options.output.is_none() && io::stdout().is_terminal() {
        return Err(Error::Terminal);
    }
    let archive = engine.save_images(&options.images, &platforms(&options.platform)?).map_err(engine::Error::from)?;
    let write = |file: &File| archive.write(&mut BufWriter::with_capacity(BUFFER, file)).map_err(engine::Error::from);
    match &options.output {
        None => {
            let stdout = rustix::io::dup(rustix::stdio::stdout()).map_err(|err| Error::doing("write")(err.into()))?;
            Ok(write(&stdout.into())?)
        }
        // A device or a pipe is written to as it is.
        Some(path) if fs::metadata(path).is_ok_and(|there| !there.is_file()) => {
            Ok(write(&OpenOptions::new().write(true).open(path).map_err(Error::at(path))?)?)
        }
        Some(path) => {
            let beside = temporary(path);
            let whole = (|| -> Result<(), Error> {
                let file = File::create_new(&beside).map_err(Error::at(&beside))?;
                write(&file)?;
                file.sync_all().and_then(|()| fs::rename(&beside, path)).map_err(Error::at(path))
            })();
            whole.inspect_err(|_| drop(fs::remove_file(&beside)))
        }
    }
}

/// A neighbour of a file: what is there stays until the new one is whole.
fn temporary(path: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}", std::process::id()));
    path.with_file_name(name)
}
