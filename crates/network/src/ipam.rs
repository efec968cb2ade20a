//! Which addresses of the node's pod range are taken.

use std::collections::HashMap;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

/// Hands out addresses in turn, so that one just released is not soon somebody else's.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    range: Option<Ipv4Net>,
    /// Address → who has it. Also holds addresses of an earlier range until their owners go.
    taken: HashMap<Ipv4Addr, String>,
    last: u32,
}

impl Pool {
    pub(crate) fn set_range(&mut self, range: Ipv4Net) {
        if self.range != Some(range) {
            self.range = Some(range);
            self.last = 0;
        }
    }

    pub(crate) fn range(&self) -> Option<Ipv4Net> {
        self.range
    }

    /// Marks an address as known to be in use (found on disk at start).
    pub(crate) fn claim(&mut self, address: Ipv4Addr, owner: &str) {
        self.taken.insert(address, owner.to_owned());
    }

    /// The next free address, without the range's network and broadcast addresses.
    pub(crate) fn allocate(&mut self, owner: &str) -> Option<Ipv4Addr> {
        let range = self.range?;
        let base = u32::from(range.network());
        let size = u32::from(range.broadcast()) - base;
        for step in 1..size {
            let offset = 1 + (self.last + step - 1) % (size - 1);
            let address = Ipv4Addr::from(base + offset);
            if !self.taken.contains_key(&address) {
                self.last = offset;
                self.claim(address, owner);
                return Some(address);
            }
        }
        None
    }

    pub(crate) fn release(&mut self, address: Ipv4Addr) {
        self.taken.remove(&address);
    }
}
