//! An answer on its way.
//!
//! Promises: there is one last delta, `Ended` or `Failed`, and the usage is before it where anything was spent.
//! Ends when: its run's token is cancelled, or it is dropped; then the provider's request ends too.
//! Costs: until the first delta a task of its own, so that trying again does not wait for a reader; none after it.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio_util::task::AbortOnDropHandle;

use crate::delta::{Delta, Error};
use crate::failure::Failure;
use crate::reading::Reading;
use crate::route::Heard;

/// An answer on its way.
pub struct Answer {
    state: State,
    silent: bool,
}

enum State {
    Asking(AbortOnDropHandle<Result<Heard, Failure>>),
    Reading(Box<Reading>),
    Over,
}

impl Answer {
    /// Asks in a task; its failure is the last delta.
    pub(crate) fn ask(asking: impl Future<Output = Result<Heard, Failure>> + Send + 'static) -> Answer {
        Answer { state: State::Asking(AbortOnDropHandle::new(tokio::spawn(asking))), silent: false }
    }

    /// Appends all deltas that have arrived, at least one; `Ready(false)` once the last one was handed over before.
    pub fn poll(&mut self, cx: &mut Context<'_>, into: &mut Vec<Delta>) -> Poll<bool> {
        match &mut self.state {
            State::Over => return Poll::Ready(false),
            State::Asking(task) => match ready!(Pin::new(task).poll(cx)) {
                Ok(Ok(heard)) => {
                    into.extend(heard.deltas);
                    self.state =
                        heard.reading.map_or(State::Over, |reading| State::Reading(Box::new(reading)));
                }
                Ok(Err(failure)) => {
                    self.silent = failure.silent;
                    into.push(Delta::Failed(failure.error));
                    self.state = State::Over;
                }
                Err(broke) => {
                    tracing::error!(error = %broke, "asking a model broke");
                    let text = "the host broke while it asked; its log says more".to_owned();
                    into.push(Delta::Failed(Error::Unavailable(text)));
                    self.state = State::Over;
                }
            },
            State::Reading(reading) => match ready!(reading.poll(cx, into)) {
                Ok(false) => {}
                Ok(true) => self.state = State::Over,
                Err(failure) => {
                    self.silent = failure.silent;
                    reading.fail(failure.error, into);
                    self.state = State::Over;
                }
            },
        }
        Poll::Ready(true)
    }

    /// All deltas that have arrived, at least one; none once the last one was handed over before.
    pub async fn next(&mut self) -> Option<Vec<Delta>> {
        let mut deltas = Vec::new();
        poll_fn(|cx| self.poll(cx, &mut deltas)).await.then_some(deltas)
    }

    /// Whether it failed because the provider fell silent, before its first delta or after.
    pub fn fell_silent(&self) -> bool {
        self.silent
    }
}
