//! Lists of containers and their filters.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

use regex_lite::Regex;

use crate::engine::{Engine, Error, Result};
use crate::model::filters::{FilterError, Filters};
use crate::model::networking::{Endpoint, EndpointSettings, Placed};
use crate::model::ports::{self, Bound, Protocol};
use crate::model::time::{self, human_duration};
use crate::state::cache::Reader;
use crate::state::container::{ContainerRecord, StateRecord, Status};
use crate::state::{self, store, sweep};
use crate::sys::tree;

/// A container as it is on disk: both its records.
#[derive(Debug, Clone)]
pub struct View {
    /// What was asked.
    pub record: Arc<ContainerRecord>,
    /// What happened.
    pub state: StateRecord,
}

impl View {
    /// What `docker ps` shows under STATUS.
    pub fn status_text(&self) -> String {
        let since = |moment| human_duration(time::now() - moment);
        match self.state.status {
            Status::Created => "Created".to_owned(),
            Status::Running => format!("Up {}", since(self.state.started_at)),
            Status::Paused => format!("Up {} (Paused)", since(self.state.started_at)),
            Status::Exited => format!("Exited ({}) {} ago", self.state.exit_code, since(self.state.finished_at)),
            Status::Dead => "Dead".to_owned(),
        }
    }

    /// The ports of a container that runs on a network where others can reach it: those that it exposes or publishes,
    /// each with where on the host it is reached.
    pub fn ports(&self) -> BTreeMap<(u16, Protocol), Vec<Bound>> {
        let mut ports: BTreeMap<_, Vec<Bound>> = BTreeMap::new();
        let leads_out = |endpoint: &Endpoint| [endpoint.v4, endpoint.v6].into_iter().flatten().any(Placed::leads_out);
        if self.state.is_running() && self.state.endpoints.iter().any(leads_out) {
            let exposed = self.record.config.exposed_ports.iter().flatten();
            ports.extend(exposed.filter_map(|(text, _)| Some((ports::exposed(text)?, Vec::new()))));
            for bound in &self.state.ports {
                ports.entry((bound.port, bound.protocol)).or_default().push(*bound);
            }
        }
        ports
    }
}

/// Which containers to list.
#[derive(Debug, Clone, Default)]
pub struct ListOptions {
    /// Those that do not run, too.
    pub all: bool,
    /// At most so many, the newest, whether or not they run; 0: no limit.
    pub limit: usize,
    /// Docker's filters.
    pub filters: Filters,
}

/// The filters that a list knows.
const FILTERS: &[&str] = &[
    "ancestor",
    "before",
    "expose",
    "exited",
    "health",
    "id",
    "isolation",
    "is-task",
    "label",
    "name",
    "network",
    "publish",
    "since",
    "status",
    "volume",
];

/// Docker's words for a container's status.
const STATUSES: &[&str] = &["created", "running", "paused", "restarting", "removing", "exited", "dead"];

impl Engine {
    /// The containers that the options choose, the newest first. One that vanishes meanwhile is left out; one whose
    /// record cannot be read is dead.
    ///
    /// # Errors
    /// A filter that is not known, or whose value does not fit.
    pub fn list(&self, options: &ListOptions) -> Result<Vec<View>> {
        let matcher = Matcher::new(self, &options.filters)?;
        let all = options.all || options.limit > 0 || matcher.wants_stopped();
        let (ids, gone) = store::ids_and_gone(&self.home)?;
        gone.iter().for_each(|id| sweep::end_removal(&self.home, id));
        self.seen.retain(&ids);
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let reader = self.seen.reader(&self.home)?;
        let mut views: Vec<View> = ids.iter().filter_map(|id| self.listed(&reader, id, all, &matcher)).collect();
        views.sort_by(|a, b| (b.record.created, &b.record.id).cmp(&(a.record.created, &a.record.id)));
        if options.limit > 0 {
            views.truncate(options.limit);
        }
        Ok(views)
    }

    /// A container, if it is to be listed. Its state is read first: it is small, and often enough.
    fn listed(&self, reader: &Reader<'_>, id: &str, all: bool, matcher: &Matcher<'_>) -> Option<View> {
        let read = || {
            let seen = reader.state(id)?;
            if !all && !seen.state.is_running() {
                return Ok(None);
            }
            let view = match reader.record(id) {
                Ok(record) => View { state: self.settle(&record, seen)?, record },
                Err(err) if self.is_lost(id, &err) => self.dead(id, &err),
                Err(err) => return Err(err.into()),
            };
            Ok((all || view.state.is_running()).then_some(view))
        };
        match read() {
            Ok(view) => view.filter(|view| matcher.fits(view)),
            Err(Error::State(state::Error::Missing(_))) => None,
            Err(err) => {
                tracing::warn!(container = %id, "left out of the list: {err}");
                None
            }
        }
    }

    /// Bytes in a container's writable layer.
    pub fn size_rw(&self, id: &str) -> i64 {
        i64::try_from(tree::size(&self.home.container(id).upper())).unwrap_or(i64::MAX)
    }
}

/// The filters, with what they refer to looked up once.
struct Matcher<'a> {
    filters: &'a Filters,
    names: Vec<Regex>,
    exited: Vec<i32>,
    ancestors: Vec<Ancestor>,
    before: Option<i64>,
    since: Option<i64>,
    networks: Vec<String>,
    exposed: Vec<PortRange>,
    published: Vec<PortRange>,
    is_task: Option<bool>,
}

/// Ports of a protocol.
type PortRange = (RangeInclusive<u16>, Protocol);

/// An image that a container's may be, or descend from: its id if it is known, and its text.
struct Ancestor {
    text: String,
    id: Option<String>,
}

impl<'a> Matcher<'a> {
    fn new(engine: &Engine, filters: &'a Filters) -> Result<Self> {
        filters.allow(FILTERS)?;
        let value = |name: &str, value: &String| FilterError::Value(name.to_owned(), value.clone());
        if let Some(bad) = filters.get("status").iter().find(|status| !STATUSES.contains(&status.as_str())) {
            let why = format!("invalid value for state ({bad}): must be one of {}", STATUSES.join(", "));
            return Err(FilterError::Unfit("status".to_owned(), bad.clone(), why).into());
        }
        let healths = ["none", "starting", "healthy", "unhealthy"];
        if let Some(bad) = filters.get("health").iter().find(|health| !healths.contains(&health.as_str())) {
            return Err(value("health", bad).into());
        }
        let no_code = |code: &String| {
            let why = format!("strconv.Atoi: parsing {code:?}: invalid syntax");
            FilterError::Unfit("exited".to_owned(), code.clone(), why)
        };
        let exited = filters.get("exited").iter().map(|code| code.parse().map_err(|_| no_code(code)));
        let names = filters.get("name").iter().map(|name| Regex::new(name).map_err(|_| value("name", name)));
        let created = |filter: &str| -> Result<Option<i64>> {
            let moments = filters.get(filter).iter().map(|name| engine.container(name).map(|view| view.record.created));
            Ok(moments.collect::<Result<Vec<_>>>()?.into_iter().next())
        };
        let ports = |filter: &str| -> Result<Vec<PortRange>> {
            let read = |text: &String| {
                let why = format!("error while looking up for {filter} {text}: invalid port");
                let unfit = || FilterError::Unfit(filter.to_owned(), text.clone(), why);
                ports::parse_range(text).ok_or_else(unfit)
            };
            Ok(filters.get(filter).iter().map(read).collect::<Result<_, _>>()?)
        };
        let ancestor = |text: &String| Ancestor { id: engine.image_id(text).ok(), text: text.clone() };
        Ok(Self {
            filters,
            names: names.collect::<Result<_, _>>()?,
            exposed: ports("expose")?,
            published: ports("publish")?,
            exited: exited.collect::<Result<_, _>>()?,
            ancestors: filters.get("ancestor").iter().map(ancestor).collect(),
            before: created("before")?,
            since: created("since")?,
            networks: filters.get("network").to_vec(),
            is_task: filters.flag("is-task")?,
        })
    }

    /// Whether the filters ask for containers that do not run.
    fn wants_stopped(&self) -> bool {
        !self.filters.get("status").is_empty() || !self.exited.is_empty()
    }

    fn fits(&self, view: &View) -> bool {
        let (record, state) = (&view.record, &view.state);
        let by_name = |name: &Regex| name.is_match(&record.name) || name.is_match(&format!("/{}", record.name));
        let ended = state.status == Status::Exited;
        self.filters.any("id", |prefix| record.id.starts_with(prefix))
            && (self.names.is_empty() || self.names.iter().any(by_name))
            && self.filters.labels(&record.config.labels)
            && self.filters.any("status", |status| status == state.status.as_str())
            && (self.exited.is_empty() || (ended && self.exited.contains(&state.exit_code)))
            && (self.ancestors.is_empty() || self.ancestors.iter().any(|image| image.fits(record)))
            && self.before.is_none_or(|moment| record.created < moment)
            && self.since.is_none_or(|moment| record.created > moment)
            && (self.networks.is_empty() || self.networks.iter().any(|network| is_in(record, network)))
            && self.filters.any("health", |health| health == "none")
            && self.filters.any("volume", |volume| mounts_volume(record, volume))
            && self.has_ports(view)
            && self.is_task != Some(true)
    }

    /// As dockerd has it, one of either filter is enough.
    fn has_ports(&self, view: &View) -> bool {
        if self.exposed.is_empty() && self.published.is_empty() {
            return true;
        }
        let has = |wanted: &[PortRange], port: u16, protocol: Protocol| {
            wanted.iter().any(|(range, of)| *of == protocol && range.contains(&port))
        };
        view.ports().iter().any(|((port, protocol), bound)| {
            has(&self.exposed, *port, *protocol)
                || bound.iter().any(|bound| has(&self.published, bound.host_port, *protocol))
        })
    }
}

impl Ancestor {
    fn fits(&self, record: &ContainerRecord) -> bool {
        record.image == self.text || self.id.as_ref().is_some_and(|id| *id == record.image_id)
    }
}

/// Whether a container is connected to the network of this name or id.
fn is_in(record: &ContainerRecord, network: &str) -> bool {
    let named = |(name, settings): (&String, &EndpointSettings)| name == network || settings.network_id == network;
    record.host_config.network_mode == network || record.endpoints.iter().any(named)
}

/// Whether a bind's or mount's source or target is this.
fn mounts_volume(record: &ContainerRecord, volume: &str) -> bool {
    let settings = record.settings().unwrap_or_default();
    settings.mounts.iter().any(|point| point.target == volume || point.source_name() == volume)
}
