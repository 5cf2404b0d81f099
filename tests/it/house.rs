//! The rooms of src/lib.rs import each other downwards only.

use std::fs;
use std::path::{Path, PathBuf};

use super::harness::source_tree;

/// Each room and the rooms that it may name.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("sys", &[]),
    ("model", &["sys"]),
    ("state", &["model", "sys"]),
    ("cgroup", &["state", "model", "sys"]),
    ("holder", &["cgroup", "state", "model", "sys"]),
    ("spec", &["state", "model", "sys"]),
    ("runtime", &["spec", "holder", "state", "model", "sys"]),
    ("registry", &["model", "sys"]),
    ("image", &["registry", "holder", "state", "model", "sys"]),
    ("network", &["holder", "cgroup", "state", "model", "sys"]),
    ("monitor", &["network", "runtime", "spec", "holder", "cgroup", "state", "model", "sys"]),
    (
        "engine",
        &["image", "registry", "spec", "monitor", "network", "runtime", "holder", "cgroup", "state", "model", "sys"],
    ),
    ("api", &["engine", "image", "registry", "state", "model", "sys"]),
    ("cli", &["engine", "image", "registry", "monitor", "holder", "cgroup", "state", "model", "sys"]),
    ("server", &["api", "engine", "state", "model", "sys"]),
];

/// Crates that only these rooms may name.
const OWNED: &[(&str, &[&str])] = &[
    ("tokio", &["server", "api", "registry"]),
    ("hyper", &["server", "api", "registry"]),
    ("http", &["server", "api", "registry"]),
    ("rustls", &["registry"]),
    ("toml", &["registry"]),
    ("libseccomp", &["runtime"]),
    ("clap", &["cli"]),
    ("netlink_packet_core", &["network"]),
    ("netlink_packet_route", &["network"]),
];

pub fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap().flatten() {
        if entry.path().is_dir() {
            sources(&entry.path(), found);
        } else if entry.path().extension().is_some_and(|extension| extension == "rs") {
            found.push(entry.path());
        }
    }
}

/// The rooms of `crate::room::…` and `crate::{room::…, other}` in a line.
fn rooms_in(line: &str) -> Vec<&str> {
    let word = |text: &'_ str| text.find(|c: char| !c.is_ascii_lowercase() && c != '_').unwrap_or(text.len());
    let mut rooms = Vec::new();
    for rest in line.split("crate::").skip(1) {
        match rest.strip_prefix('{') {
            None => rooms.push(&rest[..word(rest)]),
            Some(list) => {
                let mut depth = 0;
                let mut at_start = true;
                for (index, c) in list.char_indices() {
                    match c {
                        '{' => depth += 1,
                        '}' => depth -= 1,
                        ',' if depth == 0 => at_start = true,
                        ' ' => {}
                        _ if at_start => {
                            rooms.push(&list[index..index + word(&list[index..])]);
                            at_start = false;
                        }
                        _ => {}
                    }
                    if depth < 0 {
                        break;
                    }
                }
            }
        }
    }
    rooms.retain(|room| !room.is_empty());
    rooms
}

/// A file's statements with `crate::` in them, each on one line, tests and comments left out.
fn statements(text: &str) -> Vec<String> {
    let code = text.split("#[cfg(test)]\nmod ").next().unwrap_or(text);
    let lines = code.lines().map(str::trim).filter(|line| !line.starts_with("//"));
    lines.collect::<Vec<_>>().join(" ").split(';').filter(|part| part.contains("crate::")).map(str::to_owned).collect()
}

#[test]
fn imports_go_down() {
    let root = source_tree().join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    let mut wrong = Vec::new();
    for file in files {
        let relative = file.strip_prefix(&root).unwrap();
        let first = relative.components().next().unwrap().as_os_str().to_str().unwrap();
        let room = first.trim_end_matches(".rs");
        if ["main", "lib", "role"].contains(&room) {
            continue;
        }
        let Some((_, may)) = MAY_IMPORT.iter().find(|(name, _)| *name == room) else {
            wrong.push(format!("{}: a room that is not on the list", relative.display()));
            continue;
        };
        let text = fs::read_to_string(&file).unwrap();
        for statement in statements(&text) {
            for named in rooms_in(&statement) {
                let known = MAY_IMPORT.iter().any(|(name, _)| *name == named);
                if known && named != room && !may.contains(&named) {
                    wrong.push(format!("{}: {room} names {named}", relative.display()));
                }
            }
        }
        for (name, owners) in OWNED {
            let uses = |line: &str| {
                let line = line.trim_start();
                let line = line.strip_prefix("pub ").unwrap_or(line);
                line.strip_prefix("use ").is_some_and(|rest| rest.starts_with(&format!("{name}::")))
            };
            if !owners.contains(&room) && text.lines().any(uses) {
                wrong.push(format!("{}: {room} names {name}", relative.display()));
            }
        }
    }
    wrong.sort();
    wrong.dedup();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn unsafe_is_in_sys_only() {
    let root = source_tree().join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    for file in files {
        let relative = file.strip_prefix(&root).unwrap();
        let allows = fs::read_to_string(&file).unwrap().contains("allow(unsafe_code)");
        assert!(!allows || relative.starts_with("sys"), "{}", relative.display());
    }
}

#[test]
fn the_reader_of_imports_reads() {
    assert_eq!(rooms_in("use crate::model::time"), ["model"]);
    assert_eq!(rooms_in("use crate::{image, state::{lock, paths}, sys}"), ["image", "state", "sys"]);
    assert_eq!(statements("// crate::a\nuse crate::b::{\n    c,\n};\nfn x() {}\n"), ["use crate::b::{ c, }"]);
}
