//! The short verbs: `ps`, `logs`, `stop`, `rm`, `load`, `images`, `unshare`.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::Command;

use super::Error;
use super::args::{Images, Load, Logs, Ps, Rm, Stop, Unshare};
use super::run::wait_readable;
use crate::engine::containers::{ListOptions, LogOptions, Round};
use crate::engine::images::parse_platform;
use crate::engine::{self, Engine};
use crate::image::Store;
use crate::image::outcome::Progress;
use crate::image::platform::Platform;
use crate::model::ErrorKind;
use crate::model::ids::short;
use crate::model::time::{human_duration, now};
use crate::state::logfile::{Selection, Stream};
use crate::state::paths::Home;

/// Rows as text, each column as wide as its widest cell.
fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(&format!("{cell:width$}   "));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// To standard output; a reader that has gone is no failure.
fn print(text: &str) -> Result<(), Error> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Error::doing("print")(error)),
        _ => Ok(()),
    }
}

fn heading(cells: &[&str]) -> Vec<String> {
    cells.iter().map(|cell| (*cell).to_owned()).collect()
}

/// `pierless ps`.
pub fn ps(engine: &Engine, options: &Ps) -> Result<(), Error> {
    let views = engine.list(&ListOptions { all: options.all, ..ListOptions::default() })?;
    let id = |id: &str| if options.no_trunc { id.to_owned() } else { short(id).to_owned() };
    if options.quiet {
        return print(&views.iter().map(|view| id(&view.record.id) + "\n").collect::<String>());
    }
    let mut rows = vec![heading(&["CONTAINER ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "NAMES"])];
    rows.extend(views.iter().map(|view| {
        let record = &view.record;
        let words: Vec<&str> = std::iter::once(&record.path).chain(&record.args).map(String::as_str).collect();
        let mut command = words.join(" ");
        if !options.no_trunc && command.chars().count() > 20 {
            command = command.chars().take(19).chain(['…']).collect();
        }
        let created = format!("{} ago", human_duration(now() - record.created));
        vec![
            id(&record.id),
            record.image.clone(),
            format!("{command:?}"),
            created,
            view.status_text(),
            record.name.clone(),
        ]
    }));
    print(&table(&rows))
}

/// `pierless logs`.
pub fn logs(engine: &Engine, options: &Logs) -> Result<(), Error> {
    let selection = Selection { tail: options.tail, ..Selection::default() };
    let wanted = LogOptions { stdout: true, stderr: true, follow: options.follow, selection };
    let mut logs = engine.logs(&options.container, wanted)?;
    loop {
        let mut failed = None;
        let round = logs.read(|entry| {
            let mut line = Vec::new();
            if options.timestamps {
                line.extend(entry.timestamp().bytes().chain(*b" "));
            }
            line.extend(entry.bytes);
            let written = match entry.stream {
                Stream::Stdout => io::stdout().lock().write_all(&line),
                Stream::Stderr => io::stderr().lock().write_all(&line),
            };
            failed = written.err();
            failed.is_none()
        })?;
        match failed.or(io::stdout().flush().err()) {
            Some(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            Some(error) => return Err(Error::doing("print")(error)),
            None => {}
        }
        match round {
            Round::More => {}
            Round::Later => wait_readable(logs.wakes())?,
            Round::End => return Ok(()),
        }
    }
}

/// Does something to each, names those it was done to, and goes on after a failure.
fn each(names: &[String], act: impl Fn(&str) -> engine::Result<()>) -> Result<(), Error> {
    let mut failed = false;
    for name in names {
        match act(name) {
            Ok(()) => print(&format!("{name}\n"))?,
            Err(error) => {
                eprintln!("pierless: {error}");
                failed = true;
            }
        }
    }
    if failed { Err(Error::Said) } else { Ok(()) }
}

/// `pierless stop`.
pub fn stop(engine: &Engine, options: &Stop) -> Result<(), Error> {
    let mut names = options.containers.clone();
    if options.all {
        names.extend(engine.list(&ListOptions::default())?.into_iter().map(|view| view.record.name.clone()));
    }
    each(&names, |name| match engine.stop(name, None, options.timeout) {
        Err(error) if error.kind() == ErrorKind::NotModified => Ok(()),
        other => other,
    })
}

/// `pierless rm`.
pub fn rm(engine: &Engine, options: &Rm) -> Result<(), Error> {
    each(&options.containers, |name| engine.remove(name, options.force))
}

/// `pierless load`.
pub fn load(engine: &Engine, options: &Load) -> Result<(), Error> {
    let body: Box<dyn Read + Send> = match &options.input {
        Some(path) => Box::new(File::open(path).map_err(Error::at(path))?),
        None => Box::new(io::stdin()),
    };
    let mut said = String::new();
    let loaded = engine.load_images(body, &platforms(&options.platform)?, &mut |progress| match progress {
        Progress::Loaded(name) => said.push_str(&format!("Loaded image: {}\n", name.familiar())),
        Progress::LoadedId(id) => said.push_str(&format!("Loaded image ID: {id}\n")),
        Progress::Note(note) => eprintln!("{note}"),
        Progress::Layer { .. } | Progress::Renamed { .. } => {}
    });
    loaded.map_err(engine::Error::from)?;
    print(&said)
}

/// The machines that are asked for.
pub(super) fn platforms(texts: &[String]) -> Result<Vec<Platform>, Error> {
    texts.iter().map(|text| parse_platform(text).map_err(|err| engine::Error::from(err).into())).collect()
}

/// `pierless images`.
pub fn images(engine: &Engine, options: &Images) -> Result<(), Error> {
    let store = Store::open(engine.home()).map_err(engine::Error::from)?;
    let refs = store.refs().map_err(engine::Error::from)?;
    let mut metas = store.metas().map_err(engine::Error::from)?;
    metas.sort_by_key(|meta| std::cmp::Reverse(meta.created));
    let id = |id: &str| short(id.strip_prefix("sha256:").unwrap_or(id)).to_owned();
    if options.quiet {
        return print(&metas.iter().map(|meta| id(&meta.id) + "\n").collect::<String>());
    }
    let mut rows = vec![heading(&["REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE"])];
    for meta in &metas {
        let mut names: Vec<(String, String)> = refs
            .iter()
            .filter(|known| known.id == meta.id)
            .map(|known| (known.name.familiar_name(), known.name.tag().unwrap_or("<none>").to_owned()))
            .collect();
        if names.is_empty() {
            names.push(("<none>".to_owned(), "<none>".to_owned()));
        }
        let created = format!("{} ago", human_duration(now() - meta.created));
        let size = format!("{:.1}MB", meta.size as f64 / 1e6);
        rows.extend(names.into_iter().map(|(name, tag)| vec![name, tag, id(&meta.id), created.clone(), size.clone()]));
    }
    print(&table(&rows))
}

/// `pierless unshare`: becomes the command.
pub fn unshare(home: &Home, options: &Unshare) -> Result<(), Error> {
    let (program, arguments) = options.command.split_first().ok_or(Error::Said)?;
    // In there the user's id is root's, whose places are others.
    let mut command = Command::new(program);
    command.args(arguments).env("PIERLESS_DATA", &home.data).env("PIERLESS_RUN", &home.run);
    let error = command.exec();
    Err(Error::at(program.as_ref())(error))
}
