//! `pierless up` and `pierless down`: make the API reachable for this user, and undo it.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use sha2::{Digest, Sha256};

use super::{Error, check, stand_in};
use crate::state::paths::Home;
use crate::sys::tree;

/// The unit files, as they lie in the source tree; only the program's path differs.
const SOCKET_UNIT: &str = include_str!("../../systemd/pierless.socket");
const SERVICE_UNIT: &str = include_str!("../../systemd/pierless.service");
/// What `ExecStart=` says there.
const UNIT_PROGRAM: &str = "/usr/local/bin/pierless";

/// `pierless up`. Prints what it did to stderr and, to stdout, the one line for a shell to evaluate.
pub fn up(home: &Home) -> Result<(), Error> {
    let items = check::items();
    let (broken, fine): (Vec<_>, Vec<_>) = items.into_iter().partition(|item| item.verdict == check::Verdict::Broken);
    if !broken.is_empty() {
        eprint!("{}", check::report(&broken));
        return Err(Error::Host);
    }
    let lacking: Vec<&str> =
        fine.iter().filter(|item| item.verdict == check::Verdict::Lacking).map(|item| item.name).collect();
    if !lacking.is_empty() {
        eprintln!("not as it could be: {} (`pierless check` tells more)", lacking.join(", "));
    }
    let socket = home.socket();
    if uses_systemd(home) {
        install_units()?;
        // A stand-in from before would keep the socket from systemd.
        stand_in::stop(home)?;
        systemctl(&["daemon-reload"])?;
        systemctl(&["enable", "--now", "pierless.socket"])?;
        eprintln!("systemd holds {}", socket.display());
    } else {
        stand_in::start(home)?;
        eprintln!("a stand-in for systemd holds {}", socket.display());
    }
    for name in well_known_names() {
        match claim(&name, &socket) {
            Ok(true) => eprintln!("{} points to it", name.display()),
            Ok(false) => eprintln!("{} is somebody else's and stays", name.display()),
            Err(error) => eprintln!("{}: {error}", name.display()),
        }
    }
    if let Some(config) = docker_config().filter(|config| config.is_dir()) {
        register_context(&config, &socket)?;
        eprintln!("docker context `pierless` is registered");
    }
    println!("export DOCKER_HOST=unix://{}", socket.display());
    Ok(())
}

/// `pierless down`; with `stop`, all containers are stopped first.
pub fn down(home: &Home, stop: bool) -> Result<(), Error> {
    if stop {
        // Another process: this one must stay outside of the user's namespaces.
        let program = std::env::current_exe().map_err(Error::doing("find this program"))?;
        let status = Command::new(program).args(["stop", "--all"]).status();
        if !status.map_err(Error::doing("stop the containers"))?.success() {
            return Err(Error::Said);
        }
    }
    let socket = home.socket();
    if let Some(folder) = units_folder().filter(|folder| folder.join("pierless.socket").exists()) {
        if uses_systemd(home) {
            systemctl(&["disable", "--now", "pierless.socket"])?;
            systemctl(&["stop", "pierless.service"])?;
        }
        for name in ["pierless.socket", "pierless.service"] {
            remove(&folder.join(name))?;
        }
        if uses_systemd(home) {
            systemctl(&["daemon-reload"])?;
        }
    }
    if stand_in::stop(home)? {
        remove(&socket)?;
    }
    for name in well_known_names() {
        if fs::read_link(&name).is_ok_and(|target| target == socket) {
            remove(&name)?;
        }
    }
    if let Some(folder) = docker_config().map(|config| context_folder(&config)) {
        let meta = folder.join("meta.json");
        if fs::read_to_string(&meta).is_ok_and(|text| text.contains(&endpoint(&socket))) {
            tree::remove(&folder).map_err(Error::at(&folder))?;
        }
    }
    if home.containers().exists() || home.images().exists() {
        eprintln!("containers and images stay in {}; `pierless reset` removes them", home.data.display());
    }
    Ok(())
}

/// The units name the socket by `%t`, so they serve the ordinary place only.
fn uses_systemd(home: &Home) -> bool {
    let usual = std::env::var_os("XDG_RUNTIME_DIR").is_some_and(|dir| home.run == Path::new(&dir).join("pierless"));
    usual && check::systemd_user_works()
}

fn systemctl(arguments: &[&str]) -> Result<(), Error> {
    let status = Command::new("systemctl")
        .args(["--user", "--quiet"])
        .args(arguments)
        .stdin(Stdio::null())
        .status()
        .map_err(Error::doing("call systemctl"))?;
    if status.success() { Ok(()) } else { Err(Error::Systemctl { call: arguments.join(" ") }) }
}

fn home_folder() -> Option<PathBuf> {
    std::env::var_os("HOME").filter(|home| !home.is_empty()).map(PathBuf::from)
}

fn units_folder() -> Option<PathBuf> {
    let config = std::env::var_os("XDG_CONFIG_HOME").filter(|dir| !dir.is_empty()).map(PathBuf::from);
    Some(config.or_else(|| home_folder().map(|home| home.join(".config")))?.join("systemd/user"))
}

fn install_units() -> Result<(), Error> {
    let folder = units_folder().ok_or(Error::NoHome)?;
    fs::create_dir_all(&folder).map_err(Error::at(&folder))?;
    let program = std::env::current_exe().map_err(Error::doing("find this program"))?;
    // In a unit, `%` begins a specifier and a blank ends a word.
    let program = program.to_string_lossy().replace('%', "%%");
    let quoted = if program.contains([' ', '"', '\\']) { format!("{program:?}") } else { program };
    for (name, text) in [("pierless.socket", SOCKET_UNIT), ("pierless.service", SERVICE_UNIT)] {
        let path = folder.join(name);
        fs::write(&path, text.replace(UNIT_PROGRAM, &quoted)).map_err(Error::at(&path))?;
    }
    Ok(())
}

/// Where clients look for a socket when nobody tells them.
fn well_known_names() -> Vec<PathBuf> {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(|dir| PathBuf::from(dir).join("docker.sock"));
    runtime.into_iter().chain(home_folder().map(|home| home.join(".docker/run/docker.sock"))).collect()
}

/// Makes `name` a symbolic link to `socket` if the name is free; true if it is one now.
fn claim(name: &Path, socket: &Path) -> io::Result<bool> {
    if let Some(folder) = name.parent() {
        fs::create_dir_all(folder)?;
    }
    match symlink(socket, name) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Ok(fs::read_link(name).is_ok_and(|target| target == socket))
        }
        Err(error) => Err(error),
    }
}

fn docker_config() -> Option<PathBuf> {
    let named = std::env::var_os("DOCKER_CONFIG").filter(|dir| !dir.is_empty()).map(PathBuf::from);
    named.or_else(|| home_folder().map(|home| home.join(".docker")))
}

/// Where the docker command line keeps the context `pierless`: under the digest of its name.
fn context_folder(config: &Path) -> PathBuf {
    let digest = Sha256::digest(b"pierless");
    let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    config.join("contexts/meta").join(digest)
}

fn endpoint(socket: &Path) -> String {
    serde_json::Value::from(format!("unix://{}", socket.display())).to_string()
}

/// Writes what `docker context create pierless` would; the command line itself may be absent.
fn register_context(config: &Path, socket: &Path) -> Result<(), Error> {
    let folder = context_folder(config);
    fs::create_dir_all(&folder).map_err(Error::at(&folder))?;
    let text = format!(
        r#"{{"Name":"pierless","Metadata":{{"Description":"containers without root or daemon"}},"Endpoints":{{"docker":{{"Host":{},"SkipTLSVerify":false}}}}}}"#,
        endpoint(socket)
    );
    let path = folder.join("meta.json");
    fs::write(&path, text).map_err(Error::at(&path))
}

fn remove(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::at(path)(error)),
        _ => Ok(()),
    }
}
