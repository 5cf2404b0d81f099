//! Docker's profile format.

use std::borrow::Cow;

use oci_spec::runtime::{Arch, LinuxSeccompAction, LinuxSeccompFilterFlag, LinuxSeccompOperator};
use serde::{Deserialize, Deserializer};

use crate::sys::kernel::parse_version;

/// A profile as `--security-opt seccomp=FILE` has it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Profile {
    pub(super) default_action: Option<LinuxSeccompAction>,
    pub(super) default_errno_ret: Option<u32>,
    #[serde(deserialize_with = "or_default")]
    pub(super) architectures: Vec<Arch>,
    #[serde(deserialize_with = "or_default")]
    pub(super) arch_map: Vec<Machine>,
    #[serde(deserialize_with = "or_default")]
    pub(super) flags: Vec<LinuxSeccompFilterFlag>,
    pub(super) listener_path: String,
    pub(super) listener_metadata: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) syscalls: Vec<Rule>,
}

/// An architecture, and those whose programs its kernels run too.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Machine {
    pub(super) architecture: Arch,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) sub_architectures: Vec<Arch>,
}

/// What to do at some system calls, under some conditions.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Rule {
    pub(super) name: Cow<'static, str>,
    #[serde(deserialize_with = "or_default")]
    pub(super) names: Vec<Cow<'static, str>>,
    pub(super) action: LinuxSeccompAction,
    pub(super) errno_ret: Option<u32>,
    #[serde(deserialize_with = "or_default")]
    pub(super) args: Vec<Comparison>,
    #[serde(deserialize_with = "or_default")]
    pub(super) includes: Filter,
    #[serde(deserialize_with = "or_default")]
    pub(super) excludes: Filter,
}

/// A condition on an argument of the call.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Comparison {
    pub(super) index: usize,
    pub(super) value: u64,
    #[serde(default)]
    pub(super) value_two: u64,
    pub(super) op: LinuxSeccompOperator,
}

/// A condition on the container and the machine.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Filter {
    #[serde(deserialize_with = "or_default")]
    pub(super) caps: Vec<Cow<'static, str>>,
    #[serde(deserialize_with = "or_default")]
    pub(super) arches: Vec<Cow<'static, str>>,
    #[serde(deserialize_with = "version")]
    pub(super) min_kernel: Option<(u32, u32)>,
}

fn or_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(de: D) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(de)?.unwrap_or_default())
}

fn version<'de, D: Deserializer<'de>>(de: D) -> Result<Option<(u32, u32)>, D::Error> {
    let text = Option::<String>::deserialize(de)?.filter(|text| !text.is_empty());
    let parse = |text: String| {
        parse_version(&text).ok_or_else(|| serde::de::Error::custom(format!("invalid kernel version: {text}")))
    };
    text.map(parse).transpose()
}
