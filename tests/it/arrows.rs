//! Inside a room, too, files import each other one way only: no circle.
//!
//! An arrow leads from a file to the file that has what it names: by `use`, or in a path that begins with `crate`,
//! `super`, `self` or a module of its own. What a module passes on by `use` belongs to where it was made, so that a
//! `mod.rs` which only declares and passes on is no knot. Methods say nothing about where they are: `engine.list()`
//! is no arrow.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use super::harness::source_tree;
use super::house::sources;

/// A module as a path of names, from the crate's root.
type Module = Vec<String>;

/// A module's file: what it declares, and what it names.
#[derive(Debug, Default)]
struct File {
    /// Names that it brings in, and the absolute paths that they stand for.
    names: BTreeMap<String, Module>,
    /// Absolute paths in its code, and in those uses that it does not only pass on.
    paths: Vec<Module>,
}

/// Code as words and marks, without comments, literals and tests.
fn tokens(text: &str) -> Vec<String> {
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or(text);
    let chars: Vec<char> = text.chars().collect();
    let at = |index: usize| chars.get(index).copied().unwrap_or('\0');
    let (mut found, mut index) = (Vec::new(), 0);
    while index < chars.len() {
        let start = index;
        match (at(index), at(index + 1)) {
            ('/', '/') => index += chars[index..].iter().take_while(|c| **c != '\n').count(),
            // A lifetime has no second quote where a character's would be.
            ('\'', next) if next == '\\' || at(index + 2) == '\'' => {
                index += 2 + usize::from(next == '\\');
                index += chars[index..].iter().take_while(|c| **c != '\'').count() + 1;
            }
            ('r', '#' | '"') if chars[index + 1..].iter().find(|c| **c != '#') == Some(&'"') => {
                let hashes = chars[index + 1..].iter().take_while(|c| **c == '#').count();
                let end: Vec<char> = std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
                index += hashes + 2;
                while index < chars.len() && !chars[index..].starts_with(&end) {
                    index += 1;
                }
                index += end.len();
            }
            ('"', _) => {
                index += 1;
                while index < chars.len() && at(index) != '"' {
                    index += 1 + usize::from(at(index) == '\\');
                }
                index += 1;
            }
            (':', ':') => {
                index += 2;
                found.push("::".to_owned());
            }
            (c, _) if c.is_alphanumeric() || c == '_' => {
                index += chars[index..].iter().take_while(|c| c.is_alphanumeric() || **c == '_').count();
                found.push(chars[start..index].iter().collect());
            }
            (c, _) => {
                index += 1;
                if !c.is_whitespace() && c != '$' {
                    found.push(c.to_string());
                }
            }
        }
    }
    found
}

fn is_word(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// A path with its braces from `index` on: every path in it with the name that it gets, and where it ends.
fn tree(tokens: &[String], mut index: usize, before: &[String], found: &mut Vec<(Module, String)>) -> usize {
    let mut path = before.to_vec();
    let at = |index: usize| tokens.get(index).map_or("", String::as_str);
    loop {
        match at(index) {
            "{" => {
                index += 1;
                while !["}", ""].contains(&at(index)) {
                    index = tree(tokens, index, &path, found);
                    index += usize::from(at(index) == ",");
                }
                return index + 1;
            }
            "*" => {
                found.push((path, "*".to_owned()));
                return index + 1;
            }
            word if is_word(word) => {
                if word != "self" || path.is_empty() {
                    path.push(word.to_owned());
                }
                index += 1;
            }
            _ => return index + 1,
        }
        match (at(index), at(index + 1)) {
            ("::", next) if is_word(next) || next == "{" || next == "*" => index += 1,
            ("as", name) => {
                found.push((path, name.to_owned()));
                return index + 2;
            }
            _ => {
                let name = path.last().cloned().unwrap_or_default();
                found.push((path, name));
                return index;
            }
        }
    }
}

/// A path as the crate's root sees it; none if it leads out of the crate.
fn absolute(path: &[String], module: &Module, modules: &BTreeSet<Module>) -> Option<Module> {
    let mut base = module.clone();
    let mut rest = path;
    match path.first()?.as_str() {
        "crate" => (base, rest) = (Module::new(), &path[1..]),
        "self" => rest = &path[1..],
        "super" => {}
        first => {
            base.push(first.to_owned());
            let own = modules.contains(&base);
            base.pop();
            if !own {
                return None;
            }
        }
    }
    while rest.first().is_some_and(|word| word == "super") {
        base.pop();
        rest = &rest[1..];
    }
    base.extend(rest.iter().cloned());
    Some(base)
}

fn read(text: &str, module: &Module, modules: &BTreeSet<Module>) -> File {
    let tokens = tokens(text);
    let at = |index: usize| tokens.get(index).map_or("", String::as_str);
    let mut file = File::default();
    // What is passed on, and the words outside of uses.
    let (mut passed_on, mut words) = (Vec::new(), BTreeSet::new());
    let mut index = 0;
    while index < tokens.len() {
        let starts_use = at(index) == "use" && (is_word(at(index + 1)) || at(index + 1) == "{");
        let starts_path = is_word(at(index)) && at(index + 1) == "::";
        let continues = index > 0 && ["::", "."].contains(&at(index - 1));
        let visibility = index > 2 && at(index - 1) == "in" && at(index - 3) == "pub";
        let mut found = Vec::new();
        if starts_use {
            let public = index > 0 && ["pub", ")"].contains(&at(index - 1));
            index = tree(&tokens, index + 1, &[], &mut found);
            for (path, name) in found {
                let Some(path) = absolute(&path, module, modules) else { continue };
                file.names.insert(name.clone(), path.clone());
                if public { passed_on.push((name, path)) } else { file.paths.push(path) }
            }
        } else if starts_path && !continues && !visibility {
            words.insert(tokens[index].clone());
            index = tree(&tokens, index, &[], &mut found);
            file.paths.extend(found.iter().filter_map(|(path, _)| absolute(path, module, modules)));
        } else {
            words.insert(tokens[index].clone());
            index += 1;
        }
    }
    file.paths.extend(passed_on.into_iter().filter(|(name, _)| words.contains(name)).map(|(_, path)| path));
    file
}

/// The module in which a path ends, through all that passes it on.
fn home(path: &Module, files: &BTreeMap<Module, File>) -> Option<Module> {
    let mut path = path.clone();
    for _ in 0..8 {
        let module =
            (0..=path.len()).rev().map(|len| path[..len].to_vec()).find(|module| files.contains_key(module))?;
        let next = path.get(module.len()).and_then(|name| files[&module].names.get(name));
        match next {
            Some(next) if *next != path => path = next.iter().chain(&path[module.len() + 1..]).cloned().collect(),
            _ => return Some(module),
        }
    }
    None
}

/// The arrows between the files of each room.
fn arrows(texts: &BTreeMap<Module, String>) -> BTreeMap<Module, BTreeSet<Module>> {
    let modules: BTreeSet<Module> = texts.keys().cloned().collect();
    let files: BTreeMap<Module, File> =
        texts.iter().map(|(module, text)| (module.clone(), read(text, module, &modules))).collect();
    let targets = |module: &Module, file: &File| {
        let homes = file.paths.iter().filter_map(|path| home(path, &files));
        homes.filter(|target| target != module && target.first() == module.first()).collect()
    };
    files.iter().map(|(module, file)| (module.clone(), targets(module, file))).collect()
}

/// The modules that can be reached from one.
fn reached(from: &Module, arrows: &BTreeMap<Module, BTreeSet<Module>>) -> BTreeSet<Module> {
    let mut seen = BTreeSet::new();
    let mut next: Vec<&Module> = arrows[from].iter().collect();
    while let Some(module) = next.pop() {
        if seen.insert(module.clone()) {
            next.extend(&arrows[module]);
        }
    }
    seen
}

/// Every arrow that is part of a circle, as text.
fn circles(arrows: &BTreeMap<Module, BTreeSet<Module>>) -> Vec<String> {
    let all: BTreeMap<&Module, BTreeSet<Module>> =
        arrows.keys().map(|module| (module, reached(module, arrows))).collect();
    let edges = arrows.iter().flat_map(|(from, to)| to.iter().map(move |to| (from, to)));
    edges
        .filter(|(from, to)| all[to].contains(*from))
        .map(|(from, to)| format!("{} -> {}", from.join("::"), to.join("::")))
        .collect()
}

/// The text of every module that is not a test.
fn crate_texts() -> BTreeMap<Module, String> {
    let root = source_tree().join("src");
    let mut paths = Vec::new();
    sources(&root, &mut paths);
    let module = |path: &Path| -> Module {
        let relative = path.strip_prefix(&root).unwrap().with_extension("");
        let names = relative.iter().map(|name| name.to_str().unwrap().to_owned());
        names.filter(|name| name != "mod" && name != "lib").collect()
    };
    let is_test = |module: &Module| module.last().is_some_and(|name| name == "tests");
    let texts = paths.iter().map(|path| (module(path), fs::read_to_string(path).unwrap()));
    texts.filter(|(module, _)| module.first().is_none_or(|name| name != "main") && !is_test(module)).collect()
}

#[test]
fn no_circles_in_a_room() {
    let all = arrows(&crate_texts());
    assert!(all.values().map(BTreeSet::len).sum::<usize>() > 100, "the reader sees hardly any arrow");
    let wrong = circles(&all);
    assert!(wrong.is_empty(), "arrows that close a circle:\n{wrong:#?}");
}

#[test]
fn the_reader_of_paths_reads() {
    let texts = |files: &[(&str, &str)]| -> BTreeMap<Module, String> {
        let module = |path: &str| path.split("::").filter(|name| !name.is_empty()).map(str::to_owned).collect();
        files.iter().map(|(path, text)| (module(path), (*text).to_owned())).collect()
    };
    let seen = |files: &[(&str, &str)]| circles(&arrows(&texts(files)));
    let parent = ("r", "pub mod a;\nmod b;\npub use a::A;\npub use b::B;\n");
    // Through what the parent passes on, by `super`, in braces, inline and in a macro's body: each is an arrow.
    for back in [
        "use crate::r::A;",
        "use super::A;",
        "use super::{a::{self, A}, other};",
        "fn f() -> super::a::A { todo() }",
        "macro_rules! m { () => { $crate::r::a::A }; }",
        "use super::a as other;",
        "use super::a::*;",
    ] {
        let files = [parent, ("r::a", "use super::b;\npub struct A;"), ("r::b", back)];
        assert_eq!(seen(&files), ["r::a -> r::b", "r::b -> r::a"], "{back}");
    }
    // Comments, literals, visibility, tests, other rooms and what is only passed on: none is.
    for other in [
        "// use super::a::A;",
        "const T: &str = \"super::a::A\"; const C: char = '\"'; const R: &str = r#\"super::a\"#;",
        "pub(in crate::r::a) struct B;",
        "struct B;\n#[cfg(test)]\nmod tests {\n    use super::super::a::A;\n}",
        "use crate::s::a::A;",
        "use std::{a::A, super_a};",
    ] {
        let files = [parent, ("r::a", "use super::b::B;"), ("r::b", other), ("s", "pub mod a;"), ("s::a", "")];
        assert!(seen(&files).is_empty(), "{other}");
    }
    // A parent that has something of its own is a file like others.
    let own = ("r", "mod a;\nmod b;\nstruct Own;\nfn f() { a::g() }");
    assert_eq!(seen(&[own, ("r::a", "use super::Own;"), ("r::b", "")]), ["r -> r::a", "r::a -> r"]);
}
