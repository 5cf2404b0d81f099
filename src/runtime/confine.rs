//! The last steps before a program runs: fewer capabilities, another user, filtered system calls.

use oci_spec::runtime::Process;
use rustix::thread::{CapabilitySet, CapabilitySets};

use super::StartError;
use super::filter::Filter;
use crate::spec::capabilities::CapSet;
use crate::sys::process;

/// Confines this process as `spec` says.
pub(super) fn apply(spec: &Process, filter: Option<&Filter>) -> Result<(), StartError> {
    let no_new_privileges = spec.no_new_privileges() == Some(true);
    let load = || filter.map_or(Ok(()), Filter::load);
    let fail = |what: &'static str| move |err: rustix::io::Errno| StartError::other(format!("{what}: {err}"));
    let caps = spec.capabilities().clone().unwrap_or_default();
    let now = rustix::thread::capabilities(None).map_err(fail("capget"))?;
    // A filter needs CAP_SYS_ADMIN, or the promise never to get more privileges.
    drop_bounding(CapSet::from_oci(caps.bounding().as_ref())).map_err(fail("cannot drop capabilities"))?;
    if !no_new_privileges {
        load()?;
    } else {
        rustix::thread::set_no_new_privs(true).map_err(fail("cannot set no_new_privs"))?;
    }
    let user = spec.user();
    let groups = user.additional_gids().as_deref().unwrap_or_default();
    process::become_user(user.uid(), user.gid(), groups).map_err(StartError::at(format!(
        "cannot become user {}:{}",
        user.uid(),
        user.gid()
    )))?;
    // What this process itself lacks, it cannot give.
    let given = |set: &Option<_>| CapabilitySet::from_bits_retain(CapSet::from_oci(set.as_ref()).0) & now.permitted;
    let sets = CapabilitySets {
        effective: given(caps.effective()),
        permitted: given(caps.permitted()),
        inheritable: given(caps.inheritable()),
    };
    rustix::thread::set_capabilities(None, sets).map_err(fail("cannot set capabilities"))?;
    if no_new_privileges {
        load()?;
    }
    Ok(())
}

fn drop_bounding(keep: CapSet) -> rustix::io::Result<()> {
    for number in 0..u64::BITS {
        let bit = 1u64 << number;
        if keep.0 & bit != 0 {
            continue;
        }
        match rustix::thread::remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(bit)) {
            Ok(()) => {}
            // The kernel knows no more.
            Err(rustix::io::Errno::INVAL) => break,
            Err(err) => return Err(err),
        }
    }
    Ok(())
}
