//! Deltas put together to a whole answer.
//!
//! Bounded by: [`ANSWER_LIMIT`], for deltas that come from elsewhere than an [`Answer`](crate::Answer).

use crate::delta::{Delta, Ending, Error, Whole};
use crate::parser::{ANSWER_LIMIT, bytes};

/// Puts deltas together.
#[derive(Debug, Default)]
pub struct Assembly {
    whole: Whole,
    bytes: usize,
    end: Option<Result<(), Error>>,
}

impl Assembly {
    /// Takes the next delta. What comes after the last one is not taken.
    pub fn push(&mut self, delta: &Delta) {
        if self.end.is_some() {
            return;
        }
        self.bytes += bytes(delta);
        if self.bytes > ANSWER_LIMIT {
            let limit = ANSWER_LIMIT >> 20;
            self.end = Some(Err(Error::Unavailable(format!("the answer is larger than {limit} MiB"))));
            return;
        }
        match delta {
            Delta::Text(text) => self.whole.message.text.push_str(text),
            Delta::Reasoning(thought) => self.whole.reasoning.push_str(thought),
            Delta::ToolCall(call) => self.whole.message.tool_calls.push(call.clone()),
            Delta::Usage(usage) => self.whole.usage = usage.clone(),
            Delta::Ended(Ending { reason, state }) => {
                self.whole.reason = reason.clone();
                self.whole.message.state.clone_from(state);
                self.end = Some(Ok(()));
            }
            Delta::Failed(error) => self.end = Some(Err(error.clone())),
        }
    }

    /// What was said, or why it is not whole; `Cancelled` where the last delta is missing.
    pub fn finish(self) -> Result<Whole, Error> {
        self.end.unwrap_or(Err(Error::Cancelled)).map(|()| self.whole)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delta::{Reason, Usage};
    use crate::request::{Assistant, ToolCall};

    #[test]
    fn deltas_become_what_they_say_together() {
        let call = ToolCall { id: "c1".into(), name: "add".into(), arguments: "{}".into() };
        let usage = Usage { model: "m".into(), input_tokens: 3, output_tokens: 5 };
        let ending = Ending { reason: Reason::ToolCalls, state: Some("[]".into()) };
        let mut assembly = Assembly::default();
        for delta in [
            Delta::Reasoning("hm".into()),
            Delta::Text("one ".into()),
            Delta::Reasoning(", yes".into()),
            Delta::Text("two".into()),
            Delta::ToolCall(call.clone()),
            Delta::Usage(usage.clone()),
            Delta::Ended(ending),
            Delta::Text("after the end".into()),
        ] {
            assembly.push(&delta);
        }
        let message = Assistant { text: "one two".into(), tool_calls: vec![call], state: Some("[]".into()) };
        let expected = Whole { message, reasoning: "hm, yes".into(), reason: Reason::ToolCalls, usage };
        assert_eq!(assembly.finish(), Ok(expected));
    }

    #[test]
    fn what_did_not_end_or_failed_is_not_whole() {
        let mut cut = Assembly::default();
        cut.push(&Delta::Text("one".into()));
        assert_eq!(cut.finish(), Err(Error::Cancelled));

        let mut failed = Assembly::default();
        failed.push(&Delta::Failed(Error::Unavailable("away".into())));
        assert_eq!(failed.finish(), Err(Error::Unavailable("away".into())));
    }

    #[test]
    fn an_answer_without_an_end_is_given_up() {
        let (mut endless, piece) = (Assembly::default(), Delta::Text("x".repeat(1024 * 1024)));
        for _ in 0..=ANSWER_LIMIT >> 20 {
            endless.push(&piece);
        }
        assert!(matches!(endless.finish(), Err(Error::Unavailable(text)) if text.contains("16 MiB")));
    }
}
