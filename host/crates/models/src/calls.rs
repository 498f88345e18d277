//! Tool calls put together from their pieces.
//!
//! Promises: a call is handed over whole, in the order in which the calls began: when the next one begins and this one
//! is a whole JSON value, or at the end. Arguments that are empty are `{}`.
//! Bounded by: [`CALLS_LIMIT`] bytes of the calls that are not whole, and [`MOST_CALLS`] in an answer.

use serde::de::IgnoredAny;

use crate::delta::{Delta, Reason};
use crate::failure::Failure;
use crate::request::ToolCall;

/// The most bytes of the arguments that wait together. A file that a model writes through a tool fits in, many times.
pub(crate) const CALLS_LIMIT: usize = 4 * 1024 * 1024;

/// The most calls in one answer: eight times what OpenAI lets a request have tools.
const MOST_CALLS: usize = 1024;

/// The calls of one answer that are not whole.
#[derive(Default)]
pub(crate) struct Calls {
    open: Vec<Open>,
    bytes: usize,
    begun: usize,
    /// Indexes of those that were handed over. A piece more for one of them is a mistake.
    past: Vec<u32>,
}

struct Open {
    index: u32,
    call: ToolCall,
}

/// A piece of a call, as either dialect has it.
pub(crate) struct Fragment<'a> {
    pub(crate) index: u32,
    pub(crate) id: &'a str,
    pub(crate) name: &'a str,
    pub(crate) arguments: &'a str,
}

impl Calls {
    /// Whether any call has begun.
    pub(crate) fn any(&self) -> bool {
        self.begun > 0
    }

    pub(crate) fn push(&mut self, fragment: &Fragment<'_>, into: &mut Vec<Delta>) -> Result<(), Failure> {
        self.bytes += fragment.arguments.len() + fragment.id.len() + fragment.name.len();
        self.bounded()?;
        let known = self.open.iter_mut().rev().find(|open| open.index == fragment.index);
        // Some servers give all calls the index 0, and each an id of its own.
        let is_same = |open: &Open| fragment.id.is_empty() || open.call.id == fragment.id;
        if let Some(open) = known.filter(|open| open.call.id.is_empty() || is_same(open)) {
            if open.call.id.is_empty() {
                fragment.id.clone_into(&mut open.call.id);
            }
            if open.call.name.is_empty() {
                fragment.name.clone_into(&mut open.call.name); // Some servers repeat it with every piece.
            }
            open.call.arguments.push_str(fragment.arguments);
            return Ok(());
        }
        if fragment.id.is_empty() && self.past.contains(&fragment.index) {
            if fragment.arguments.trim().is_empty() {
                return Ok(());
            }
            return Err(Failure::broken("more came of a tool call that was whole".to_owned()));
        }
        self.begin(fragment, into)
    }

    fn begin(&mut self, fragment: &Fragment<'_>, into: &mut Vec<Delta>) -> Result<(), Failure> {
        self.begun += 1;
        if self.begun > MOST_CALLS {
            return Err(Failure::broken(format!("the model asks for more than {MOST_CALLS} tools at once")));
        }
        while self.open.first().is_some_and(|open| is_json(&open.call.arguments)) {
            self.hand_over(into)?;
        }
        let call = ToolCall {
            id: fragment.id.to_owned(),
            name: fragment.name.to_owned(),
            arguments: fragment.arguments.to_owned(),
        };
        self.open.push(Open { index: fragment.index, call });
        Ok(())
    }

    /// More of the arguments of a call; for one that is not known, nothing: a tool that the provider runs itself.
    pub(crate) fn more(&mut self, index: u32, arguments: &str) -> Result<(), Failure> {
        let Some(open) = self.open.iter_mut().rev().find(|open| open.index == index) else { return Ok(()) };
        self.bytes += arguments.len();
        open.call.arguments.push_str(arguments);
        self.bounded()
    }

    fn bounded(&self) -> Result<(), Failure> {
        if self.bytes <= CALLS_LIMIT {
            return Ok(());
        }
        let limit = CALLS_LIMIT >> 20;
        Err(Failure::broken(format!("a tool's arguments are larger than {limit} MiB")))
    }

    /// Nothing more comes for this call: hands it over, and those that began before it, if they are whole.
    pub(crate) fn end(&mut self, index: u32, into: &mut Vec<Delta>) -> Result<(), Failure> {
        let Some(open) = self.open.iter_mut().find(|open| open.index == index) else { return Ok(()) };
        if open.call.arguments.trim().is_empty() {
            open.call.arguments = "{}".to_owned();
        }
        while self.open.first().is_some_and(|open| is_json(&open.call.arguments)) {
            self.hand_over(into)?;
        }
        Ok(())
    }

    /// The answer has ended so. What is then not whole was cut by its length, and is left out, or is a failure.
    pub(crate) fn finish(&mut self, reason: &Reason, into: &mut Vec<Delta>) -> Result<(), Failure> {
        while let Some(open) = self.open.first_mut() {
            if open.call.arguments.trim().is_empty() {
                open.call.arguments = "{}".to_owned();
            }
            if is_json(&open.call.arguments) {
                self.hand_over(into)?;
            } else if *reason == Reason::Length {
                self.open.remove(0);
            } else {
                let name = &open.call.name;
                return Err(Failure::broken(format!(
                    "the model asked for the tool `{name}` with arguments that are not JSON"
                )));
            }
        }
        Ok(())
    }

    fn hand_over(&mut self, into: &mut Vec<Delta>) -> Result<(), Failure> {
        let Open { index, mut call } = self.open.remove(0);
        if call.name.is_empty() {
            return Err(Failure::broken("the model asked for a tool without a name".to_owned()));
        }
        self.bytes = self.bytes.saturating_sub(call.arguments.len() + call.id.len() + call.name.len());
        self.past.push(index);
        if call.id.is_empty() {
            call.id = format!("call_{}", self.past.len()); // Servers that leave it out do not look at it either.
        }
        into.push(Delta::ToolCall(call));
        Ok(())
    }
}

pub(crate) fn is_json(text: &str) -> bool {
    serde_json::from_str::<IgnoredAny>(text).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    type Piece = (u32, &'static str, &'static str, &'static str);

    fn pushed(pieces: &[Piece], reason: Reason) -> Result<Vec<(usize, String)>, Failure> {
        let (mut calls, mut into, mut found) = (Calls::default(), Vec::new(), Vec::new());
        for at in 0..=pieces.len() {
            match pieces.get(at) {
                Some(&(index, id, name, arguments)) => {
                    calls.push(&Fragment { index, id, name, arguments }, &mut into)?;
                }
                None => calls.finish(&reason, &mut into)?,
            }
            found.extend(into.drain(..).map(|delta| match delta {
                Delta::ToolCall(call) => (at, format!("{} {} {}", call.id, call.name, call.arguments)),
                other => panic!("{other:?}"),
            }));
        }
        Ok(found)
    }

    fn said(expected: &[(usize, &str)]) -> Vec<(usize, String)> {
        expected.iter().map(|(at, call)| (*at, (*call).to_owned())).collect()
    }

    #[test]
    fn a_call_is_handed_over_when_the_next_begins_and_the_last_at_the_end() {
        let pieces = [
            (0, "a", "add", ""),
            (0, "", "", "{\"x\""),
            (0, "", "", ":1}"),
            (1, "b", "now", ""),
            (1, "", "", ""),
        ];
        assert_eq!(
            pushed(&pieces, Reason::Stop).expect("two"),
            said(&[(3, "a add {\"x\":1}"), (5, "b now {}")])
        );
    }

    #[test]
    fn calls_may_be_told_in_turn() {
        let pieces = [(0, "a", "one", ""), (1, "b", "two", ""), (0, "", "", "{}"), (1, "", "", "[]")];
        assert_eq!(pushed(&pieces, Reason::Stop).expect("two"), said(&[(4, "a one {}"), (4, "b two []")]));
    }

    #[test]
    fn calls_that_share_an_index_are_told_apart_by_their_ids() {
        let pieces = [(0, "a", "one", "{}"), (0, "b", "two", "{\"y\":"), (0, "b", "two", "2}")];
        assert_eq!(
            pushed(&pieces, Reason::Stop).expect("two"),
            said(&[(1, "a one {}"), (3, "b two {\"y\":2}")])
        );
    }

    #[test]
    fn a_call_without_an_id_gets_one() {
        let pieces = [(0, "", "one", "{}"), (1, "", "two", "{}")];
        assert_eq!(
            pushed(&pieces, Reason::Stop).expect("two"),
            said(&[(1, "call_1 one {}"), (2, "call_2 two {}")])
        );
    }

    #[test]
    fn what_its_length_cut_is_left_out_and_what_is_broken_otherwise_is_a_failure() {
        let pieces = [(0, "a", "one", "{}"), (1, "b", "two", "{\"y\":")];
        assert_eq!(pushed(&pieces, Reason::Length).expect("one"), said(&[(1, "a one {}")]));
        let failure = pushed(&pieces, Reason::Stop).expect_err("not JSON");
        assert!(failure.error.to_string().contains("`two` with arguments that are not JSON"), "{failure:?}");
        assert!(pushed(&[(0, "a", "", "{}")], Reason::Stop).is_err(), "no name");
        let late = [(0, "a", "one", "{}"), (1, "b", "two", "{}"), (0, "", "", "x")];
        assert!(pushed(&late, Reason::Stop).is_err(), "more of a whole one");
    }

    #[test]
    fn arguments_without_an_end_are_a_failure() {
        let (mut calls, mut into) = (Calls::default(), Vec::new());
        let arguments = "x".repeat(CALLS_LIMIT / 2);
        let piece = Fragment { index: 0, id: "a", name: "one", arguments: &arguments };
        assert!(calls.push(&piece, &mut into).is_ok());
        assert!(calls.push(&piece, &mut into).is_err());
    }
}
