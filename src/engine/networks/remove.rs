//! Removing networks.

use super::{forbidden, is_connected};
use crate::engine::containers::ListOptions;
use crate::engine::{Engine, Result};
use crate::model::filters::Filters;
use crate::model::ids::short;
use crate::model::time;
use crate::network::{self, store};
use crate::state::events::Event;

impl Engine {
    /// Removes a network.
    ///
    /// # Errors
    /// Not found; forbidden if it is predefined, or containers that run are in it.
    pub fn remove_network(&self, name: &str) -> Result<()> {
        let network = self.network(name)?;
        if network.is_predefined() {
            let text = format!("{} is a pre-defined network and cannot be removed", network.name);
            return Err(forbidden(text));
        }
        {
            let _changing = store::changing(&self.home)?;
            // A start takes its addresses under the network's own lock, and looks whether it is still there.
            let _leases = network::lock(&self.home, &network.id)?;
            let used = network::owners(&self.home, &network.id);
            if !used.is_empty() {
                let name = |id: &String| self.view(id).map(|view| view.record.name.clone()).unwrap_or_default();
                let one = |id: &String| format!("name:{:?} id:{:?}", name(id), short(id));
                let mut list: Vec<String> = used.iter().map(one).collect();
                list.sort();
                let list = list.join(", ");
                let text =
                    format!("error while removing network: network {} has active endpoints ({list})", network.name);
                return Err(forbidden(text));
            }
            // Before the record: a bridge without one would be in the way of the next network with its subnet.
            network::clear(&self.home, &network);
            store::remove(&self.home, &network.id)?;
            network::forget(&self.home, &network.id);
        }
        self.emit_network(&network, "destroy", &[]);
        Ok(())
    }

    /// Removes the networks that no container uses. Returns their names.
    ///
    /// # Errors
    /// An unknown filter.
    pub fn prune_networks(&self, filters: &Filters) -> Result<Vec<String>> {
        filters.allow(&["label", "label!", "until"])?;
        let until = filters.until(time::now())?;
        let mut removed = Vec::new();
        let views = self.list(&ListOptions::default())?;
        let mut all = store::all(&self.home);
        all.sort_by(|a, b| a.name.cmp(&b.name));
        for network in all {
            let chosen = !network.is_predefined()
                && until.is_none_or(|until| network.created < until)
                && filters.labels(&network.labels)
                && filters.without_labels(&network.labels)
                && !views.iter().any(|view| is_connected(view, &network));
            if !chosen {
                continue;
            }
            match self.remove_network(&network.id) {
                Ok(()) => removed.push(network.name),
                // Gone, or used, since it was listed.
                Err(err) => tracing::debug!(network = %short(&network.id), "not pruned: {err}"),
            }
        }
        let attributes = [("reclaimed".to_owned(), "0".to_owned())].into();
        self.tell(&Event::new("network", "prune", "", attributes));
        Ok(removed)
    }
}
