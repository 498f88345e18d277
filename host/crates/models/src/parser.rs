//! From the bytes of a provider's answer to deltas.
//!
//! Promises: the same bytes are the same deltas wherever they are cut. One delta of the provider's is one delta here;
//! empty ones are none. The usage comes once, before the end, and the end once.
//! Bounded by: [`ANSWER_LIMIT`] for all words of an answer, and what `events` and `calls` say.

use std::ops::ControlFlow;

use crate::calls::CALLS_LIMIT;
use crate::delta::{Delta, Ending, Error, Usage};
use crate::dialect::{Reader, Step, speak};
use crate::events::Events;
use crate::failure::{Failure, Then};
use crate::provider::Dialect;

/// The most bytes that an answer may have, all of its deltas together: a hundred times the longest that models write.
pub const ANSWER_LIMIT: usize = 16 * 1024 * 1024;

/// The most bytes of an answer that comes in one document.
const DOCUMENT_LIMIT: usize = ANSWER_LIMIT + CALLS_LIMIT;

/// Reads one answer of a provider, piece by piece as it arrives.
///
/// For recorded streams; an [`Answer`](crate::Answer) does this by itself.
pub struct Parser {
    form: Form,
    reader: Box<dyn Reader>,
    /// The provider's name for the model, where the answer has none.
    model: String,
    /// Bytes of the question.
    sent: usize,
    /// Bytes of the deltas.
    heard: usize,
    over: bool,
}

enum Form {
    Stream(Events),
    Document(Vec<u8>),
}

/// What a piece brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Brought {
    /// Signs of life at most.
    Nothing,
    /// Something of the answer.
    Some,
    /// The end, which is in `into`.
    End,
}

impl Parser {
    /// For a stream of this dialect. `model` and `sent`, the bytes of the question, are for the usage where the stream
    /// has none.
    pub fn new(dialect: Dialect, model: &str, sent: usize) -> Parser {
        Parser {
            form: Form::Stream(Events::default()),
            reader: speak(dialect).reader(),
            model: model.to_owned(),
            sent,
            heard: 0,
            over: false,
        }
    }

    /// For an answer that comes in one JSON document.
    pub fn document(dialect: Dialect, model: &str, sent: usize) -> Parser {
        Parser { form: Form::Document(Vec::new()), ..Parser::new(dialect, model, sent) }
    }

    /// Appends what the next piece says. Nothing comes after `Ended` or `Failed`.
    pub fn feed(&mut self, piece: &[u8], into: &mut Vec<Delta>) {
        if let Err(failure) = self.read(piece, into) {
            self.fail(failure.error, into);
        }
    }

    /// The last piece was there: appends the end, if it is not there yet.
    pub fn finish(&mut self, into: &mut Vec<Delta>) {
        if let Err(failure) = self.close(into) {
            self.fail(failure.error, into);
        }
    }

    /// As [`feed`](Parser::feed), with the failure by itself.
    pub(crate) fn read(&mut self, piece: &[u8], into: &mut Vec<Delta>) -> Result<Brought, Failure> {
        if self.over {
            return Ok(Brought::End);
        }
        let Parser { form, reader, heard, .. } = self;
        let mut brought = Brought::Nothing;
        let events = match form {
            Form::Stream(events) => events,
            Form::Document(document) if document.len() + piece.len() > DOCUMENT_LIMIT => {
                return Err(too_long());
            }
            Form::Document(document) => {
                document.extend_from_slice(piece);
                return Ok(Brought::Some);
            }
        };
        let heeded = events.feed(piece, |data| match read_event(&mut **reader, heard, data, into) {
            Ok(Step::Nothing) => ControlFlow::Continue(()),
            Ok(Step::Some) => {
                brought = Brought::Some;
                ControlFlow::Continue(())
            }
            Ok(Step::Last) => ControlFlow::Break(Ok(())),
            Err(failure) => ControlFlow::Break(Err(failure)),
        });
        match heeded {
            ControlFlow::Continue(()) => Ok(brought),
            ControlFlow::Break(Err(failure)) => Err(failure),
            ControlFlow::Break(Ok(())) => {
                self.end(into)?;
                Ok(Brought::End)
            }
        }
    }

    /// As [`finish`](Parser::finish), with the failure by itself.
    pub(crate) fn close(&mut self, into: &mut Vec<Delta>) -> Result<(), Failure> {
        if self.over {
            return Ok(());
        }
        let Parser { form, reader, heard, .. } = self;
        match form {
            Form::Document(document) => {
                let before = into.len();
                reader.document(document, into)?;
                *heard += into[before..].iter().map(bytes).sum::<usize>();
            }
            Form::Stream(events) => {
                let heeded = events.finish(|data| match read_event(&mut **reader, heard, data, into) {
                    Ok(_) => ControlFlow::Continue(()),
                    // Half an event is how a broken connection looks.
                    Err(failure) if failure.then == Then::Again(None) => ControlFlow::Continue(()),
                    Err(failure) => ControlFlow::Break(Err(failure)),
                });
                if let ControlFlow::Break(Err(failure)) = heeded {
                    return Err(failure);
                }
            }
        }
        self.end(into)
    }

    /// Whether it was said how the answer ended. What is lost after that is no word of it.
    pub(crate) fn has_ended(&self) -> bool {
        self.reader.has_ended()
    }

    /// It ends so, with what was spent, unless nothing was.
    pub(crate) fn fail(&mut self, error: Error, into: &mut Vec<Delta>) {
        if std::mem::replace(&mut self.over, true) {
            return;
        }
        let spent = self.reader.spent();
        if self.heard > 0 || spent.input.is_some() || spent.output.is_some() {
            into.push(Delta::Usage(self.usage()));
        }
        into.push(Delta::Failed(error));
    }

    fn end(&mut self, into: &mut Vec<Delta>) -> Result<(), Failure> {
        let Some((reason, state)) = self.reader.ending() else {
            return Err(Failure::broken("the provider broke off before its answer was whole".to_owned()));
        };
        self.over = true;
        into.push(Delta::Usage(self.usage()));
        into.push(Delta::Ended(Ending { reason, state }));
        Ok(())
    }

    fn usage(&self) -> Usage {
        self.reader.spent().usage(&self.model, self.sent, self.heard)
    }
}

fn read_event(
    reader: &mut dyn Reader,
    heard: &mut usize,
    data: &[u8],
    into: &mut Vec<Delta>,
) -> Result<Step, Failure> {
    let before = into.len();
    let step = reader.event(data, into)?;
    *heard += into[before..].iter().map(bytes).sum::<usize>();
    if *heard > ANSWER_LIMIT {
        return Err(too_long());
    }
    Ok(step)
}

fn too_long() -> Failure {
    Failure::broken(format!("the answer is larger than {} MiB", ANSWER_LIMIT >> 20))
}

/// What a delta adds to an answer.
pub(crate) fn bytes(delta: &Delta) -> usize {
    match delta {
        Delta::Text(text) | Delta::Reasoning(text) => text.len(),
        Delta::ToolCall(call) => call.id.len() + call.name.len() + call.arguments.len(),
        Delta::Usage(_) | Delta::Ended(_) | Delta::Failed(_) => 0,
    }
}
