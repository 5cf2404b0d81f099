//! `pierless reset`: ends everything and removes all that is stored.

use std::fs;
use std::io::{self, IsTerminal, Write};

use super::Error;
use crate::holder;
use crate::state::paths::Home;
use crate::sys::tree;

/// The verb. Asks first, unless `force` is given.
pub fn reset(home: &Home, force: bool) -> Result<(), Error> {
    if !force && !confirmed(home)? {
        return Err(Error::Unconfirmed);
    }
    // In the user's namespaces, or what belongs to a container's users could not be removed.
    let _alone = holder::enter_alone(home)?;
    let mut left = false;
    for path in home.contents() {
        match tree::remove(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                eprintln!("pierless: {}: {error}", path.display());
                left = true;
            }
            _ => {}
        }
    }
    // What else is in there is not pierless's.
    let _ = fs::remove_dir(&home.data);
    if left { Err(Error::Said) } else { Ok(()) }
}

fn confirmed(home: &Home) -> Result<bool, Error> {
    if !io::stdin().is_terminal() {
        return Ok(false);
    }
    eprint!(
        "All containers end, and all containers, images and volumes in {} are removed for good. Go on? [y/N] ",
        home.data.display()
    );
    let _ = io::stderr().flush();
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).map_err(Error::doing("read the answer"))?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
