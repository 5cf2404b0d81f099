//! Networks as clients see them; and volumes, of which there are none.

mod connect;
mod create;
mod remove;

use std::collections::BTreeMap;
use std::fs;

use regex_lite::Regex;

pub use create::{NewNetwork, NewPool};

use super::{Engine, Error, Result};
use crate::engine::containers::{ListOptions, View};
use crate::model::filters::{FilterError, Filters};
use crate::model::time::Nanos;
pub use crate::network::record::{BRIDGE_ID, HOST_ID, NONE_ID, Network, Pool};
use crate::network::{self, store};
use crate::state::events::Event;

/// The names of the networks that every user has.
const PREDEFINED: [&str; 3] = ["bridge", "host", "none"];

/// Whether a network's name is one that every user has.
pub fn is_predefined(name: &str) -> bool {
    PREDEFINED.contains(&name)
}

/// That there is no such network.
pub fn not_found(name: &str) -> Error {
    network::Error::NotFound(name.to_owned()).into()
}

fn forbidden(text: String) -> Error {
    network::Error::Forbidden(text).into()
}

/// The filters that a list of networks knows.
const FILTERS: &[&str] = &["dangling", "driver", "id", "label", "name", "scope", "type"];
/// The filters that a list of volumes knows.
const VOLUME_FILTERS: &[&str] = &["dangling", "driver", "label", "name"];

impl Engine {
    /// The networks that fit the filters, by name.
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
            (names.is_empty() || names.iter().any(|name| name.is_match(&network.name)))
                && filters.any("id", |id| network.id.starts_with(id))
                && filters.any("driver", |driver| driver == network.driver)
                && filters.any("scope", |scope| scope == "local")
                && filters.any("type", |kind| (kind == "builtin") == network.is_predefined())
                && filters.labels(&network.labels)
        };
        let mut networks = store::all(&self.home);
        networks.retain(fits);
        if let Some(dangling) = dangling {
            let views = self.list(&ListOptions::default())?;
            let used = |network: &Network| views.iter().any(|view| is_connected(view, network));
            networks.retain(|network| (network.is_predefined() || used(network)) != dangling);
        }
        networks.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(networks)
    }

    /// A network, by its name, its id or a beginning of that.
    ///
    /// # Errors
    /// Not found; several.
    pub fn network(&self, name: &str) -> Result<Network> {
        Ok(store::find(&self.home, name)?)
    }

    /// The running containers of a network.
    ///
    /// # Errors
    /// As [`Engine::list`].
    pub fn network_containers(&self, network: &Network) -> Result<Vec<View>> {
        let mut views = self.list(&ListOptions::default())?;
        views.retain(|view| is_connected(view, network));
        Ok(views)
    }

    /// When the networks came to be that nobody created: with the data directory.
    pub fn networks_since(&self) -> Nanos {
        let created = fs::metadata(&self.home.data).and_then(|data| data.created()).ok();
        let since = created.and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
        since.and_then(|since| Nanos::try_from(since.as_nanos()).ok()).unwrap_or(0)
    }

    /// Tells of something that happened to a network.
    fn emit_network(&self, network: &Network, action: &str, extra: &[(&str, &str)]) {
        let own = [("name", network.name.as_str()), ("type", network.driver.as_str())];
        let attributes: BTreeMap<String, String> =
            own.iter().chain(extra).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        self.tell(&Event::new("network", action, &network.id, attributes));
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

/// Whether a container that runs is in a network.
fn is_connected(view: &View, network: &Network) -> bool {
    match network.driver.as_str() {
        "bridge" => view.state.endpoints.iter().any(|endpoint| endpoint.network_id == network.id),
        _ => view.record.host_config.network_mode == network.name,
    }
}
