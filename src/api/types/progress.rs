//! Lines of the streams that tell how far something is.

use schemars::JsonSchema;
use serde::Serialize;

use crate::image::outcome::Progress;
use crate::image::pull::{LayerStep, Step};
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
    /// Why it failed: the last line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_detail: Option<ErrorDetail>,
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

fn layer_line(id: String, what: LayerStep) -> ProgressLine {
    let plain = |text: &str| (text.to_owned(), ProgressDetail::default(), None);
    let far = |text: &str, current: u64, total: u64| {
        let detail = ProgressDetail { current: Some(current), total: Some(total) };
        (text.to_owned(), detail, Some(progress_bar(current, total)))
    };
    let (status, detail, bar) = match what {
        LayerStep::Planned => plain("Pulling fs layer"),
        LayerStep::Waiting => plain("Waiting"),
        LayerStep::Downloading { current, total } => far("Downloading", current, total),
        LayerStep::Retrying(1) => plain("Retrying in 1 second"),
        LayerStep::Retrying(seconds) => plain(&format!("Retrying in {seconds} seconds")),
        LayerStep::Verifying => plain("Verifying Checksum"),
        LayerStep::Downloaded => plain("Download complete"),
        LayerStep::Extracting(total) => far("Extracting", total, total),
        LayerStep::Complete => plain("Pull complete"),
        LayerStep::Exists => plain("Already exists"),
    };
    ProgressLine { id: Some(id), progress_detail: Some(detail), progress: bar, ..ProgressLine::status(status) }
}

/// `[====>      ]  12.3MB/45.6MB`, as dockerd draws it for clients that do not.
fn progress_bar(current: u64, total: u64) -> String {
    const WIDTH: usize = 50;
    let done = (current.saturating_mul(WIDTH as u64) / total.max(1)).min(WIDTH as u64) as usize;
    let mark = if done < WIDTH { ">" } else { "" };
    let bar = format!("{}{mark}", "=".repeat(done));
    format!("[{bar:<WIDTH$}]  {}/{}", human_size(current), human_size(total))
}
