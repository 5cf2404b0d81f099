//! Wire types of what takes how much room.

use schemars::JsonSchema;
use serde::Serialize;

use super::containers::Summary;
use super::images::ImageSummary;
use crate::model::config::Empty;

/// What takes how much room. Up to API 1.51 a kind that was not asked for is null.
#[derive(Debug, Clone, Default, Serialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub struct DiskUsage {
    /// Bytes of all images' layers, each counted once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layers_size: Option<u64>,
    /// Images.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub images: Option<Option<Vec<ImageSummary>>>,
    /// Containers, with the sizes of their writable layers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub containers: Option<Option<Vec<Summary>>>,
    /// Volumes: none yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volumes: Option<Option<Vec<Empty>>>,
    /// Build cache: none yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub build_cache: Option<Option<Vec<Empty>>>,
    /// Images, from API 1.52 on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_usage: Option<Usage<ImageSummary>>,
    /// Containers, from API 1.52 on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container_usage: Option<Usage<Summary>>,
    /// Volumes, from API 1.52 on: none yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volume_usage: Option<Usage<Empty>>,
    /// Build cache, from API 1.52 on: none yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub build_cache_usage: Option<Usage<Empty>>,
}

/// What one kind takes. What is 0 is left out.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub struct Usage<T> {
    /// How many are used.
    #[serde(skip_serializing_if = "is_zero")]
    pub active_count: i64,
    /// How many there are.
    #[serde(skip_serializing_if = "is_zero")]
    pub total_count: i64,
    /// Bytes that nobody uses.
    #[serde(skip_serializing_if = "is_zero")]
    pub reclaimable: i64,
    /// Bytes of all.
    #[serde(skip_serializing_if = "is_zero")]
    pub total_size: i64,
    /// Each of them, if they were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub items: Option<Vec<T>>,
}

fn is_zero(count: &i64) -> bool {
    *count == 0
}

impl<T: Clone> Usage<T> {
    /// None yet, of so many.
    pub fn of(list: &[T], items: bool) -> Self {
        Self {
            active_count: 0,
            total_count: i64::try_from(list.len()).unwrap_or(i64::MAX),
            reclaimable: 0,
            total_size: 0,
            items: (items && !list.is_empty()).then(|| list.to_vec()),
        }
    }
}

impl Usage<ImageSummary> {
    /// Of images whose layers have so many bytes.
    pub fn of_images(list: &[ImageSummary], layers: u64, items: bool) -> Self {
        let mut usage = Self { total_size: i64::try_from(layers).unwrap_or(i64::MAX), ..Self::of(list, items) };
        for image in list {
            match image.containers {
                0 => usage.reclaimable += image.size - image.shared_size.max(0),
                _ => usage.active_count += 1,
            }
        }
        usage
    }
}

impl Usage<Summary> {
    /// Of containers.
    pub fn of_containers(list: &[Summary], items: bool) -> Self {
        let mut usage = Self::of(list, items);
        for container in list {
            let size = container.size_rw.unwrap_or(0);
            usage.total_size += size;
            match container.state.as_str() {
                "running" | "paused" | "restarting" => usage.active_count += 1,
                _ => usage.reclaimable += size,
            }
        }
        usage
    }
}
