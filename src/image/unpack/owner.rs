//! What this process may give to files: owners, overlayfs's attribute.

use std::fs;

use super::super::entries::Entry;

const SETUID_SETGID: u32 = 0o6000;

/// What this process may do with files, which depends on its user namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Privilege {
    /// Whether this is root of the machine, whose overlayfs reads `trusted.*` attributes; else `user.*`.
    pub trusted: bool,
    /// Ids that exist here, as first and count, of users and groups. None: this is no root, and cannot set owners.
    pub ids: Option<(Ranges, Ranges)>,
}

/// Ranges of ids: first and count.
pub type Ranges = Vec<(u32, u32)>;

/// An entry's owner and mode.
#[derive(Debug, PartialEq, Eq)]
pub struct Owner {
    /// User and group to set; none: leave it.
    pub ids: Option<(rustix::fs::Uid, rustix::fs::Gid)>,
    /// Permission bits.
    pub mode: u32,
}

impl Privilege {
    /// That of this process, by its user namespace's maps.
    pub fn of_this_process() -> Self {
        let ranges = |file| fs::read_to_string(file).map(|text| parse_map(&text)).unwrap_or_default();
        let root = rustix::process::geteuid().is_root();
        let (users, groups) = (ranges("/proc/self/uid_map"), ranges("/proc/self/gid_map"));
        let trusted = root && users.first() == Some(&(0, u32::MAX));
        Self { trusted, ids: root.then_some((users, groups)) }
    }

    /// The attribute that makes a directory hide the lower layers' one.
    pub fn opaque_attribute(&self) -> &'static str {
        if self.trusted { "trusted.overlay.opaque" } else { "user.overlay.opaque" }
    }

    /// What an entry's owner becomes.
    ///
    /// # Errors
    /// Which id does not exist here: the file would be somebody else's.
    pub fn owner(&self, entry: &Entry) -> Result<Owner, String> {
        let Some((users, groups)) = &self.ids else {
            // Without the owner, its bits would give more than they gave.
            return Ok(Owner { ids: None, mode: entry.mode & !SETUID_SETGID });
        };
        for (what, ranges, id) in [("user", users, entry.uid), ("group", groups, entry.gid)] {
            if !ranges.iter().any(|(first, count)| id >= *first && id - first < *count) {
                return Err(format!(
                    "{what} id {id} does not exist here: give the user a larger range in /etc/sub{}id",
                    &what[..1]
                ));
            }
        }
        let ids = (rustix::fs::Uid::from_raw(entry.uid), rustix::fs::Gid::from_raw(entry.gid));
        Ok(Owner { ids: Some(ids), mode: entry.mode })
    }
}

/// Reads `/proc/self/uid_map`: first id inside, first outside, count.
fn parse_map(text: &str) -> Ranges {
    let line = |line: &str| {
        let mut numbers = line.split_ascii_whitespace().map(str::parse::<u32>);
        let inside = numbers.next()?.ok()?;
        let count = numbers.nth(1)?.ok()?;
        Some((inside, count))
    };
    text.lines().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_are_read() {
        assert_eq!(parse_map("         0          0 4294967295\n"), vec![(0, u32::MAX)]);
        assert_eq!(parse_map("0 1000 1\n1 100000 65536\n"), vec![(0, 1), (1, 65536)]);
    }
}
