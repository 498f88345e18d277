//! What an instance may take of memory: its linear memories and tables together.
//!
//! Promise: the sum never exceeds the limit. A guest that asks for more is refused, and most then trap; [`Memory::denied`]
//! tells that trap from others.

use wasmtime::ResourceLimiter;

/// Bytes a table element counts: one pointer.
const ELEMENT: usize = size_of::<usize>();

/// How many core instances, memories and tables one component may have. The largest components of today's toolchains
/// have about ten instances; the host keeps about a kilobyte for each, outside what `limit` counts.
const PARTS: usize = 128;

/// One instance's account.
#[derive(Debug)]
pub(crate) struct Memory {
    used: usize,
    limit: usize,
    denied: bool,
}

impl Memory {
    pub(crate) fn new(limit: usize) -> Self {
        Self { used: 0, limit, denied: false }
    }

    /// Whether the guest was ever refused.
    pub(crate) fn denied(&self) -> bool {
        self.denied
    }

    fn grow(&mut self, by: usize) -> bool {
        match self.used.checked_add(by).filter(|used| *used <= self.limit) {
            Some(used) => self.used = used,
            None => self.denied = true,
        }
        !self.denied
    }
}

impl ResourceLimiter for Memory {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        // Past the memory's own maximum the growth fails whatever is said here, and must not be counted.
        let possible = maximum.is_none_or(|maximum| desired <= maximum);
        Ok(possible && self.grow(desired.saturating_sub(current)))
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let possible = maximum.is_none_or(|maximum| desired <= maximum);
        Ok(possible && self.grow(desired.saturating_sub(current).saturating_mul(ELEMENT)))
    }

    fn instances(&self) -> usize {
        PARTS
    }

    fn tables(&self) -> usize {
        PARTS
    }

    fn memories(&self) -> usize {
        PARTS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memories_and_tables_share_one_limit() {
        let mut memory = Memory::new(1 << 20);
        assert!(memory.memory_growing(0, 512 << 10, None).unwrap());
        assert!(memory.memory_growing(0, 256 << 10, None).unwrap(), "a second memory");
        assert!(memory.table_growing(0, (256 << 10) / ELEMENT, None).unwrap());
        assert!(!memory.denied());
        assert!(!memory.table_growing(0, 1, None).unwrap());
        assert!(memory.denied());
    }

    #[test]
    fn growth_past_a_memorys_own_maximum_is_not_held_against_the_guest() {
        let mut memory = Memory::new(1 << 20);
        assert!(!memory.memory_growing(0, 128 << 10, Some(64 << 10)).unwrap());
        assert!(!memory.denied());
        assert!(memory.memory_growing(0, 1 << 20, None).unwrap());
    }
}
