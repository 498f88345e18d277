//! Where a run stands: what is known of it beside its events.

use std::fmt;
use std::str::FromStr;
use std::time::SystemTime;

use crate::{AgentId, Generation, Origin, Outcome, RunId, Spent};

/// What is known of one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunState {
    /// Which run.
    pub run: RunId,
    /// Whose run.
    pub agent: AgentId,
    /// Who asked.
    pub origin: Origin,
    /// What was asked; in a list only its beginning.
    pub prompt: String,
    /// Whether the prompt goes on after that.
    pub prompt_cut: bool,
    /// When it was accepted.
    pub submitted: SystemTime,
    /// When its turn came, and with which instance.
    pub started: Option<(SystemTime, Generation)>,
    /// When it had its outcome.
    pub ended: Option<SystemTime>,
    /// How far it is.
    pub standing: Standing,
    /// How many events it has, the outcome among them.
    pub events: u64,
    /// What it asked of models so far, or in all; nothing where it was interrupted.
    pub spent: Spent,
}

/// As much of a prompt as is in a list, in bytes. A paragraph, which tells a run from others; five hundred of them are half a
/// MiB, where whole prompts could be gigabytes.
pub const LISTED_PROMPT: usize = 1024;

impl RunState {
    /// The beginning of a prompt for a list, and whether it goes on after that. No character is broken.
    pub fn listed(prompt: &str) -> (&str, bool) {
        let head = &prompt[..prompt.floor_char_boundary(LISTED_PROMPT)];
        (head, head.len() < prompt.len())
    }
}

/// How far a run is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It waits for its turn; so many runs of its agent wait before it.
    Queued(usize),
    /// It runs.
    Running,
    /// It has its outcome.
    Ended(Outcome),
}

/// A run's state, without its details.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StateName {
    /// It waits for its turn.
    Queued,
    /// It runs.
    Running,
    /// It ended well.
    Done,
    /// It did not work.
    Failed,
    /// It was cancelled.
    Cancelled,
}

/// A text that is no [`StateName`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no state of a run: it is queued, running, done, failed or cancelled")]
pub struct StateNameError(String);

impl StateName {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Queued, Self::Running, Self::Done, Self::Failed, Self::Cancelled];

    /// The name that people and clients see.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

impl FromStr for StateName {
    type Err = StateNameError;

    fn from_str(text: &str) -> Result<Self, StateNameError> {
        let named = Self::ALL.into_iter().find(|name| name.as_str() == text);
        named.ok_or_else(|| StateNameError(text.chars().take(40).collect()))
    }
}

impl fmt::Display for StateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl From<&Standing> for StateName {
    fn from(standing: &Standing) -> Self {
        match standing {
            Standing::Queued(_) => Self::Queued,
            Standing::Running => Self::Running,
            Standing::Ended(outcome) => outcome.into(),
        }
    }
}

impl From<&Outcome> for StateName {
    fn from(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Done => Self::Done,
            Outcome::Failed(_) => Self::Failed,
            Outcome::Cancelled(_) => Self::Cancelled,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_of_a_state_reads_back_and_nothing_else_does() {
        for name in StateName::ALL {
            assert_eq!(name.to_string().parse(), Ok(name));
        }
        let error = "Done".parse::<StateName>().unwrap_err();
        assert!(error.to_string().contains("queued, running, done, failed or cancelled"));
        assert!("x".repeat(100_000).parse::<StateName>().unwrap_err().to_string().len() < 200);
    }

    #[test]
    fn a_listed_prompt_is_whole_or_ends_between_two_characters() {
        let fits = "x".repeat(LISTED_PROMPT);
        assert_eq!(RunState::listed(&fits), (fits.as_str(), false));
        assert_eq!(RunState::listed(&format!("{fits}x")), (fits.as_str(), true));
        for (before, character) in [("", "🦀"), ("x", "🦀"), ("xx", "🦀"), ("xxx", "🦀"), ("x", "é")]
        {
            let prompt = before.to_owned() + &character.repeat(LISTED_PROMPT);
            let (head, cut) = RunState::listed(&prompt);
            assert!(cut && prompt.starts_with(head));
            assert!((LISTED_PROMPT - 3..=LISTED_PROMPT).contains(&head.len()), "{}", head.len());
        }
    }
}
