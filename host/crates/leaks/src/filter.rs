//! Finds out quickly that a text has nothing in it.
//!
//! Four bytes of the text are looked up at a time, at every fifth place. A form has at least eight bytes, so five groups of
//! four begin within its first eight, and one of the five is looked at wherever the form begins. Those groups are the table's.
//! The end is looked at besides: where four to seven bytes of a form have come, the last four are such a group as well.

use crate::search::HELD_FROM;
use crate::secrets::SHORTEST;

/// Bits of the table per group in it: one lookup in so many goes wrong and costs a search of a few bytes.
const BITS_PER_GROUP: usize = 256;
/// 512 bytes to 32 KiB, which a processor keeps at hand. 100 secrets fill a fiftieth of the greatest.
const SMALLEST: u32 = 12;
const GREATEST: u32 = 18;

/// Apart by so many bytes, no group of a form is missed.
const STEP: usize = SHORTEST - HELD_FROM + 1;

/// Which groups of four bytes are in the first eight of a form.
pub(crate) struct Filter {
    table: Vec<u64>,
    shift: u32,
}

impl Filter {
    pub(crate) fn new<'a>(forms: impl Iterator<Item = &'a [u8]>) -> Filter {
        let mut groups: Vec<u32> =
            forms.flat_map(|form| (0..STEP).filter_map(|at| group(form, at))).collect();
        groups.sort_unstable();
        groups.dedup();
        let bits = (groups.len() * BITS_PER_GROUP).next_power_of_two().ilog2().clamp(SMALLEST, GREATEST);
        let mut filter = Filter { table: vec![0; 1 << (bits - 6)], shift: u32::BITS - bits };
        for group in groups {
            let (word, bit) = filter.place(group);
            filter.table[word] |= bit;
        }
        filter
    }

    /// Where, at `from` or later, a form could lie in `before` and `text` behind one another: the place of a group. What has
    /// begun before `from` is not looked for, nor is an end of less than four bytes. `before` has at most three.
    pub(crate) fn find(&self, before: &[u8], text: &[u8], from: usize) -> Option<usize> {
        let mut at = from + STEP - 1;
        while let Some(group) = at.checked_sub(before.len()).and_then(|at| group(text, at)) {
            if self.has(group) {
                return Some(at);
            }
            at += STEP;
        }
        let last = (before.len() + text.len()).checked_sub(HELD_FROM).filter(|last| *last >= from)?;
        let group = match last.checked_sub(before.len()) {
            Some(last) => group(text, last)?,
            None => {
                let mut bytes = before[last..].iter().chain(text).copied();
                u32::from_le_bytes(std::array::from_fn(|_| bytes.next().unwrap_or_default()))
            }
        };
        self.has(group).then_some(last)
    }

    fn has(&self, group: u32) -> bool {
        let (word, bit) = self.place(group);
        self.table[word] & bit != 0
    }

    fn place(&self, group: u32) -> (usize, u64) {
        // Knuth's multiplicative hash: the upper bits depend on all bytes of the group.
        let hash = group.wrapping_mul(0x9E37_79B1) >> self.shift;
        (hash as usize >> 6, 1 << (hash & 63))
    }
}

fn group(text: &[u8], at: usize) -> Option<u32> {
    text.get(at..at + HELD_FROM)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
}
