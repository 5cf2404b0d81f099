//! Messages of nf_tables, put together here rather than by `nft`, which takes 3 to 28 ms and may not be installed.

use std::io;

use crate::sys::netlink::{HEADER, Protocol, Socket};

/// Flags of a message.
const REQUEST: u16 = 1;
const ACK: u16 = 4;
const CREATE: u16 = 0x400;
const APPEND: u16 = 0x800;

const SUBSYSTEM: u16 = 10;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
const NEW_TABLE: u16 = SUBSYSTEM << 8;
const DELETE_TABLE: u16 = SUBSYSTEM << 8 | 2;
const NEW_CHAIN: u16 = SUBSYSTEM << 8 | 3;
const NEW_RULE: u16 = SUBSYSTEM << 8 | 6;

/// The first register, which holds up to 16 bytes, and the one for verdicts.
const REGISTER: u32 = 1;
const VERDICT: u32 = 0;
const DROP: u32 = 0;

/// An attribute holds other attributes.
const NESTED: u16 = 0x8000;

/// Which packets a table sees.
#[derive(Debug, Clone, Copy)]
pub enum Family {
    /// Both versions of IP.
    Inet = 1,
    /// IPv4.
    Ip = 2,
}

/// Where a chain is entered from: its type, hook and priority.
#[derive(Debug, Clone, Copy)]
pub enum Hook {
    /// `type filter hook forward priority filter`
    Forward,
    /// `type nat hook postrouting priority srcnat`
    Postrouting,
    /// `type nat hook output priority -100`
    Output,
}

impl Hook {
    fn values(self) -> (&'static str, u32, i32) {
        match self {
            Self::Forward => ("filter", 2, 0),
            Self::Output => ("nat", 3, -100),
            Self::Postrouting => ("nat", 4, 100),
        }
    }
}

/// What is known of a packet beside its bytes.
#[derive(Debug, Clone, Copy)]
pub enum Meta {
    /// The interface that it came by.
    InName = 6,
    /// The interface that it leaves by.
    OutName = 7,
    /// Its protocol above IP.
    Protocol = 16,
}

/// A part of a packet.
#[derive(Debug, Clone, Copy)]
pub enum Header {
    /// That of IP.
    Network = 1,
    /// That of TCP or UDP.
    Transport = 2,
}

/// How two values are compared.
#[derive(Debug, Clone, Copy)]
pub enum Is {
    /// They are the same.
    Equal = 0,
    /// They are not.
    Unequal = 1,
}

/// One transaction: a table with all that is in it.
#[derive(Debug)]
pub struct Table {
    name: &'static str,
    family: Family,
    bytes: Vec<u8>,
    messages: u32,
}

impl Table {
    /// One in a namespace that has none of this name.
    pub fn new(family: Family, name: &'static str) -> Self {
        let mut table = Self::begin(family, name);
        table.message(NEW_TABLE, REQUEST | CREATE, family as u8, 0, &text(1, name));
        table
    }

    /// One in the place of what may be there under its name. The kernel lets go of what was there when no processor uses it
    /// any more, and who has asked for that waits some milliseconds.
    pub fn replacing(family: Family, name: &'static str) -> Self {
        let mut table = Self::begin(family, name);
        let own = text(1, name);
        // First there is one, so that it can be taken away, with what may be in it.
        table.message(NEW_TABLE, REQUEST | CREATE, family as u8, 0, &own);
        table.message(DELETE_TABLE, REQUEST, family as u8, 0, &own);
        table.message(NEW_TABLE, REQUEST | CREATE, family as u8, 0, &own);
        table
    }

    fn begin(family: Family, name: &'static str) -> Self {
        let mut table = Self { name, family, bytes: Vec::with_capacity(2048), messages: 0 };
        table.message(BATCH_BEGIN, REQUEST, 0, SUBSYSTEM, &[]);
        table
    }

    /// With a chain, which lets pass what no rule of its own forbids.
    pub fn chain(&mut self, name: &str, hook: Hook) {
        let (kind, number_of, priority) = hook.values();
        let hook = nested(4, &[number(1, number_of), number(2, priority.cast_unsigned())].concat());
        let chain = [text(1, self.name), text(3, name), hook, text(7, kind)].concat();
        self.message(NEW_CHAIN, REQUEST | CREATE, self.family as u8, 0, &chain);
    }

    /// With a rule at the end of a chain.
    pub fn rule(&mut self, chain: &str, expressions: &[Vec<u8>]) {
        let rule = [text(1, self.name), text(2, chain), nested(4, &expressions.concat())].concat();
        self.message(NEW_RULE, REQUEST | CREATE | APPEND | ACK, self.family as u8, 0, &rule);
    }

    /// Has the kernel do all this in the network namespace that this process is in. It ends with a rule.
    ///
    /// # Errors
    /// The kernel has no nf_tables, or refuses.
    pub fn commit(self) -> io::Result<()> {
        let (bytes, last) = self.finish();
        Socket::open(Protocol::Netfilter, 0)?.exchange(&bytes, 1, last).map(drop)
    }

    /// The messages, and the number of the last one that is acknowledged.
    fn finish(mut self) -> (Vec<u8>, u32) {
        let last = self.messages;
        self.message(BATCH_END, REQUEST, 0, SUBSYSTEM, &[]);
        (self.bytes, last)
    }

    /// A message: the header of netlink, that of nfnetlink, attributes.
    fn message(&mut self, kind: u16, flags: u16, family: u8, resource: u16, attributes: &[u8]) {
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
pub fn meta(key: Meta) -> Vec<u8> {
    expression("meta", &[number(1, REGISTER), number(2, key as u32)].concat())
}

/// Bytes of the packet, into the register.
pub fn payload(header: Header, offset: u32, len: u32) -> Vec<u8> {
    let from = [number(1, REGISTER), number(2, header as u32), number(3, offset), number(4, len)];
    expression("payload", &from.concat())
}

/// Goes on if the register holds this, or does not.
pub fn compare(is: Is, value: &[u8]) -> Vec<u8> {
    expression("cmp", &[number(1, REGISTER), number(2, is as u32), nested(3, &attribute(1, value))].concat())
}

/// An interface's name as a register holds it.
pub fn interface(name: &str) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes.iter_mut().zip(name.bytes()).for_each(|(to, from)| *to = from);
    bytes
}

/// `drop`
pub fn drop_it() -> Vec<u8> {
    let verdict = nested(2, &number(1, DROP));
    expression("immediate", &[number(1, VERDICT), nested(2, &verdict)].concat())
}

/// `masquerade`
pub fn masquerade() -> Vec<u8> {
    expression("masq", &[])
}

/// `dnat to :PORT`
pub fn to_port(port: u16) -> Vec<u8> {
    const DESTINATION: u32 = 1;
    let value = nested(2, &attribute(1, &port.to_be_bytes()));
    let nat = [number(1, DESTINATION), number(2, Family::Ip as u32), number(5, REGISTER)];
    [expression("immediate", &[number(1, REGISTER), value].concat()), expression("nat", &nat.concat())].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::netlink::messages;

    #[test]
    fn a_transaction_is_well_formed() {
        let mut table = Table::replacing(Family::Inet, "t");
        table.chain("forward", Hook::Forward);
        table.rule("forward", &[meta(Meta::InName), compare(Is::Unequal, &interface("tap0")), drop_it()]);
        table.rule("forward", &[payload(Header::Transport, 2, 2), compare(Is::Equal, &[0, 53]), to_port(61053)]);
        let (bytes, last) = table.finish();
        let kinds: Vec<u16> = messages(&bytes).map(|(kind, _, _)| kind).collect();
        let changes = [NEW_TABLE, DELETE_TABLE, NEW_TABLE, NEW_CHAIN, NEW_RULE, NEW_RULE];
        assert_eq!(kinds[1..kinds.len() - 1], changes);
        assert_eq!((kinds[0], kinds.last()), (BATCH_BEGIN, Some(&BATCH_END)));
        assert_eq!(messages(&bytes).map(|(_, _, message)| message.len()).sum::<usize>(), bytes.len());
        assert_eq!(usize::try_from(last).expect("small"), kinds.len() - 1);
    }
}
