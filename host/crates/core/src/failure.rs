//! Why something did not work: a stable code for programs and a sentence for people.

use std::fmt;

/// The stable name of a failure. Clients may rely on these; a name never changes its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    /// The agent cannot serve this prompt as it is.
    Rejected,
    /// Something that the agent needs is away.
    Unavailable,
    /// The agent failed.
    Failed,
    /// The guest trapped.
    Trapped,
    /// The guest trapped after it was refused more memory than `limits.memory`.
    MemoryExceeded,
    /// The run did not end by its deadline.
    DeadlineExceeded,
    /// The run wrote more than `limits.output`.
    OutputTooLarge,
    /// No instance could be launched for the run.
    LaunchFailed,
    /// The host stopped before the run ended.
    Interrupted,
    /// The instance was dropped because another run in it had to be stopped.
    InstanceLost,
    /// What the run waited for outside fell silent.
    Stalled,
    /// The run, its agent or its plugin has spent what it may on models.
    OverBudget,
    /// What the agent wrote to its storage could not be kept.
    NotStored,
    /// The run was cancelled.
    Cancelled,
    /// The agent is busy, and its plugin wants one run at a time.
    Busy,
    /// The client's key for a run names one with another prompt.
    KeyReused,
    /// The agent's mailbox is full.
    MailboxFull,
    /// The host has no room for another run or instance.
    Overloaded,
    /// The host is stopping and takes no new runs.
    Draining,
    /// No plugin of that name is served.
    UnknownPlugin,
    /// A defect of the host.
    Internal,
}

impl Code {
    /// The name that clients see.
    pub fn as_str(self) -> &'static str {
        match self {
            Code::Rejected => "rejected",
            Code::Unavailable => "unavailable",
            Code::Failed => "failed",
            Code::Trapped => "trapped",
            Code::MemoryExceeded => "memory-exceeded",
            Code::DeadlineExceeded => "deadline-exceeded",
            Code::OutputTooLarge => "output-too-large",
            Code::LaunchFailed => "launch-failed",
            Code::Interrupted => "interrupted",
            Code::InstanceLost => "instance-lost",
            Code::Stalled => "stalled",
            Code::OverBudget => "over-budget",
            Code::NotStored => "not-stored",
            Code::Cancelled => "cancelled",
            Code::Busy => "busy",
            Code::KeyReused => "key-reused",
            Code::MailboxFull => "mailbox-full",
            Code::Overloaded => "overloaded",
            Code::Draining => "draining",
            Code::UnknownPlugin => "unknown-plugin",
            Code::Internal => "internal",
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a run did not work, or was not taken. The message is shown to clients.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// The stable name.
    pub code: Code,
    /// What was tried and what to do next, in a sentence.
    pub message: String,
}

/// The longest message that is kept of a failure, in bytes. A guest writes these, and they are held in memory and
/// sent to every reader of the run.
const LONGEST_MESSAGE: usize = 8 * 1024;

impl Failure {
    /// A failure; a message of more than 8 KiB is cut.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        let mut message = message.into();
        if message.len() > LONGEST_MESSAGE {
            message.truncate(message.floor_char_boundary(LONGEST_MESSAGE));
            message.push('…');
        }
        Self { code, message }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guests_endless_message_is_cut_at_a_character() {
        let failure = Failure::new(Code::Failed, "é".repeat(1 << 20));
        assert!(failure.message.len() <= LONGEST_MESSAGE + '…'.len_utf8());
        assert!(failure.message.ends_with("é…"));
    }
}
