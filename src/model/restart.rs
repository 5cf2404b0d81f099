//! When a container is started again by itself.

use serde::{Deserialize, Serialize};

use super::host_config::RestartPolicy;

/// A restart policy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Restart {
    /// Never.
    #[default]
    No,
    /// Whenever it has ended, but after a stop.
    Always,
    /// As always, and also not at the next boot if it was stopped before.
    UnlessStopped,
    /// When it has ended with a code other than 0: so often in a row at the most; 0: without limit.
    OnFailure(u32),
}

impl Restart {
    /// Reads a request's policy.
    ///
    /// # Errors
    /// Docker's text for one that is none.
    pub fn parse(policy: &RestartPolicy) -> Result<Self, String> {
        let count = policy.maximum_retry_count;
        let counted = |restart| match count {
            0 => Ok(restart),
            _ => {
                let negative = if count < 0 { " and cannot be negative" } else { "" };
                Err(format!("invalid restart policy: maximum retry count can only be used with 'on-failure'{negative}"))
            }
        };
        match policy.name.as_str() {
            "" | "no" => counted(Self::No),
            "always" => counted(Self::Always),
            "unless-stopped" => counted(Self::UnlessStopped),
            "on-failure" => match u32::try_from(count) {
                Ok(count) => Ok(Self::OnFailure(count)),
                Err(_) if count < 0 => Err("invalid restart policy: maximum retry count cannot be negative".to_owned()),
                Err(_) => Ok(Self::OnFailure(u32::MAX)),
            },
            other => Err(format!(
                "invalid restart policy: unknown policy '{other}'; use one of 'no', 'always', 'on-failure', or \
                 'unless-stopped'"
            )),
        }
    }
}
