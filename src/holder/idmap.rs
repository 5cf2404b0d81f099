//! Which ids exist in a user namespace: what the kernel says, and what /etc/subuid grants.

use std::fs;
use std::io;

/// A run of ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// The first one in the namespace.
    pub inside: u32,
    /// The first one on the host.
    pub outside: u32,
    /// How many.
    pub count: u32,
}

/// This process's `uid_map` or `gid_map`.
///
/// # Errors
/// /proc is not there.
pub fn read(file: &str) -> io::Result<Vec<Range>> {
    let text = fs::read_to_string(format!("/proc/self/{file}"))?;
    let range = |line: &str| {
        let mut words = line.split_ascii_whitespace().map(|word| word.parse().ok());
        Some(Range { inside: words.next()??, outside: words.next()??, count: words.next()?? })
    };
    Ok(text.lines().filter_map(range).collect())
}

/// The map as text.
pub fn name(map: &[Range]) -> String {
    let ranges = map.iter().map(|range| format!("{}:{}:{}", range.inside, range.outside, range.count));
    ranges.collect::<Vec<_>>().join(",")
}

/// Whether it maps every id to itself: there is no user namespace, or one that changes nothing.
pub fn is_initial(map: &[Range]) -> bool {
    matches!(map, [Range { inside: 0, outside: 0, count: u32::MAX }])
}

/// What root in the namespace is outside.
pub fn outside_of_root(map: &[Range]) -> u32 {
    map.iter().find(|range| range.inside == 0).map_or(0, |range| range.outside)
}

/// The id, outside of any namespace of pierless, of the user whom this process works for: what the directories of
/// that user are named by.
pub fn host_uid() -> u32 {
    let uid = rustix::process::geteuid();
    if !uid.is_root() {
        return uid.as_raw();
    }
    read("uid_map").map_or(0, |map| outside_of_root(&map))
}

/// The ranges that a file like /etc/subuid grants, as `(first, count)`; entries go by name or by number.
pub fn granted(text: &str, name: Option<&str>, uid: u32) -> Vec<(u32, u32)> {
    let uid = uid.to_string();
    let grant = |line: &str| {
        let mut parts = line.split(':');
        let who = parts.next()?;
        if who != uid && Some(who) != name {
            return None;
        }
        let first = parts.next()?.trim().parse().ok()?;
        let count = parts.next()?.trim().parse().ok()?;
        (count > 0).then_some((first, count))
    };
    let mut ranges: Vec<(u32, u32)> = text.lines().filter_map(grant).collect();
    ranges.dedup();
    ranges
}

/// Root inside is the user; after it come the granted ranges, without gaps.
pub fn mapping(own: u32, granted: &[(u32, u32)]) -> Vec<Range> {
    let mut map = vec![Range { inside: 0, outside: own, count: 1 }];
    let mut next = 1u32;
    for &(first, count) in granted {
        let count = count.min(u32::MAX - 1 - next);
        if count == 0 {
            break;
        }
        map.push(Range { inside: next, outside: first, count });
        next += count;
    }
    map
}

/// The user's name by /etc/passwd, else as the environment has it. Not by the C library: a static executable has no
/// name services.
pub fn user_name(uid: u32) -> Option<String> {
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let named = passwd.lines().find_map(|line| {
        let mut parts = line.split(':');
        let name = parts.next()?;
        (parts.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    });
    named.or_else(|| std::env::var("USER").ok()).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grants_by_name_and_number() {
        let text = "alice:100000:65536\nbob:165536:65536\n1000:300000:10\nalice:400000:0\nalice:x:1\n";
        assert_eq!(granted(text, Some("alice"), 1000), [(100_000, 65_536), (300_000, 10)]);
        assert_eq!(granted(text, None, 7), []);
    }

    #[test]
    fn maps_without_gaps() {
        let map = mapping(1000, &[(100_000, 65_536), (300_000, 10)]);
        assert_eq!(map[0], Range { inside: 0, outside: 1000, count: 1 });
        assert_eq!(map[1], Range { inside: 1, outside: 100_000, count: 65_536 });
        assert_eq!(map[2], Range { inside: 65_537, outside: 300_000, count: 10 });
        assert_eq!(outside_of_root(&map), 1000);
        assert_eq!(name(&map), "0:1000:1,1:100000:65536,65537:300000:10");
        assert!(!is_initial(&map));
        assert!(is_initial(&[Range { inside: 0, outside: 0, count: u32::MAX }]));
    }
}
