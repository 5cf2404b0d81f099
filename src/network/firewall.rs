//! The rules of the user's network namespace. They are few and always the same; `nft list ruleset` shows them in words:
//!
//! ```text
//! table inet pierless {
//!     chain postrouting { type nat hook postrouting priority 100; policy accept; oifname "tap0" masquerade }
//!     chain forward { type filter hook forward priority 0; policy accept;
//!                     iifname != "tap0" oifname != "tap0" drop }
//! }
//! ```

use std::io;

use super::nft::{Family, Hook, Is, Meta, Table, compare, drop_it, interface, masquerade, meta};

/// Sets the rules in the network namespace that this process is in; what was there of them is replaced. `way_out` is the
/// interface that leads out of it.
///
/// # Errors
/// The kernel has no nf_tables, or refuses.
pub fn set(way_out: &str) -> io::Result<()> {
    let way_out = interface(way_out);
    let mut table = Table::replacing(Family::Inet, "pierless");
    table.chain("postrouting", Hook::Postrouting);
    table.chain("forward", Hook::Forward);
    table.rule("postrouting", &[meta(Meta::OutName), compare(Is::Equal, &way_out), masquerade()]);
    let elsewhere = |key| [meta(key), compare(Is::Unequal, &way_out)].concat();
    table.rule("forward", &[elsewhere(Meta::InName), elsewhere(Meta::OutName), drop_it()]);
    table.commit()
}
