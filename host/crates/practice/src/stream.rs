//! The body of a streamed answer.
//!
//! Promises: every chunk is its own frame; the first token comes at once and each other one when its delay is
//! over; without a delay there is no timer either.
//! Ends when: all was said, the cut is due, or, for a stall, the connection ends.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{FutureExt as _, Stream, StreamExt as _, stream};
use tokio::time::{Instant, Interval, MissedTickBehavior, Sleep, interval_at, sleep};

use crate::rules::{Answer, Call, Ending, first_token};

/// The server throws away what it has not written yet when a body fails. In this time it is written, so that the
/// client does get the tokens before the cut.
const LAST_WORDS: Duration = Duration::from_millis(10);

/// How an answer is worded in a dialect, frame by frame and in this order.
pub(crate) trait Wording: Send {
    fn opening(&mut self) -> Bytes;

    /// A token that is thought.
    fn thought(&mut self, token: &str) -> Bytes;

    /// A token that is said.
    fn token(&mut self, token: &str) -> Bytes;

    /// The end of an answer to which nothing happened, with the tools that it asks for.
    fn finish(&mut self, calls: &[Call], ending: Ending) -> Vec<Bytes>;

    /// The error that ends a stream.
    fn failure(&self) -> Bytes;
}

/// One answer as Server-Sent Events.
pub(crate) struct Events {
    wording: Box<dyn Wording>,
    answer: Answer,
    opened: bool,
    /// How much of the thoughts and of the text has been told, in bytes.
    thought: usize,
    said: usize,
    pace: Option<Interval>,
    closing: Option<std::vec::IntoIter<Bytes>>,
    then: Then,
}

/// What comes after the last frame.
enum Then {
    End,
    /// The wait begins when it is first looked at.
    Cut(Option<Pin<Box<Sleep>>>),
    Stall,
}

/// The error that makes the server cut the connection.
#[derive(Debug)]
pub(crate) struct Cut;

impl Events {
    pub(crate) fn new(wording: impl Wording + 'static, answer: Answer, delay: Duration) -> Self {
        let then = match answer.ending {
            Ending::Stop | Ending::Length | Ending::Error => Then::End,
            Ending::Cut => Then::Cut(None),
            Ending::Stall => Then::Stall,
        };
        Self {
            wording: Box::new(wording),
            answer,
            opened: false,
            thought: 0,
            said: 0,
            pace: pace(delay),
            closing: None,
            then,
        }
    }

    fn is_told(&self) -> bool {
        self.thought == self.answer.thoughts.len() && self.said == self.answer.text.len()
    }

    /// The next token's frame, if not all is told.
    fn tell(&mut self) -> Bytes {
        let thoughts = &self.answer.thoughts[self.thought..];
        if !thoughts.is_empty() {
            let token = first_token(thoughts);
            self.thought += token.len();
            return self.wording.thought(token);
        }
        let token = first_token(&self.answer.text[self.said..]);
        self.said += token.len();
        self.wording.token(token)
    }

    fn close(&mut self) -> std::vec::IntoIter<Bytes> {
        let frames = match self.answer.ending {
            ending @ (Ending::Stop | Ending::Length) => self.wording.finish(&self.answer.calls, ending),
            Ending::Error => vec![self.wording.failure()],
            Ending::Cut | Ending::Stall => Vec::new(),
        };
        frames.into_iter()
    }
}

fn pace(delay: Duration) -> Option<Interval> {
    if delay.is_zero() {
        return None;
    }
    let mut pace = interval_at(Instant::now() + delay, delay);
    // A reader that was slow gets the rest at the usual pace, not in a burst.
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    Some(pace)
}

impl Stream for Events {
    type Item = Result<Bytes, Cut>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if !std::mem::replace(&mut this.opened, true) {
            return Poll::Ready(Some(Ok(this.wording.opening())));
        }
        if !this.is_told() {
            let is_first = this.thought + this.said == 0;
            if let Some(pace) = this.pace.as_mut().filter(|_| !is_first) {
                ready!(pace.poll_tick(context));
            }
            return Poll::Ready(Some(Ok(this.tell())));
        }
        if this.closing.is_none() {
            this.closing = Some(this.close());
        }
        if let Some(chunk) = this.closing.as_mut().and_then(Iterator::next) {
            return Poll::Ready(Some(Ok(chunk)));
        }
        match &mut this.then {
            Then::End => Poll::Ready(None),
            Then::Stall => Poll::Pending,
            Then::Cut(wait) => {
                ready!(wait.get_or_insert_with(|| Box::pin(sleep(LAST_WORDS))).poll_unpin(context));
                this.then = Then::End;
                Poll::Ready(Some(Err(Cut)))
            }
        }
    }
}

/// A body that is cut after its only frame.
pub(crate) fn cut_after(frame: Bytes) -> impl Stream<Item = Result<Bytes, Cut>> + Send {
    let cut = async {
        sleep(LAST_WORDS).await;
        Err(Cut)
    };
    stream::iter([Ok(frame)]).chain(stream::once(cut))
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the prompt asks for a cut connection")
    }
}

impl std::error::Error for Cut {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::{self, Plan, Question};
    use crate::wire::{Asked, Chunks};

    fn events(prompt: &str, delay: Duration) -> Events {
        let body = serde_json::json!({"model": "m", "messages": [{"role": "user", "content": prompt}]});
        let asked = Asked::parse(body.to_string().as_bytes()).unwrap();
        let question = Question { prompt, messages: 1, told: &[], authorization: None, most_tokens: None };
        let Plan::Answer(answer) = rules::plan(&question) else { panic!("{prompt} has no answer") };
        let delay = answer.delay.unwrap_or(delay);
        Events::new(Chunks::new(&asked, None), answer, delay)
    }

    /// What is said in each frame, with the milliseconds at which it came.
    async fn timed(mut events: Events) -> Vec<(u128, String)> {
        let begun = Instant::now();
        let mut frames = Vec::new();
        while let Some(frame) = events.next().await {
            let frame = match frame {
                Ok(frame) => String::from_utf8(frame.to_vec()).unwrap(),
                Err(Cut) => "cut".to_owned(),
            };
            let said = match frame.split_once(r#""content":""#) {
                Some((_, rest)) => rest.split_once('"').unwrap().0.to_owned(),
                None if frame.contains(r#""finish_reason":"stop""#) => "stop".to_owned(),
                None => frame.trim_end().to_owned(),
            };
            frames.push((begun.elapsed().as_millis(), said));
        }
        frames
    }

    fn at(frames: &[(u128, &str)]) -> Vec<(u128, String)> {
        frames.iter().map(|(ms, said)| (*ms, (*said).to_owned())).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn each_token_after_the_first_comes_when_its_delay_is_over() {
        assert_eq!(
            timed(events("/tokens 3", Duration::from_millis(30))).await,
            at(&[(0, ""), (0, "t1"), (30, " t2"), (60, " t3"), (60, "stop"), (60, "data: [DONE]")]),
        );
    }

    #[tokio::test(start_paused = true)]
    async fn the_delay_in_the_prompt_goes_before_the_one_of_the_settings() {
        assert_eq!(
            timed(events("/tokens 2 /delay 500", Duration::from_millis(30))).await,
            at(&[(0, ""), (0, "t1"), (500, " t2"), (500, "stop"), (500, "data: [DONE]")]),
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_was_slow_gets_the_rest_at_the_usual_pace() {
        let mut events = events("/tokens 9", Duration::from_millis(30));
        events.next().await.unwrap().unwrap();
        events.next().await.unwrap().unwrap();
        tokio::time::advance(Duration::from_millis(100)).await;
        let rest = timed(events).await;
        assert_eq!(rest[..3], at(&[(0, " t2"), (30, " t3"), (60, " t4")]));
    }

    #[test]
    fn without_a_delay_all_is_there_at_once_and_no_clock_is_needed() {
        let frames: Vec<_> =
            events("/tokens 1000", Duration::ZERO).collect::<Vec<_>>().now_or_never().unwrap();
        assert_eq!(frames.len(), 1 + 1000 + 1 + 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_cut_comes_after_its_tokens_had_time_to_be_written() {
        assert_eq!(
            timed(events("/tokens 9 /cut 2 /delay 20", Duration::ZERO)).await,
            at(&[(0, ""), (0, "t1"), (20, " t2"), (30, "cut")]),
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_stall_lasts_longer_than_a_day() {
        let mut events = events("/tokens 9 /stall 1", Duration::from_millis(30));
        events.next().await.unwrap().unwrap();
        events.next().await.unwrap().unwrap();
        let day = Duration::from_secs(24 * 60 * 60);
        assert!(tokio::time::timeout(day, events.next()).await.is_err());
    }
}
