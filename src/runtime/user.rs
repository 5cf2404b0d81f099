//! Who `user[:group]` is, by the container's own /etc/passwd and /etc/group.

use std::path::Path;

use super::StartError;
use crate::spec::User;
use crate::sys::openat2::Root;

/// No system has such files of more than this many bytes, but an image could.
const LIMIT: u64 = 4 << 20;

/// Looks up a user (empty: root), their group and further groups.
///
/// # Errors
/// A name that the files do not have; a number that is no id.
pub fn resolve(root: &Root, user: &str, group_add: &[String]) -> Result<User, StartError> {
    let read = |path| String::from_utf8_lossy(&root.read(Path::new(path), LIMIT).unwrap_or_default()).into_owned();
    lookup(&read("/etc/passwd"), &read("/etc/group"), user, group_add)
}

struct Entry<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

fn users(passwd: &str) -> impl Iterator<Item = Entry<'_>> {
    passwd.lines().filter_map(|line| {
        let fields: Vec<&str> = line.trim().split(':').collect();
        let [name, _, uid, gid, _, home, ..] = fields[..] else { return None };
        Some(Entry { name, uid: in_range(uid)?, gid: in_range(gid)?, home })
    })
}

/// Name, id, members.
fn groups(group: &str) -> impl Iterator<Item = (&str, u32, &str)> {
    group.lines().filter_map(|line| {
        let fields: Vec<&str> = line.trim().split(':').collect();
        let [name, _, gid, ..] = fields[..] else { return None };
        Some((name, in_range(gid)?, fields.get(3).copied().unwrap_or_default()))
    })
}

fn lookup(passwd: &str, group: &str, asked: &str, group_add: &[String]) -> Result<User, StartError> {
    let (name, group_name) = asked.split_once(':').unwrap_or((asked, ""));
    let name = if name.is_empty() { "0" } else { name };
    let number = id(name)?;
    // A name made of digits that a user has goes before the number.
    let entry = users(passwd).find(|entry| entry.name == name).or_else(|| {
        let number = number?;
        users(passwd).find(|entry| entry.uid == number)
    });
    let missing = || StartError::other(format!("unable to find user {name}: no matching entries in passwd file"));
    let uid = entry.as_ref().map(|entry| entry.uid).or(number).ok_or_else(missing)?;
    let mut user = User {
        uid,
        gid: entry.as_ref().map_or(0, |entry| entry.gid),
        groups: Vec::new(),
        home: entry.as_ref().map(|entry| entry.home).filter(|home| !home.is_empty()).unwrap_or("/").to_owned(),
    };
    if group_name.is_empty() {
        if let Some(entry) = &entry {
            let member = |list: &str| list.split(',').any(|member| member == entry.name);
            user.groups.extend(groups(group).filter(|(_, _, list)| member(list)).map(|(_, gid, _)| gid));
        }
    } else {
        user.gid = find_group(group, group_name)?;
    }
    for name in group_add {
        user.groups.push(find_group(group, name)?);
    }
    // The kernel checks the further groups and the own one alike; getgroups(2) of a shell shows it, so Docker has it.
    if !user.groups.contains(&user.gid) {
        user.groups.insert(0, user.gid);
    }
    Ok(user)
}

fn find_group(group: &str, name: &str) -> Result<u32, StartError> {
    let found = groups(group).find(|(other, ..)| *other == name).map(|(_, gid, _)| gid);
    let missing = || StartError::other(format!("unable to find group {name}: no matching entries in group file"));
    found.or(id(name)?).ok_or_else(missing)
}

/// An id that exists: the highest number means "leave it as it is" to the kernel, which would leave root.
fn in_range(text: &str) -> Option<u32> {
    text.parse().ok().filter(|id| *id <= i32::MAX.unsigned_abs())
}

/// A number, if it is one.
fn id(text: &str) -> Result<Option<u32>, StartError> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(None);
    }
    in_range(text).map(Some).ok_or_else(|| StartError::other("uids and gids must be in range 0-2147483647"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nwww:x:33:33::/var/www:/bin/false\n42:x:7:8::/seven:\nbad:x:y:z\n\
         none:x:4294967295:0::/:\n";
    const GROUP: &str = "root:x:0:\nwww:x:33:\nadm:x:4:root,www\nvideo:x:44:www\n";

    fn who(asked: &str) -> Result<User, StartError> {
        lookup(PASSWD, GROUP, asked, &[])
    }

    #[test]
    fn names_and_numbers() {
        let root = who("").expect("root");
        assert_eq!((root.uid, root.gid, root.home.as_str(), &root.groups[..]), (0, 0, "/root", &[0, 4][..]));
        let www = who("www").expect("www");
        assert_eq!((www.uid, www.gid, &www.groups[..]), (33, 33, &[33, 4, 44][..]));
        assert_eq!(who("33").expect("by number"), www);
        let with_group = who("www:adm").expect("with group");
        assert_eq!((with_group.gid, &with_group.groups[..]), (4, &[4][..]));
        assert_eq!(who("1000:1000").expect("unknown numbers").home, "/");
        assert_eq!(who("1000").expect("unknown number").gid, 0);
        assert_eq!(who("42").expect("a name of digits").uid, 7);
    }

    #[test]
    fn refusals() {
        assert!(who("nobody").expect_err("name").message.contains("no matching entries in passwd file"));
        assert!(who("www:nogroup").expect_err("group").message.contains("no matching entries in group file"));
        assert!(who("4294967295").is_err());
        assert!(who("99999999999999").is_err());
        assert!(who("none").is_err());
    }

    #[test]
    fn added_groups() {
        let user = lookup("", "audio:x:29:\n", "5", &["audio".into(), "77".into()]).expect("user");
        assert_eq!(user.groups, [0, 29, 77]);
    }
}
