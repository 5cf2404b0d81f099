//! Creating a container: everything is checked, then everything is made; the record's rename is the moment at which
//! the container exists.

use std::fs;
use std::path::Path;

use super::request::{CheckedRequest, CreateRequest, Created};
use super::{check, merge};
use crate::engine::{Engine, Error, Result};
use crate::image::layers::map_id;
use crate::image::platform::Platform;
use crate::image::{Image, Store};
use crate::model::host_config::HostConfig;
use crate::model::ids::{random_id, short};
use crate::model::mounting::clean;
use crate::model::names::{is_valid_name, random_name};
use crate::model::time;
use crate::network;
use crate::spec;
use crate::spec::security::{self, Security};
use crate::state::atomic::Durability;
use crate::state::container::{ContainerRecord, Driver};
use crate::state::lock::Lock;
use crate::state::{self, store};
use crate::sys::kernel;

impl Engine {
    /// Creates a container.
    ///
    /// # Errors
    /// Not found: the image, a network. Conflict: the name. Invalid parameter: anything that cannot be.
    pub fn create(&self, request: CreateRequest) -> Result<Created> {
        self.create_checked(CheckedRequest::new(request)?)
    }

    /// The same, in a second step.
    ///
    /// # Errors
    /// As [`Engine::create`].
    pub fn create_checked(&self, CheckedRequest(request): CheckedRequest) -> Result<Created> {
        let mut warnings = check::warnings(&request, &self.controllers());
        let image_name = request.config.image.clone();
        let store = Store::open(&self.home)?;
        // Until the record names the layers, nobody may take them away.
        let _hold = store.hold()?;
        let image = self.image_for_container(&store, &image_name, &request.platform)?;
        check::networks(&request.networking)?;
        let mut host_config = request.host_config;
        self.resolve_modes(&mut host_config)?;
        let mut config = merge::over_image(request.config, &image.as_ref().map(Image::defaults).unwrap_or_default());
        if config.entrypoint.iter().chain(&config.cmd).all(Vec::is_empty) {
            return Err(Error::InvalidParameter("no command specified".to_owned()));
        }
        let settings = self.check_whole(&config, &host_config, request.read_only_non_recursive)?;
        if !request.name.is_empty() {
            check_name(&request.name)?;
        }
        defaults(&mut host_config);
        if config.network_disabled == Some(true) {
            host_config.network_mode = "none".to_owned();
        }

        if !config.working_dir.is_empty() {
            config.working_dir = clean(&config.working_dir);
        }
        let id = random_id();
        if config.hostname.is_empty() && !host_config.network_mode.starts_with("container:") {
            config.hostname = match host_config.network_mode == "host" || host_config.uts_mode == "host" {
                true => rustix::system::uname().nodename().to_string_lossy().into_owned(),
                false => short(&id).to_owned(),
            };
        }
        let words: Vec<&String> = config.entrypoint.iter().flatten().chain(config.cmd.iter().flatten()).collect();
        let (path, args) = words.split_first().expect("checked above");
        let name = request.name.strip_prefix('/').unwrap_or(&request.name).to_owned();
        let mut record = ContainerRecord {
            path: (*path).clone(),
            args: args.iter().map(|word| (*word).clone()).collect(),
            id,
            name,
            created: time::now(),
            image: image_name,
            image_id: image.as_ref().map(|image| image.id().to_owned()).unwrap_or_default(),
            platform: image.as_ref().map_or_else(Platform::host, Image::platform).to_string(),
            layers: image.as_ref().map(Image::chains).unwrap_or_default(),
            driver: Driver::Overlay,
            ids: map_id()?,
            config,
            host_config,
            settings: Some(settings),
            endpoints: request
                .networking
                .endpoints_config
                .into_iter()
                .map(|(name, ep)| (name, ep.unwrap_or_default()))
                .collect(),
        };
        self.resolve_networks(&mut record)?;
        validate(&record)?;
        self.make(&mut record, &mut warnings)?;
        self.emit(&record, "create", &[]);
        Ok(Created { id: record.id, warnings })
    }

    /// Makes the directory, reserves the name, prepares the root file system, commits the record; on failure takes
    /// all of it back.
    fn make(&self, record: &mut ContainerRecord, warnings: &mut Vec<String>) -> Result<()> {
        let paths = self.home.container(&record.id);
        // Held until the record is there: a directory without a record and without this lock is a dead one, and may be
        // swept away between the two steps.
        let lock = loop {
            fs::create_dir_all(&paths.data).map_err(state::Error::at(&paths.data))?;
            match Lock::exclusive(&paths.verb_lock()) {
                Err(state::Error::Missing(_)) => {}
                other => break other?,
            }
        };
        let made = (|| {
            if record.name.is_empty() {
                self.draw_name(record)?;
            } else {
                store::reserve_name(&self.home, &record.name, &record.id)?;
            }
            make_dir(&paths.upper())?;
            make_dir(&paths.work())?;
            record.driver = self.driver();
            if record.driver == Driver::Copy {
                warnings.push("overlayfs is not available here: the image was copied".to_owned());
                self.copy_layers(&record.layers, &paths.upper())?;
            }
            Ok(store::create(&self.home, record)?)
        })();
        drop(lock);
        if made.is_err() {
            // Whatever of it exists; the name is released by its owner check.
            let _ = store::remove(&self.home, &record.id, &record.name, Durability::Process, || ());
        }
        made
    }

    fn draw_name(&self, record: &mut ContainerRecord) -> Result<()> {
        for attempt in 0u32.. {
            let mut name = random_name();
            if attempt > 8 {
                name.push_str(&attempt.to_string());
            }
            match store::reserve_name(&self.home, &name, &record.id) {
                Ok(()) => {
                    record.name = name;
                    break;
                }
                Err(state::Error::NameTaken { .. }) => {}
                Err(err) => return Err(err.into()),
            }
        }
        Ok(())
    }

    /// Gives a container another name.
    ///
    /// # Errors
    /// Not found, invalid name, or conflict if it is taken.
    pub fn rename(&self, name: &str, new: &str) -> Result<()> {
        let new = new.strip_prefix('/').unwrap_or(new);
        if new.is_empty() {
            return Err(Error::InvalidParameter("Neither old nor new names may be empty".to_owned()));
        }
        let id = self.find(name)?;
        let refused = |text: String| format!("Error when allocating new name: {text}");
        if !is_valid_name(new) {
            return Err(Error::InvalidParameter(refused(invalid_name(&format!("/{new}")))));
        }
        let _lock = Lock::exclusive(&self.home.container(&id).verb_lock())?;
        let mut record = store::load(&self.home, &id)?;
        if record.name == new {
            return Err(Error::InvalidParameter(
                "Renaming a container with the same name as its current name".to_owned(),
            ));
        }
        let dir = self.home.container(&id).data;
        // What a killed rename may have left.
        store::settle_rename(&self.home, &id, &dir, Some(&record.name))?;
        store::note_rename(&self.home, &id, &record.name, new)?;
        let old = std::mem::replace(&mut record.name, new.to_owned());
        let renamed = store::reserve_name(&self.home, new, &id).and_then(|()| store::save(&self.home, &record));
        if renamed.is_err() {
            // Should the container have been taken away meanwhile, the note has gone with it.
            store::release_name(&self.home, new, &id)?;
        }
        let name = if renamed.is_ok() { new } else { &old };
        store::settle_rename(&self.home, &id, &dir, Some(name))?;
        match renamed {
            Err(taken @ state::Error::NameTaken { .. }) => return Err(Error::Conflict(refused(taken.to_string()))),
            other => other?,
        }
        store::sync_removal(&self.home)?;
        if let Ok(state) = store::load_state(&self.home, &id)
            && let Err(err) = network::rename(&self.home, &record, &state.endpoints)
        {
            tracing::warn!(container = %id, "it is not found by its new name: {err}");
        }
        self.emit(&record, "rename", &[("oldName", format!("/{old}"))]);
        Ok(())
    }
}

impl CheckedRequest {
    /// Checks a request, and that the sources of its mounts are there: on a file system that does not answer this hangs,
    /// as in dockerd. It holds nothing.
    ///
    /// # Errors
    /// Invalid parameter.
    pub fn new(request: CreateRequest) -> Result<Self> {
        check::request(&request)?;
        Ok(Self(request))
    }
}

/// Writes out what an empty field means, so that an inspection tells.
fn defaults(host: &mut HostConfig) {
    let or = |field: &mut String, default: &str| {
        if field.is_empty() {
            *field = default.to_owned();
        }
    };
    if host.network_mode == "default" {
        host.network_mode.clear();
    }
    or(&mut host.network_mode, "bridge");
    or(&mut host.ipc_mode, "private");
    or(&mut host.cgroupns_mode, "private");
    or(&mut host.log_config.r#type, "json-file");
    or(&mut host.restart_policy.name, "no");
    or(&mut host.runtime, "runc");
    let hidden = Security::parse(host.security_opt.as_deref().unwrap_or_default());
    if !host.privileged && !hidden.is_ok_and(|security| security.all_paths) {
        let asked = host.masked_paths.take();
        let heat = if asked.is_none() { kernel::thermal_throttles() } else { Vec::new() };
        host.masked_paths = Some([security::masked(asked.as_ref()), heat].concat());
        host.readonly_paths = Some(security::read_only(host.readonly_paths.as_ref()));
    }
    if host.shm_size == 0 {
        host.shm_size = 64 << 20;
    }
    if host.memory > 0 && host.memory_swap == 0 {
        host.memory_swap = host.memory.saturating_mul(2);
    }
    // Values that mean nothing: clients send them.
    host.memory_swappiness.take_if(|value| *value == -1);
    host.pids_limit.take_if(|limit| *limit <= 0);
}

/// Builds the specification as a start will, with nothing of the host in it: what cannot be had is then told now.
fn validate(record: &ContainerRecord) -> Result<()> {
    let input = spec::Input {
        record,
        rootfs: Path::new("/"),
        user: &spec::User::default(),
        etc: &spec::Etc::default(),
        host: &spec::Host::default(),
        shared_shm: false,
    };
    spec::build(&input).map(drop).map_err(|err| Error::InvalidParameter(err.to_string()))
}

fn make_dir(path: &Path) -> Result<()> {
    fs::create_dir_all(path).map_err(state::Error::at(path))?;
    Ok(())
}

fn check_name(name: &str) -> Result<()> {
    let bare = name.strip_prefix('/').unwrap_or(name);
    if is_valid_name(bare) {
        return Ok(());
    }
    Err(Error::InvalidParameter(invalid_name(name)))
}

fn invalid_name(name: &str) -> String {
    format!("Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")
}
