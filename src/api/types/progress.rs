//! Lines of the streams that tell how far something is.

use schemars::JsonSchema;
use serde::Serialize;

use super::manifests::ImageDescriptor;
use crate::engine::images::Arriving;
use crate::image::outcome::Progress;
use crate::image::pull::{LayerStep, Step};
use crate::image::push;
use crate::model::size::human_size;

/// A line of a progress stream.
#[derive(Debug, Clone, Default, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProgressLine {
    /// Text to show as it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream: Option<String>,
    /// What is being done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// To what.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// How far it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress_detail: Option<ProgressDetail>,
    /// The same as text, with a bar.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress: Option<String>,
    /// What programs want to know at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aux: Option<Aux>,
    /// Why it failed: the last line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_detail: Option<ErrorDetail>,
}

/// What programs want to know at the end of a push.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Aux {
    /// What the registry has now.
    #[serde(rename_all = "PascalCase")]
    Pushed {
        /// Under which tag.
        tag: String,
        /// What it means by that.
        digest: String,
        /// Bytes of that.
        size: u64,
    },
    /// Not all of an index is here.
    #[serde(rename_all = "camelCase")]
    Instead {
        /// True.
        manifest_pushed_instead_of_index: bool,
        /// The index.
        original_index: ImageDescriptor,
        /// What was pushed.
        selected_manifest: ImageDescriptor,
    },
}

/// How far something is.
#[derive(Debug, Clone, Default, Serialize, JsonSchema)]
pub struct ProgressDetail {
    /// Bytes done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current: Option<u64>,
    /// Bytes in all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
}

/// Why something failed.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct ErrorDetail {
    /// In words.
    pub message: String,
}

impl ProgressLine {
    /// A status without more.
    pub fn status(text: impl Into<String>) -> Self {
        Self { status: Some(text.into()), ..Self::default() }
    }

    /// What Docker's clients show of a step of loading. None: `quiet` clients are not told.
    pub fn of(progress: Progress, quiet: bool) -> Option<Self> {
        let stream = |text: String| Some(Self { stream: Some(text), ..Self::default() });
        match progress {
            Progress::Loaded(name) => stream(format!("Loaded image: {}\n", name.familiar())),
            Progress::LoadedId(id) => stream(format!("Loaded image ID: {id}\n")),
            Progress::Renamed { name, old } => stream(format!(
                "The image {} already exists, renaming the old one with ID {old} to empty string\n",
                name.familiar()
            )),
            _ if quiet => None,
            Progress::Note(text) => Some(Self::status(text)),
            Progress::Layer { name, current, total } => Some(Self {
                status: Some("Loading layer".to_owned()),
                id: Some(name),
                progress_detail: Some(ProgressDetail { current: Some(current), total: Some(total) }),
                ..Self::default()
            }),
        }
    }
}

impl From<Arriving> for ProgressLine {
    fn from(far: Arriving) -> Self {
        match far {
            Arriving::From(address) => Self::status(format!("Downloading from {address}")),
            Arriving::Bytes { current, total } => Self {
                progress_detail: Some(ProgressDetail { current: Some(current), total }),
                progress: Some(total.map_or_else(|| human_size(current), |total| progress_bar(current, total))),
                ..Self::status("Importing")
            },
        }
    }
}

impl From<Step> for Vec<ProgressLine> {
    /// What Docker's clients show of a step of a pull.
    fn from(step: Step) -> Self {
        match step {
            Step::Begin(name) => vec![ProgressLine {
                id: name.tag().or(name.digest()).map(str::to_owned),
                ..ProgressLine::status(format!("Pulling from {}", name.path()))
            }],
            Step::Layer { id, what } => vec![layer_line(id, what)],
            Step::Note(text) => vec![ProgressLine::status(text)],
            Step::Done { name, digest, new } => {
                let what = if new { "Downloaded newer image for" } else { "Image is up to date for" };
                vec![
                    ProgressLine::status(format!("Digest: {digest}")),
                    ProgressLine::status(format!("Status: {what} {}", name.familiar())),
                ]
            }
        }
    }
}

impl From<push::Step> for Vec<ProgressLine> {
    /// What Docker's clients show of a step of a push.
    fn from(step: push::Step) -> Self {
        let aux = |aux: Aux| ProgressLine {
            progress_detail: Some(ProgressDetail::default()),
            aux: Some(aux),
            ..ProgressLine::default()
        };
        match step {
            push::Step::Begin(name) => {
                vec![ProgressLine::status(format!("The push refers to repository [{}]", name.name()))]
            }
            push::Step::Layer { id, what } => vec![match what {
                push::LayerStep::Planned => plain(id, "Preparing"),
                push::LayerStep::Waiting => plain(id, "Waiting"),
                push::LayerStep::Pushing { current, total } => far(id, "Pushing", current, total),
                push::LayerStep::Retrying(seconds) => retrying(id, seconds),
                push::LayerStep::Pushed => plain(id, "Pushed"),
                push::LayerStep::Mounted(from) => plain(id, &format!("Mounted from {from}")),
                push::LayerStep::Exists => plain(id, "Layer already exists"),
            }],
            push::Step::Instead { index, manifest } => vec![aux(Aux::Instead {
                manifest_pushed_instead_of_index: true,
                original_index: index.into(),
                selected_manifest: manifest.into(),
            })],
            push::Step::Done { name, target } => {
                let Some(tag) = name.tag().map(str::to_owned) else { return Vec::new() };
                let (digest, size) = (target.digest, target.size);
                vec![
                    ProgressLine::status(format!("{tag}: digest: {digest} size: {size}")),
                    aux(Aux::Pushed { tag, digest, size }),
                ]
            }
        }
    }
}

fn plain(id: String, text: &str) -> ProgressLine {
    let progress_detail = Some(ProgressDetail::default());
    ProgressLine { id: Some(id), progress_detail, ..ProgressLine::status(text) }
}

fn far(id: String, text: &str, current: u64, total: u64) -> ProgressLine {
    let detail = ProgressDetail { current: Some(current), total: Some(total) };
    ProgressLine { progress_detail: Some(detail), progress: Some(progress_bar(current, total)), ..plain(id, text) }
}

fn retrying(id: String, seconds: u64) -> ProgressLine {
    let unit = if seconds == 1 { "second" } else { "seconds" };
    plain(id, &format!("Retrying in {seconds} {unit}"))
}

fn layer_line(id: String, what: LayerStep) -> ProgressLine {
    match what {
        LayerStep::Planned => plain(id, "Pulling fs layer"),
        LayerStep::Waiting => plain(id, "Waiting"),
        LayerStep::Downloading { current, total } => far(id, "Downloading", current, total),
        LayerStep::Retrying(seconds) => retrying(id, seconds),
        LayerStep::Verifying => plain(id, "Verifying Checksum"),
        LayerStep::Downloaded => plain(id, "Download complete"),
        LayerStep::Extracting(total) => far(id, "Extracting", total, total),
        LayerStep::Complete => plain(id, "Pull complete"),
        LayerStep::Exists => plain(id, "Already exists"),
    }
}

/// `[====>      ]  12.3MB/45.6MB`, as dockerd draws it for clients that do not.
fn progress_bar(current: u64, total: u64) -> String {
    const WIDTH: usize = 50;
    let done = (current.saturating_mul(WIDTH as u64) / total.max(1)).min(WIDTH as u64) as usize;
    let mark = if done < WIDTH { ">" } else { "" };
    let bar = format!("{}{mark}", "=".repeat(done));
    format!("[{bar:<WIDTH$}]  {}/{}", human_size(current), human_size(total))
}
