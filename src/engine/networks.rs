//! Networks and volumes, as far as there are any: the predefined networks, and no volume.

use std::collections::BTreeMap;
use std::fs;

use regex_lite::Regex;

use super::{Engine, Error, Result};
use crate::engine::containers::{ListOptions, View};
use crate::model::filters::{FilterError, Filters};
use crate::model::ids::is_id_prefix;
use crate::model::time::Nanos;
pub use crate::network::record::{BRIDGE_ID, HOST_ID, NONE_ID};

/// A network that is always there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    /// Its name.
    pub name: &'static str,
    /// 64 hexadecimal digits; the same for everybody, for there is one of it for each user.
    pub id: &'static str,
    /// Its driver.
    pub driver: &'static str,
}

/// The networks that every user has, by name.
pub const PREDEFINED: [Network; 3] = [
    Network { name: "bridge", id: BRIDGE_ID, driver: "bridge" },
    Network { name: "host", id: HOST_ID, driver: "host" },
    Network { name: "none", id: NONE_ID, driver: "null" },
];

/// Whether a network's name is one of [`PREDEFINED`].
pub fn is_predefined(name: &str) -> bool {
    PREDEFINED.iter().any(|network| network.name == name)
}

/// That there is no such network.
pub fn not_found(name: &str) -> Error {
    Error::NotFound(format!("network {name} not found"))
}

/// The filters that a list of networks knows.
const FILTERS: &[&str] = &["dangling", "driver", "id", "label", "name", "scope", "type"];
/// The filters that a list of volumes knows.
const VOLUME_FILTERS: &[&str] = &["dangling", "driver", "label", "name"];

impl Engine {
    /// The networks that fit the filters.
    ///
    /// # Errors
    /// A filter that is none.
    pub fn networks(&self, filters: &Filters) -> Result<Vec<Network>> {
        filters.allow(FILTERS)?;
        let bad = |name: &str, value: &str| FilterError::Value(name.to_owned(), value.to_owned());
        if let Some(kind) = filters.get("type").iter().find(|kind| !matches!(kind.as_str(), "builtin" | "custom")) {
            return Err(bad("type", kind).into());
        }
        let names = filters.get("name").iter().map(|name| Regex::new(name).map_err(|_| bad("name", name)));
        let names = names.collect::<std::result::Result<Vec<_>, _>>()?;
        let dangling = filters.flag("dangling")?;
        let fits = |network: &Network| {
            dangling != Some(true)
                && (names.is_empty() || names.iter().any(|name| name.is_match(network.name)))
                && filters.any("id", |id| network.id.starts_with(id))
                && filters.any("driver", |driver| driver == network.driver)
                && filters.any("scope", |scope| scope == "local")
                && filters.any("type", |kind| kind == "builtin")
                && filters.labels(&BTreeMap::new())
        };
        Ok(PREDEFINED.into_iter().filter(fits).collect())
    }

    /// A network, by its name, its id or a beginning of that.
    ///
    /// # Errors
    /// Not found.
    pub fn network(&self, name: &str) -> Result<Network> {
        let named = PREDEFINED.into_iter().find(|network| network.name == name);
        let by_id = || PREDEFINED.into_iter().find(|network| is_id_prefix(name) && network.id.starts_with(name));
        named.or_else(by_id).ok_or_else(|| not_found(name))
    }

    /// The running containers of a network.
    ///
    /// # Errors
    /// As [`Engine::list`].
    pub fn network_containers(&self, network: &Network) -> Result<Vec<View>> {
        let mut views = self.list(&ListOptions::default())?;
        views.retain(|view| view.record.host_config.network_mode == network.name);
        Ok(views)
    }

    /// When the user's networks came to be: with the data directory.
    pub fn networks_since(&self) -> Nanos {
        let created = fs::metadata(&self.home.data).and_then(|data| data.created()).ok();
        let since = created.and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
        since.and_then(|since| Nanos::try_from(since.as_nanos()).ok()).unwrap_or(0)
    }

    /// Checks the filters of a list of volumes, which is empty.
    ///
    /// # Errors
    /// A filter that is none.
    pub fn volumes(&self, filters: &Filters) -> Result<()> {
        filters.allow(VOLUME_FILTERS)?;
        filters.flag("dangling")?;
        Ok(())
    }
}
