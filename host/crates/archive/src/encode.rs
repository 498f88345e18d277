//! Events as bytes and back, and what a run spent.
//!
//! Promises: what is written reads back the same; bytes that were damaged are an error or other events, never a panic
//! and never more memory than there are bytes.
//!
//! A *block* is a row of events without their ids, for they follow from the first one's. Each is the length of what
//! comes (four bytes, little endian, so that an event can be passed over unread), a tag, and the tag's fields: texts
//! behind their length, numbers as LEB128.

use rookery_core::{Chunk, Failure, Item, Money, Outcome, Spent, Stop};

use crate::error::Damaged;
use crate::rows;

/// Tags are stored: one never changes its meaning.
mod tag {
    pub(super) const TEXT: u8 = 1;
    pub(super) const REASONING: u8 = 2;
    pub(super) const DATA: u8 = 3;
    pub(super) const TOOL_CALL: u8 = 4;
    pub(super) const TOOL_RESULT: u8 = 5;
    pub(super) const USAGE: u8 = 6;
    pub(super) const DONE: u8 = 16;
    pub(super) const FAILED: u8 = 17;
    pub(super) const CANCELLED: u8 = 18;
}

/// Appends an event to a block.
pub(crate) fn append(block: &mut Vec<u8>, item: &Item) {
    let start = block.len();
    block.extend_from_slice(&[0; PREFIX]);
    match item {
        Item::Chunk(chunk) => put_chunk(block, chunk),
        Item::Outcome(outcome) => put_outcome(block, outcome),
    }
    // The largest event is some MiB (`LARGEST_VALUE`), so this never saturates.
    let length = u32::try_from(block.len() - start - PREFIX).unwrap_or(u32::MAX);
    block[start..start + PREFIX].copy_from_slice(&length.to_le_bytes());
}

/// What a run spent, as it is in the run's row.
pub(crate) fn spent(spent: Spent) -> Vec<u8> {
    let mut bytes = Vec::new();
    for number in [spent.requests, spent.input_tokens, spent.output_tokens, spent.money.0] {
        put_number(&mut bytes, number);
    }
    bytes
}

/// And back.
pub(crate) fn read_spent(bytes: &[u8]) -> Result<Spent, Damaged> {
    let mut fields = Fields(bytes);
    let mut number = || fields.number().map_err(|_| DAMAGED_SPENT);
    let spent = Spent {
        requests: number()?,
        input_tokens: number()?,
        output_tokens: number()?,
        money: Money(number()?),
    };
    if fields.0.is_empty() { Ok(spent) } else { Err(DAMAGED_SPENT) }
}

/// The events of a block, in order.
pub(crate) struct Items<'a>(Fields<'a>);

impl<'a> Items<'a> {
    pub(crate) fn new(block: &'a [u8]) -> Self {
        Self(Fields(block))
    }

    /// Passes over one event without looking at it.
    pub(crate) fn pass(&mut self) -> Result<(), Damaged> {
        self.0.item().map(drop)
    }
}

impl Iterator for Items<'_> {
    type Item = Result<Item, Damaged>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.0.is_empty() {
            return None;
        }
        Some(self.0.item().and_then(|mut fields| {
            let item = item(&mut fields)?;
            if fields.0.is_empty() { Ok(item) } else { Err(DAMAGED) }
        }))
    }
}

const PREFIX: usize = size_of::<u32>();
const DAMAGED: Damaged = Damaged("an event");
const DAMAGED_SPENT: Damaged = Damaged("what a run spent");

fn put_chunk(to: &mut Vec<u8>, chunk: &Chunk) {
    match chunk {
        Chunk::Text(text) => put(to, tag::TEXT, &[text]),
        Chunk::Reasoning(text) => put(to, tag::REASONING, &[text]),
        Chunk::Data { name, json } => put(to, tag::DATA, &[name, json]),
        Chunk::ToolCall { id, name, arguments } => put(to, tag::TOOL_CALL, &[id, name, arguments]),
        Chunk::ToolResult { id, content, is_error } => {
            put(to, tag::TOOL_RESULT, &[id, content]);
            to.push(u8::from(*is_error));
        }
        Chunk::Usage { model, input_tokens, output_tokens } => {
            put(to, tag::USAGE, &[model]);
            put_number(to, *input_tokens);
            put_number(to, *output_tokens);
        }
    }
}

fn put_outcome(to: &mut Vec<u8>, outcome: &Outcome) {
    match outcome {
        Outcome::Done => put(to, tag::DONE, &[]),
        Outcome::Failed(Failure { code, message }) => put(to, tag::FAILED, &[code.as_str(), message]),
        Outcome::Cancelled(stop) => put(to, tag::CANCELLED, &[stop.as_str()]),
    }
}

fn put(to: &mut Vec<u8>, tag: u8, texts: &[&str]) {
    to.push(tag);
    for text in texts {
        put_number(to, text.len() as u64);
        to.extend_from_slice(text.as_bytes());
    }
}

fn put_number(to: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        to.push(number as u8 | 0x80);
        number >>= 7;
    }
    to.push(number as u8);
}

fn item(fields: &mut Fields<'_>) -> Result<Item, Damaged> {
    let chunk = match fields.byte()? {
        tag::TEXT => Chunk::Text(fields.text()?),
        tag::REASONING => Chunk::Reasoning(fields.text()?),
        tag::DATA => Chunk::Data { name: fields.text()?, json: fields.text()? },
        tag::TOOL_CALL => {
            Chunk::ToolCall { id: fields.text()?, name: fields.text()?, arguments: fields.text()? }
        }
        tag::TOOL_RESULT => {
            Chunk::ToolResult { id: fields.text()?, content: fields.text()?, is_error: fields.flag()? }
        }
        tag::USAGE => Chunk::Usage {
            model: fields.text()?,
            input_tokens: fields.number()?,
            output_tokens: fields.number()?,
        },
        tag::DONE => return Ok(Item::Outcome(Outcome::Done)),
        tag::FAILED => return fields.failure().map(|failure| Item::Outcome(Outcome::Failed(failure))),
        tag::CANCELLED => return fields.stop().map(|stop| Item::Outcome(Outcome::Cancelled(stop))),
        _ => return Err(DAMAGED),
    };
    Ok(Item::Chunk(chunk))
}

/// What is left to read. Every method takes from the front.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], Damaged> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(DAMAGED)?;
        self.0 = rest;
        Ok(taken)
    }

    fn item(&mut self) -> Result<Fields<'a>, Damaged> {
        let (length, rest) = self.0.split_first_chunk::<PREFIX>().ok_or(DAMAGED)?;
        self.0 = rest;
        self.take(u32::from_le_bytes(*length) as usize).map(Fields)
    }

    fn byte(&mut self) -> Result<u8, Damaged> {
        self.take(1).map(|taken| taken[0])
    }

    fn flag(&mut self) -> Result<bool, Damaged> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(DAMAGED),
        }
    }

    fn number(&mut self) -> Result<u64, Damaged> {
        let mut number = 0u64;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            number |= bits << shift;
            if (number >> shift) & 0x7f != bits {
                return Err(DAMAGED);
            }
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(DAMAGED)
    }

    fn str(&mut self) -> Result<&'a str, Damaged> {
        let length = usize::try_from(self.number()?).map_err(|_| DAMAGED)?;
        std::str::from_utf8(self.take(length)?).map_err(|_| DAMAGED)
    }

    fn text(&mut self) -> Result<String, Damaged> {
        self.str().map(str::to_owned)
    }

    fn failure(&mut self) -> Result<Failure, Damaged> {
        // Not `Failure::new`: what was cut once is not cut again.
        Ok(Failure { code: rows::code(self.str()?)?, message: self.text()? })
    }

    fn stop(&mut self) -> Result<Stop, Damaged> {
        rows::stop(self.str()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{every_item, every_spent};

    fn block(items: &[Item]) -> Vec<u8> {
        let mut block = Vec::new();
        for item in items {
            append(&mut block, item);
        }
        block
    }

    #[test]
    fn what_is_written_reads_back_the_same() {
        let items = every_item();
        let block = block(&items);
        let read: Vec<_> = Items::new(&block).collect::<Result<_, _>>().unwrap();
        assert_eq!(read, items);
        for skip in 0..=items.len() {
            let mut rest = Items::new(&block);
            for _ in 0..skip {
                rest.pass().unwrap();
            }
            assert_eq!(rest.map(Result::unwrap).collect::<Vec<_>>(), items[skip..]);
        }
    }

    #[test]
    fn a_block_that_was_cut_is_an_error_and_keeps_what_is_whole() {
        let items = every_item();
        let block = block(&items);
        let mut ends = vec![0];
        for item in &items {
            ends.push(ends.last().unwrap() + self::block(std::slice::from_ref(item)).len());
        }
        for cut in (0..block.len()).filter(|cut| *cut < 4096 || cut % 97 == 0) {
            let whole = ends.iter().filter(|end| **end > 0 && **end <= cut).count();
            let read: Vec<_> = Items::new(&block[..cut]).take(whole + 1).collect();
            assert!(read.iter().take(whole).all(Result::is_ok));
            assert_eq!(read.len(), whole + usize::from(!ends.contains(&cut)), "cut at {cut}");
            assert!(read.get(whole).is_none_or(Result::is_err));
        }
    }

    #[test]
    fn damaged_bytes_are_never_a_panic() {
        for item in every_item() {
            let good = block(&[item]);
            // A long text differs from a short one in its length only.
            for at in 0..good.len().min(100) {
                for value in 0..=u8::MAX {
                    let mut bad = good[..good.len().min(1_000)].to_vec();
                    bad[at] = value;
                    // Ends at the first error: after it nothing can be told from anything.
                    for item in Items::new(&bad).take(100) {
                        if item.is_err() {
                            break;
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn what_a_run_spent_reads_back_the_same_and_anything_else_is_an_error() {
        for spent in every_spent() {
            let bytes = self::spent(spent);
            assert_eq!(read_spent(&bytes).unwrap(), spent);
            for cut in 0..bytes.len() {
                assert!(read_spent(&bytes[..cut]).is_err(), "{spent:?} cut at {cut}");
            }
            assert!(read_spent(&[&*bytes, &[0]].concat()).is_err(), "{spent:?} and more");
        }
    }

    #[test]
    fn a_number_has_one_end_and_fits() {
        for number in [0, 1, 127, 128, 1 << 32, u64::MAX - 1, u64::MAX] {
            let mut bytes = Vec::new();
            put_number(&mut bytes, number);
            assert_eq!(Fields(&bytes).number().unwrap(), number);
        }
        assert!(Fields(&[0xff; 20]).number().is_err());
        let over = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02];
        assert!(Fields(&over).number().is_err(), "65 bits");
    }
}
