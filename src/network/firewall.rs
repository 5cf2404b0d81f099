//! The rules of the user's network namespace, as one transaction of nf_tables.
//!
//! They are few and always the same, so they are put together here rather than by `nft`, which takes 3 to 28 ms and may
//! not be installed. `nft list ruleset` shows them in words:
//!
//! ```text
//! table inet pierless {
//!     chain postrouting { type nat hook postrouting priority 100; policy accept; oifname "tap0" masquerade }
//!     chain forward { type filter hook forward priority 0; policy accept;
//!                     iifname != "tap0" oifname != "tap0" drop }
//! }
//! ```

use std::io;

use crate::sys::netlink::{HEADER, Protocol, Socket};

const TABLE: &str = "pierless";

/// Flags of a message.
const REQUEST: u16 = 1;
const ACK: u16 = 4;
const CREATE: u16 = 0x400;
const APPEND: u16 = 0x800;

/// Both versions of IP.
const NFPROTO_INET: u8 = 1;
const SUBSYSTEM: u16 = 10;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
const NEW_TABLE: u16 = SUBSYSTEM << 8;
const DELETE_TABLE: u16 = SUBSYSTEM << 8 | 2;
const NEW_CHAIN: u16 = SUBSYSTEM << 8 | 3;
const NEW_RULE: u16 = SUBSYSTEM << 8 | 6;

const HOOK_FORWARD: u32 = 2;
const HOOK_POSTROUTING: u32 = 4;
const PRIORITY_FILTER: u32 = 0;
const PRIORITY_SOURCE_NAT: u32 = 100;
/// Keys of the expression `meta`.
const IN_NAME: u32 = 6;
const OUT_NAME: u32 = 7;
/// The first register, which holds up to 16 bytes, and the one for verdicts.
const REGISTER: u32 = 1;
const VERDICT: u32 = 0;
const EQUAL: u32 = 0;
const UNEQUAL: u32 = 1;
const DROP: u32 = 0;

/// An attribute holds other attributes.
const NESTED: u16 = 0x8000;

/// Sets the rules in the network namespace that this process is in; what was there of them is replaced. `way_out` is the
/// interface that leads out of it.
///
/// # Errors
/// The kernel has no nf_tables, or refuses.
pub fn set(way_out: &str) -> io::Result<()> {
    let (bytes, last) = batch(way_out);
    Socket::open(Protocol::Netfilter, 0)?.exchange(&bytes, 1, last).map(drop)
}

/// The transaction, and the number of the message that is acknowledged.
fn batch(way_out: &str) -> (Vec<u8>, u32) {
    let mut batch = Batch::default();
    let table = text(1, TABLE);
    batch.add(BATCH_BEGIN, REQUEST, 0, SUBSYSTEM, &[]);
    // First there is one, so that it can be taken away, with what may be in it.
    batch.add(NEW_TABLE, REQUEST | CREATE, NFPROTO_INET, 0, &table);
    batch.add(DELETE_TABLE, REQUEST, NFPROTO_INET, 0, &table);
    batch.add(NEW_TABLE, REQUEST | CREATE, NFPROTO_INET, 0, &table);
    let chain = |name, kind, hook, priority| {
        let hook = nested(4, &[number(1, hook), number(2, priority)].concat());
        [text(1, TABLE), text(3, name), hook, text(7, kind)].concat()
    };
    let postrouting = chain("postrouting", "nat", HOOK_POSTROUTING, PRIORITY_SOURCE_NAT);
    batch.add(NEW_CHAIN, REQUEST | CREATE, NFPROTO_INET, 0, &postrouting);
    let forward = chain("forward", "filter", HOOK_FORWARD, PRIORITY_FILTER);
    batch.add(NEW_CHAIN, REQUEST | CREATE, NFPROTO_INET, 0, &forward);
    let rule =
        |chain, expressions: &[Vec<u8>]| [text(1, TABLE), text(2, chain), nested(4, &expressions.concat())].concat();
    let masquerade = rule("postrouting", &[meta(OUT_NAME), compare(EQUAL, way_out), expression("masq", &[])]);
    batch.add(NEW_RULE, REQUEST | CREATE | APPEND, NFPROTO_INET, 0, &masquerade);
    let apart = [meta(IN_NAME), compare(UNEQUAL, way_out), meta(OUT_NAME), compare(UNEQUAL, way_out), drop_it()];
    batch.add(NEW_RULE, REQUEST | CREATE | APPEND | ACK, NFPROTO_INET, 0, &rule("forward", &apart));
    let last = batch.messages;
    batch.add(BATCH_END, REQUEST, 0, SUBSYSTEM, &[]);
    (batch.bytes, last)
}

/// Messages, one after the other.
#[derive(Default)]
struct Batch {
    bytes: Vec<u8>,
    messages: u32,
}

impl Batch {
    /// A message: the header of netlink, that of nfnetlink, attributes.
    fn add(&mut self, kind: u16, flags: u16, family: u8, resource: u16, attributes: &[u8]) {
        self.messages += 1;
        let len = u32::try_from(HEADER + 4 + attributes.len()).expect("a few hundred bytes");
        self.bytes.extend(len.to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend(flags.to_ne_bytes());
        self.bytes.extend(self.messages.to_ne_bytes());
        self.bytes.extend([0; 4]);
        self.bytes.extend([family, 0]);
        self.bytes.extend(resource.to_be_bytes());
        self.bytes.extend(attributes);
    }
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let len = u16::try_from(4 + value.len()).expect("a few hundred bytes");
    let mut bytes = [len.to_ne_bytes(), kind.to_ne_bytes()].concat();
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn nested(kind: u16, attributes: &[u8]) -> Vec<u8> {
    attribute(kind | NESTED, attributes)
}

fn text(kind: u16, value: &str) -> Vec<u8> {
    attribute(kind, &[value.as_bytes(), &[0]].concat())
}

fn number(kind: u16, value: u32) -> Vec<u8> {
    attribute(kind, &value.to_be_bytes())
}

/// An element of a list of expressions.
fn expression(name: &str, attributes: &[u8]) -> Vec<u8> {
    nested(1, &[text(1, name), nested(2, attributes)].concat())
}

/// What is known of the packet, into the register.
fn meta(key: u32) -> Vec<u8> {
    expression("meta", &[number(1, REGISTER), number(2, key)].concat())
}

/// Goes on if the register holds this interface's name, or does not.
fn compare(how: u32, interface: &str) -> Vec<u8> {
    let mut name = [0; 16];
    name.iter_mut().zip(interface.bytes()).for_each(|(to, from)| *to = from);
    expression("cmp", &[number(1, REGISTER), number(2, how), nested(3, &attribute(1, &name))].concat())
}

fn drop_it() -> Vec<u8> {
    let verdict = nested(2, &number(1, DROP));
    expression("immediate", &[number(1, VERDICT), nested(2, &verdict)].concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::netlink::messages;

    #[test]
    fn a_transaction_is_well_formed() {
        let (bytes, last) = batch("tap0");
        let kinds: Vec<u16> = messages(&bytes).map(|(kind, _, _)| kind).collect();
        let changes = [NEW_TABLE, DELETE_TABLE, NEW_TABLE, NEW_CHAIN, NEW_CHAIN, NEW_RULE, NEW_RULE];
        assert_eq!(kinds[1..kinds.len() - 1], changes);
        assert_eq!((kinds[0], kinds.last()), (BATCH_BEGIN, Some(&BATCH_END)));
        assert_eq!(messages(&bytes).map(|(_, _, message)| message.len()).sum::<usize>(), bytes.len());
        assert_eq!(usize::try_from(last).expect("small"), kinds.len() - 1);
    }
}
