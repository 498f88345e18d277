//! `LIKE` and `GLOB`, as SQLite has them and ended in time.
//!
//! Promises: what matches is what matches in SQLite, to the letter: of ASCII's letters the case does not matter to `LIKE`, a
//! text ends at a byte 0, and what is not UTF-8 is read as SQLite reads it. The clock is looked at while it looks.
//! Costs: SQLite knows its own two from others, and only for these looks `GLOB 'abc*'` up in an index.

use memchr::{memchr, memchr2};
use rusqlite::functions::{Context, FunctionFlags};
use rusqlite::{Connection, Error};

use crate::functions::{bytes, in_time, read};

/// A pattern has at most so many bytes; so it is in SQLite.
const PATTERN: usize = 50_000;

/// A step of the comparison takes as long as other work on so many bytes, about.
const STEP: usize = 4;

/// So many are counted together.
const STEPS: usize = 1000;

/// To look for a letter takes as long in so many bytes as other work on one.
const SEARCHED: usize = 16;

/// What has a meaning in a pattern; 0 is none.
#[derive(Clone, Copy)]
struct Signs {
    /// Stands for any letters.
    all: u32,
    /// Stands for any one.
    one: u32,
    /// Takes the meaning from what follows.
    escape: u32,
    /// Begins a set of letters.
    set: u32,
    /// Whether the case of ASCII's letters does not matter.
    folds: bool,
}

const LIKE: Signs = Signs { all: b'%' as u32, one: b'_' as u32, escape: 0, set: 0, folds: true };
const GLOB: Signs = Signs { all: b'*' as u32, one: b'?' as u32, escape: 0, set: b'[' as u32, folds: false };

/// Replaces them for this connection.
pub(crate) fn replace(connection: &Connection) -> rusqlite::Result<()> {
    let flags =
        FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC | FunctionFlags::SQLITE_INNOCUOUS;
    connection.create_scalar_function("glob", 2, flags, |context| compared(context, GLOB))?;
    connection.create_scalar_function("like", 2, flags, |context| compared(context, LIKE))?;
    connection.create_scalar_function("like", 3, flags, |context| compared(context, LIKE))
}

fn compared(context: &Context<'_>, mut signs: Signs) -> rusqlite::Result<Option<bool>> {
    let pattern = bytes(read(context, 0)?);
    if pattern.as_ref().is_some_and(|pattern| pattern.len() > PATTERN) {
        return Err(wrong("LIKE or GLOB pattern too complex"));
    }
    if context.len() > 2 {
        let Some(escape) = bytes(read(context, 2)?) else { return Ok(None) };
        let mut letters = Letters::of(&escape);
        signs.escape = letters.next();
        if signs.escape == 0 || letters.next() != 0 {
            return Err(wrong("ESCAPE expression must be a single character"));
        }
        if signs.escape == signs.all {
            signs.all = 0;
        }
        if signs.escape == signs.one {
            signs.one = 0;
        }
    }
    let text = bytes(read(context, 1)?);
    let (Some(pattern), Some(text)) = (pattern, text) else { return Ok(None) };
    signs.matches(Letters::of(&pattern), Letters::of(&text)).map(Some)
}

fn wrong(text: &str) -> Error {
    Error::UserFunctionError(text.into())
}

impl Signs {
    /// Whether all of the text matches.
    ///
    /// It goes back to the last sign for any letters and to none before: what begins later there ends no sooner.
    fn matches<'a>(self, mut pattern: Letters<'a>, mut text: Letters<'a>) -> rusqlite::Result<bool> {
        let mut again: Option<Again<'a>> = None;
        let mut steps = 0;
        loop {
            steps += 1;
            if steps >= STEPS {
                in_time(steps * STEP)?;
                steps = 0;
            }
            let begin = pattern;
            let fits = match pattern.next() {
                0 if text.is_empty() => return Ok(true),
                0 => false,
                letter if letter == self.all => {
                    match self.any(pattern, text) {
                        Any::Matches => return Ok(true),
                        Any::Fails => return Ok(false),
                        Any::Goes(on) => again = Some(on),
                    }
                    false
                }
                // Later it would be at its end too.
                _ if text.is_empty() => return Ok(false),
                letter if letter == self.set => {
                    let fits = pattern.has(text.next());
                    in_time(begin.0.len() - pattern.0.len())?;
                    fits
                }
                letter if letter == self.escape => match pattern.next() {
                    0 => return Ok(false),
                    letter => self.same(letter, text.next()),
                },
                letter => {
                    let found = text.next();
                    letter == self.one || self.same(letter, found)
                }
            };
            if !fits {
                let Some(again) = &mut again else { return Ok(false) };
                let before = again.text.0.len();
                if !again.next() {
                    return Ok(false);
                }
                (pattern, text) = (again.pattern, again.at);
                in_time((before - text.0.len()) / SEARCHED)?;
            }
        }
    }

    /// What comes of a sign for any letters, and of all such signs that follow it.
    fn any<'a>(self, mut pattern: Letters<'a>, mut text: Letters<'a>) -> Any<'a> {
        loop {
            let begin = pattern;
            let first = match pattern.next() {
                0 => return Any::Matches,
                letter if letter == self.all => continue,
                letter if letter == self.one => match text.next() {
                    0 => return Any::Fails,
                    _ => continue,
                },
                letter if letter == self.set => None,
                letter if letter == self.escape => Some(pattern.next()),
                letter => Some(letter),
            };
            if first == Some(0) {
                return Any::Fails;
            }
            // Bytes of other letters than ASCII's are found in the middle of letters too.
            let ascii = first.and_then(|letter| u8::try_from(letter).ok()).filter(u8::is_ascii);
            let first = ascii.map(|letter| match self.folds {
                true => (letter.to_ascii_lowercase(), letter.to_ascii_uppercase()),
                false => (letter, letter),
            });
            return Any::Goes(Again { pattern: begin, at: text, text, first });
        }
    }

    fn same(self, letter: u32, found: u32) -> bool {
        let folded = |letter: u32| u8::try_from(letter).map(|letter| letter.to_ascii_lowercase());
        let fold = self.folds && letter < 0x80 && found < 0x80;
        letter == found || (fold && folded(letter) == folded(found))
    }
}

/// What comes of a sign for any letters.
enum Any<'a> {
    Matches,
    Fails,
    Goes(Again<'a>),
}

/// What follows a sign for any letters, and where it was tried.
struct Again<'a> {
    pattern: Letters<'a>,
    /// Where it is tried now.
    at: Letters<'a>,
    /// And where it is to be looked for then.
    text: Letters<'a>,
    /// What it begins with, in both cases, where that is a letter of ASCII.
    first: Option<(u8, u8)>,
}

impl Again<'_> {
    /// Goes on to the next place to try it at; says whether there is one.
    fn next(&mut self) -> bool {
        if let Some((one, other)) = self.first {
            let Some(at) = memchr2(one, other, self.text.0) else { return false };
            self.text.0 = &self.text.0[at..];
        }
        self.at = self.text;
        self.text.next() != 0
    }
}

/// What is left of a text. Ends before a byte 0.
#[derive(Clone, Copy)]
struct Letters<'a>(&'a [u8]);

impl<'a> Letters<'a> {
    fn of(text: &'a [u8]) -> Self {
        Self(memchr(0, text).map_or(text, |end| &text[..end]))
    }

    fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// The next letter; 0 at the end.
    fn next(&mut self) -> u32 {
        let Some((&byte, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        if byte < 0xc0 { u32::from(byte) } else { self.long(byte) }
    }

    /// A letter of several bytes, or what SQLite takes for one.
    fn long(&mut self, first: u8) -> u32 {
        let mut letter = u32::from(match first {
            0xc0..=0xdf => first & 0x1f,
            0xe0..=0xef => first & 0x0f,
            0xf0..=0xf7 => first & 0x07,
            0xf8..=0xfb => first & 0x03,
            0xfc..=0xfd => first & 0x01,
            0xfe..=0xff => 0,
            _ => first,
        });
        while let Some((&byte, rest)) = self.0.split_first()
            && byte & 0xc0 == 0x80
        {
            letter = (letter << 6).wrapping_add(u32::from(byte & 0x3f));
            self.0 = rest;
        }
        if letter < 0x80 || letter & 0xffff_f800 == 0xd800 { 0xfffd } else { letter }
    }

    /// Reads a set, whose sign was read, to its end; says whether a letter is in it.
    fn has(&mut self, letter: u32) -> bool {
        let (mut inverted, mut seen, mut before) = (false, false, 0);
        let mut next = self.next();
        if next == u32::from(b'^') {
            inverted = true;
            next = self.next();
        }
        if next == u32::from(b']') {
            seen = letter == next;
            next = self.next();
        }
        while next != 0 && next != u32::from(b']') {
            let more = !matches!(self.0.first(), None | Some(b']'));
            if next == u32::from(b'-') && more && before > 0 {
                next = self.next();
                seen |= (before..=next).contains(&letter);
                before = 0;
            } else {
                seen |= letter == next;
                before = next;
            }
            next = self.next();
        }
        next != 0 && seen != inverted
    }
}

#[cfg(test)]
mod tests {
    use rookery_sqlite::Bound;
    use tokio::time::Instant;

    use super::*;

    #[test]
    fn a_comparison_that_takes_long_is_ended_in_the_middle_and_a_short_one_is_not() {
        let _over = Bound::until(usize::MAX, Some(Instant::now()));
        // Short enough that nobody looks at the clock while they are read; compared they take 10 million steps.
        let (text, pattern) = ([b'a'; 12_000], [&b"%"[..], &[b'a'; 1_000], b"b"].concat());
        let compare = |signs: Signs, pattern: &[u8]| signs.matches(Letters::of(pattern), Letters::of(&text));
        assert!(compare(LIKE, &pattern).is_err());
        assert_eq!(compare(LIKE, b"a%"), Ok(true));
    }
}
