//! What this process may give to files: owners, device nodes, overlayfs's attribute.

use std::fs;

use super::super::entries::Entry;

const SETUID_SETGID: u32 = 0o6000;

/// What this process may do with files, which depends on its user namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Privilege {
    /// Whether device nodes can be made: only as root of the machine.
    pub devices: bool,
    /// Whether this is root of the machine, whose overlayfs reads `trusted.*` attributes; else `user.*`.
    pub trusted: bool,
    /// Ids that exist here, as first and count, of users and groups. None: owners cannot be set at all.
    pub ids: Option<(Ranges, Ranges)>,
}

/// Ranges of ids: first and count.
pub type Ranges = Vec<(u32, u32)>;

/// An entry's owner and mode, as far as they can be had here.
#[derive(Debug, PartialEq, Eq)]
pub struct Owner {
    /// User and group to set; none: leave it.
    pub ids: Option<(rustix::fs::Uid, rustix::fs::Gid)>,
    /// Permission bits.
    pub mode: u32,
    /// What was lost.
    pub note: Option<&'static str>,
}

impl Privilege {
    /// That of this process, by its user namespace's maps.
    pub fn of_this_process() -> Self {
        let ranges = |file| fs::read_to_string(file).map(|text| parse_map(&text)).unwrap_or_default();
        let root = rustix::process::geteuid().is_root();
        let (users, groups) = (ranges("/proc/self/uid_map"), ranges("/proc/self/gid_map"));
        let whole = |ranges: &Ranges| ranges.first() == Some(&(0, u32::MAX));
        let trusted = root && whole(&users);
        let single = users.iter().map(|(_, count)| *count).sum::<u32>() <= 1;
        let ids = (root && !single).then_some((users, groups));
        Self { devices: trusted, trusted, ids }
    }

    /// The attribute that makes a directory hide the lower layers' one.
    pub fn opaque_attribute(&self) -> &'static str {
        if self.trusted { "trusted.overlay.opaque" } else { "user.overlay.opaque" }
    }

    /// What an entry's owner becomes. An id that does not exist here becomes root's, and its setuid bits go: they would
    /// give more than they gave.
    pub fn owner(&self, entry: &Entry) -> Owner {
        let has = |ranges: &Ranges, id: u32| ranges.iter().any(|(first, count)| id >= *first && id - first < *count);
        let (user_fits, group_fits) = match &self.ids {
            Some((users, groups)) => (has(users, entry.uid), has(groups, entry.gid)),
            None => (entry.uid == 0, entry.gid == 0),
        };
        let fits = user_fits && group_fits;
        let raw = |id: u32, fits: bool| if fits { id } else { 0 };
        let ids = self.ids.is_some().then(|| {
            let uid = rustix::fs::Uid::from_raw(raw(entry.uid, user_fits));
            (uid, rustix::fs::Gid::from_raw(raw(entry.gid, group_fits)))
        });
        let mode = if fits { entry.mode } else { entry.mode & !SETUID_SETGID };
        Owner { ids, mode, note: (!fits).then_some("owner replaced by root: no such id in this user namespace") }
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
