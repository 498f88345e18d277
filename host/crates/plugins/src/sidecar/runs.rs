//! [runs]: how runs of a plugin's agents are served.

use std::num::NonZeroUsize;
use std::time::Duration;

use rookery_core::Overlap;
use rookery_outgoing::Timeouts;
use rookery_tables::{Expected, Mistake, Mistakes, NUMBER, SPAN, Table, number, span};

/// How runs of a plugin's agents are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Runs {
    /// How long a run may take.
    pub deadline: Duration,
    /// How many runs of one agent may wait for their turn.
    pub queue: usize,
    /// What happens to a run that comes while another one is queued or running.
    pub overlap: Overlap,
    /// Whether a run is cancelled when the last of its readers leaves.
    pub cancel_on_detach: bool,
    /// How long a guest may take to return after its run was cancelled.
    pub grace: Duration,
    /// How long a response may be silent while a guest waits for more of it.
    pub stall: Duration,
}

pub(super) const KEYS: &[&str] =
    &["deadline", "queue", "overlap", "concurrency", "on_detach", "grace", "stall"];

impl Default for Runs {
    /// A model that thinks and uses tools takes minutes; a thousand waiting runs are a few hundred KiB. A guest that
    /// hears of its end has only to return. A model that streams says something every few seconds.
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(600),
            queue: 1024,
            overlap: Overlap::Queue,
            cancel_on_detach: false,
            grace: Duration::from_secs(5),
            stall: Timeouts::default().between_bytes,
        }
    }
}

/// How many runs overlap where the plugin wants that and does not say how many. As many requests to a model at once as
/// an ordinary key allows.
const CONCURRENCY: NonZeroUsize = NonZeroUsize::new(16).unwrap();

const OVERLAP: Expected<'_> =
    Expected { what: r#""queue", "reject", "interrupt" or "concurrent""#, example: r#""queue""# };

const DETACH: Expected<'_> = Expected { what: r#""continue" or "cancel""#, example: r#""continue""# };

impl Runs {
    pub(super) fn read(runs: &Table<'_>, errors: &Mistakes<'_>) -> Self {
        let default = Self::default();
        let concurrency =
            runs.read("concurrency", None, NUMBER, |value| Some(number(value)?.try_into().ok()));
        let read = Self {
            deadline: runs.read("deadline", default.deadline, SPAN, span),
            queue: runs.read("queue", default.queue, NUMBER, number),
            overlap: runs.read("overlap", default.overlap, OVERLAP, |value| match value.as_str()? {
                "queue" => Some(Overlap::Queue),
                "reject" => Some(Overlap::Reject),
                "interrupt" => Some(Overlap::Interrupt),
                "concurrent" => Some(Overlap::Concurrent(concurrency.unwrap_or(CONCURRENCY))),
                _ => None,
            }),
            cancel_on_detach: runs.read("on_detach", default.cancel_on_detach, DETACH, |value| {
                match value.as_str()? {
                    "continue" => Some(false),
                    "cancel" => Some(true),
                    _ => None,
                }
            }),
            grace: runs.read("grace", default.grace, SPAN, span),
            stall: runs.read("stall", default.stall, SPAN, span),
        };
        if concurrency.is_some() && !matches!(read.overlap, Overlap::Concurrent(_)) {
            let what = "`concurrency` in [runs] does nothing here, as runs do not overlap".into();
            errors.add(Mistake {
                line: runs.get("concurrency").map(|entry| entry.line()),
                what,
                hint: "add `overlap = \"concurrent\"`, or take it out".into(),
            });
        }
        read
    }
}
