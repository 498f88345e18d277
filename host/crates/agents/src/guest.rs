//! What an agent needs of a guest. The engine implements this with wasm; tests do with a few lines of Rust.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use rookery_core::{AgentId, Alarm, Failure, Generation, Overlap, Prompt};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::reply::Reply;

/// How a plugin wants its agents' runs to be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// How many runs of one agent may wait for their turn; one more is refused.
    pub queue: usize,
    /// How long a run may take, counted from its start (waiting for its turn is not counted, launching is).
    pub deadline: Duration,
    /// How many bytes a run may write, counted as [`rookery_core::Chunk::size`] does.
    pub output: usize,
    /// What happens to a run that comes while another one is queued or running.
    pub overlap: Overlap,
    /// Whether a run is cancelled when the last of its readers leaves.
    pub cancel_on_detach: bool,
    /// How long a guest may take to return after its run was cancelled, before its instance is dropped; and after it was
    /// asked to sleep.
    pub grace: Duration,
    /// How long an instance that has nothing to do stays live.
    pub sleep_after: Duration,
}

/// A loaded plugin, from which instances are launched.
pub trait Plugin: Send + Sync {
    /// How its agents' runs are to be served.
    fn policy(&self) -> Policy;

    /// Tells one version of the plugin from another: the digest of its component.
    fn version(&self) -> &str;

    /// Launches an instance for this agent. The caller makes sure that the agent has no other one, and gives up
    /// waiting at the run's deadline.
    fn launch(
        &self,
        agent: &AgentId,
        generation: Generation,
    ) -> BoxFuture<'static, Result<Box<dyn Instance>, Failure>>;
}

/// A plugin live in memory.
pub trait Instance: Send {
    /// Does as it is asked until the instance has become unusable, and says why it has. Dropping the future drops the
    /// instance and everything it was doing. Between calls it is still polled, so that work which the guest
    /// left behind goes on; `work` is to say, after every poll, whether there is any.
    fn drive(self: Box<Self>, asked: mpsc::Receiver<Ask>, work: Work) -> BoxFuture<'static, Failure>;
}

/// What an instance is asked to do.
#[derive(Debug)]
pub enum Ask {
    /// A run.
    Run(Box<Call>),
    /// To save what it has only in memory, as it is about to be dropped. It has nothing else to do then.
    Sleep(oneshot::Sender<()>),
}

/// Whether a guest is doing anything.
#[derive(Clone, Debug, Default)]
pub struct Work(Arc<AtomicBool>);

impl Work {
    /// Notes whether it is.
    pub fn set(&self, working: bool) {
        self.0.store(working, Ordering::Relaxed);
    }

    pub(crate) fn is_done(&self) -> bool {
        !self.0.load(Ordering::Relaxed)
    }
}

/// One run on its way into a guest.
#[derive(Debug)]
pub struct Call {
    /// What was asked.
    pub prompt: Prompt,
    /// What makes it the ring of an alarm, where it is one: the prompt's text is then the alarm's payload, and its origin
    /// names the alarm.
    pub alarm: Option<Alarm>,
    /// Where the guest writes.
    pub reply: Reply,
    /// Fires when the run was cancelled, or has its outcome: whatever the run still has open must end.
    pub ended: CancellationToken,
    /// Takes what the guest returned.
    pub answer: oneshot::Sender<Result<(), Failure>>,
}
