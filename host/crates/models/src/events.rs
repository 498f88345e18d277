//! Server-Sent Events as providers write them, taken apart where they lie.
//!
//! Promises: an event that lies whole in one piece is not copied. Lines end in LF, CRLF or CR, wherever a piece is cut;
//! a BOM before the first is nothing. An event that ends with the body instead of a blank line counts: what is missing
//! from it does not parse, and what is there was meant.
//! Bounded by: [`EVENT_LIMIT`] for a line, and for an event.

use std::ops::ControlFlow;

use memchr::memchr2;

/// The most bytes of one event. The largest that providers send are pictures, and those are asked for elsewhere.
pub(crate) const EVENT_LIMIT: usize = 1024 * 1024;

/// An event is larger than [`EVENT_LIMIT`].
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooLong;

/// Whether to go on after an event, or why not.
pub(crate) type Heed<E> = ControlFlow<Result<(), E>>;

/// What is left of a stream between its pieces.
#[derive(Default)]
pub(crate) struct Events {
    /// A line that a piece ended in.
    line: Vec<u8>,
    /// The data of an event that a piece ended in, or that has several lines.
    data: Vec<u8>,
    has_data: bool,
    after_cr: bool,
    begun: bool,
}

impl Events {
    /// Takes the next piece, and calls `heed` with the data of each event that is whole with it, until that breaks.
    pub(crate) fn feed<E: From<TooLong>>(
        &mut self,
        piece: &[u8],
        mut heed: impl FnMut(&[u8]) -> Heed<E>,
    ) -> Heed<E> {
        let mut rest = piece;
        if self.after_cr && !rest.is_empty() {
            self.after_cr = false;
            rest = rest.strip_prefix(b"\n").unwrap_or(rest);
        }
        // The data of an event of which nothing was copied yet.
        let mut lying: Option<&[u8]> = None;
        while let Some(at) = memchr2(b'\n', b'\r', rest) {
            let (line, end) = rest.split_at(at);
            rest = &end[1..];
            if end[0] == b'\r' {
                self.after_cr = rest.is_empty();
                rest = rest.strip_prefix(b"\n").unwrap_or(rest);
            }
            if !self.line.is_empty() {
                self.end_line(line)?;
                continue;
            }
            match (self.kind(line), lying) {
                (Line::Other, _) => {}
                (Line::Data(data), None) if !self.has_data => lying = Some(data),
                (Line::Data(data), before) => {
                    lying = None;
                    for data in before.into_iter().chain([data]) {
                        self.keep(data)?;
                    }
                }
                (Line::Blank, Some(data)) => {
                    lying = None;
                    heed(data)?;
                }
                (Line::Blank, None) => self.dispatch(&mut heed)?,
            }
        }
        if let Some(data) = lying {
            self.keep(data)?;
        }
        bounded(self.line.len() + rest.len())?;
        self.line.extend_from_slice(rest);
        ControlFlow::Continue(())
    }

    /// The stream has ended: what of it had no end yet has one now.
    pub(crate) fn finish<E: From<TooLong>>(&mut self, mut heed: impl FnMut(&[u8]) -> Heed<E>) -> Heed<E> {
        self.end_line(b"")?;
        self.dispatch(&mut heed)
    }

    fn dispatch<E>(&mut self, heed: &mut impl FnMut(&[u8]) -> Heed<E>) -> Heed<E> {
        if !std::mem::take(&mut self.has_data) {
            return ControlFlow::Continue(());
        }
        let heeded = heed(&self.data);
        self.data.clear();
        heeded
    }

    /// A line that began in an earlier piece ends with this.
    fn end_line<E: From<TooLong>>(&mut self, end: &[u8]) -> Heed<E> {
        bounded(self.line.len() + end.len())?;
        let mut line = std::mem::take(&mut self.line);
        line.extend_from_slice(end);
        if let Line::Data(data) = self.kind(&line) {
            self.keep(data)?;
        }
        line.clear();
        self.line = line; // Its memory is the next one's.
        ControlFlow::Continue(())
    }

    fn keep<E: From<TooLong>>(&mut self, data: &[u8]) -> Heed<E> {
        bounded(self.data.len() + data.len())?;
        if self.has_data {
            self.data.push(b'\n');
        }
        self.has_data = true;
        self.data.extend_from_slice(data);
        ControlFlow::Continue(())
    }

    fn kind<'l>(&mut self, mut line: &'l [u8]) -> Line<'l> {
        if !self.begun {
            self.begun = true;
            line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
        }
        // llama.cpp once wrote its errors into a field of that name.
        let data = line.strip_prefix(b"data:").or_else(|| line.strip_prefix(b"error:"));
        match data {
            Some(data) => Line::Data(data.strip_prefix(b" ").unwrap_or(data)),
            None if line.is_empty() => Line::Blank,
            None if line == b"data" => Line::Data(b""),
            None => Line::Other,
        }
    }
}

enum Line<'l> {
    Data(&'l [u8]),
    Blank,
    /// A comment, or a field that says nothing here: the data has its type inside.
    Other,
}

fn bounded<E: From<TooLong>>(bytes: usize) -> Heed<E> {
    if bytes > EVENT_LIMIT {
        return ControlFlow::Break(Err(TooLong.into()));
    }
    ControlFlow::Continue(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(pieces: &[&[u8]]) -> Result<Vec<String>, TooLong> {
        let (mut events, mut found) = (Events::default(), Vec::new());
        let mut heed = |data: &[u8]| -> Heed<TooLong> {
            found.push(String::from_utf8(data.to_vec()).expect("text"));
            ControlFlow::Continue(())
        };
        for piece in pieces {
            if let ControlFlow::Break(Err(error)) = events.feed(piece, &mut heed) {
                return Err(error);
            }
        }
        match events.finish(&mut heed) {
            ControlFlow::Break(Err(error)) => Err(error),
            _ => Ok(found),
        }
    }

    #[test]
    fn events_are_the_same_wherever_a_stream_is_cut() {
        let stream = "\u{feff}: hi\nid: 1\ndata: one\n\ndata:two\r\n\r\ndata: a\rdata:  b\r\r\n\nevent: x\n\n\
                      data\n\n: ping\n\ndata: x\r\ndata: y\r\n\r\nretry: 1\ndata: dré\ni\nerror: {}\n\ndata: end";
        let expected = ["one", "two", "a\n b", "", "x\ny", "dré\n{}", "end"];
        assert_eq!(events(&[stream.as_bytes()]).expect("short"), expected);
        for first in 0..stream.len() {
            for second in first..stream.len() {
                let (begin, rest) = stream.as_bytes().split_at(first);
                let (middle, end) = rest.split_at(second - first);
                assert_eq!(events(&[begin, middle, end]).expect("short"), expected, "{first} {second}");
            }
        }
    }

    #[test]
    fn an_event_that_lies_in_one_piece_is_not_copied() {
        let piece = b"data: one\n\ndata: two\n\n";
        let mut events = Events::default();
        let mut count = 0;
        let heeded = events.feed(piece, |data| -> Heed<TooLong> {
            assert!(piece.as_ptr_range().contains(&data.as_ptr()));
            count += 1;
            ControlFlow::Continue(())
        });
        assert!(heeded.is_continue() && count == 2);
    }

    #[test]
    fn what_comes_after_a_break_is_not_looked_at() {
        let mut count = 0;
        let heeded = Events::default().feed(b"data: 1\n\ndata: 2\n\n", |_| -> Heed<TooLong> {
            count += 1;
            ControlFlow::Break(Ok(()))
        });
        assert_eq!((heeded, count), (ControlFlow::Break(Ok(())), 1));
    }

    #[test]
    fn neither_a_line_nor_an_event_is_longer_than_it_may_be() {
        let half = vec![b'x'; EVENT_LIMIT / 2];
        assert_eq!(events(&[b"data: ", &half, &half]), Err(TooLong), "a line without an end");
        assert_eq!(
            events(&[b"data: ", &half, b"\ndata: ", &half, b"\ndata: x\n\n"]),
            Err(TooLong),
            "lines of an event"
        );
        let (colons, data) = (vec![b':'; EVENT_LIMIT], [b"data: ".as_slice(), &half, b"\n\n"].concat());
        assert_eq!(events(&[&colons, b"\n", &data, &data]).expect("each fits").len(), 2);
    }
}
