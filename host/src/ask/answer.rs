//! A run's answer on stdout: at once, piece by piece.
//!
//! On a terminal the text is made harmless; anywhere else it is passed on as it came.

use std::io::{IsTerminal, Write};

use super::harmless::harmless;
use crate::terminal::Terminal;

/// Where the answer goes.
pub(crate) struct Answer {
    out: Box<dyn Write + Send>,
    terminal: bool,
    /// The last line that was written has no end yet.
    open: bool,
}

/// Nobody reads the answer any more.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Gone;

impl Answer {
    pub(crate) fn new(out: impl Write + IsTerminal + Send + 'static) -> Self {
        let terminal = out.is_terminal();
        Self { out: Box::new(out), terminal, open: false }
    }

    /// Writes a piece of text, which is seen at once.
    pub(crate) fn text(&mut self, text: &str) -> Result<(), Gone> {
        let text = if self.terminal { harmless(text) } else { text.into() };
        if let Some(last) = text.chars().last() {
            self.open = last != '\n';
        }
        self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush()).map_err(|_| Gone)
    }

    /// Ends the last line where that has not happened.
    pub(crate) fn end(&mut self) {
        if std::mem::take(&mut self.open) {
            // Nothing is left to say to a reader that is gone.
            let _ = self.out.write_all(b"\n").and_then(|()| self.out.flush());
        }
    }

    /// Says something on stderr, on a line of its own where both are the same terminal.
    pub(crate) fn aside(&mut self, terminal: &Terminal, line: &str) {
        if self.terminal {
            self.end();
        }
        terminal.note(line);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    struct Closed;

    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn written(terminal: bool, pieces: &[&str]) -> String {
        let shared = Shared::default();
        let mut answer = Answer { out: Box::new(shared.clone()), terminal, open: false };
        for piece in pieces {
            answer.text(piece).unwrap();
        }
        answer.end();
        answer.end();
        String::from_utf8(shared.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn an_answer_ends_with_one_line_break_where_there_is_any() {
        assert_eq!(written(false, &["a", "b"]), "ab\n");
        assert_eq!(written(false, &["a\n", ""]), "a\n");
        assert_eq!(written(false, &["a\n\n"]), "a\n\n");
        assert_eq!(written(false, &[""]), "");
    }

    #[test]
    fn an_escape_reaches_a_pipe_as_it_is_and_a_terminal_never() {
        assert_eq!(written(false, &["\u{1b}", "[2J"]), "\u{1b}[2J\n");
        assert_eq!(written(true, &["\u{1b}", "[2J"]), "\u{fffd}[2J\n");
    }

    #[test]
    fn a_reader_that_has_gone_is_noticed() {
        let mut answer = Answer { out: Box::new(Closed), terminal: false, open: false };
        assert_eq!(answer.text("a"), Err(Gone));
        answer.end();
    }
}
