//! Names and numbers of things. A value of these types has been checked; nobody checks it again.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use uuid::Uuid;

/// A plugin's name: the stem of its file, 1–64 characters of `a–z 0–9 -`, starting with a letter.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PluginName(Arc<str>);

/// An agent's own name: 1–128 characters of `A–Z a–z 0–9 - _ . ~`, not starting with a dot.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AgentName(Arc<str>);

/// Which agent: a plugin plus a name, written `chat/alice`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AgentId {
    /// The plugin that the agent's instances are launched from.
    pub plugin: PluginName,
    /// The agent's own name.
    pub name: AgentName,
}

/// Names one run for all time. Ids made later sort after ids made earlier (UUID version 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RunId(Uuid);

/// Numbers the instances that a host launches: a later instance bears a higher number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Generation(pub u64);

/// Why a text is no name. The message says what a name looks like.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Not a [`PluginName`].
    #[error("{0:?} is no plugin name: use 1 to 64 characters of a–z, 0–9 and -, starting with a letter")]
    Plugin(String),
    /// Not an [`AgentName`].
    #[error(
        "{0:?} is no agent name: use 1 to 128 characters of A–Z, a–z, 0–9, -, _, . and ~, not starting with a dot"
    )]
    Agent(String),
    /// Not a [`RunId`].
    #[error("{0:?} is no run id: it is what the `Run-Id` header of the answer said")]
    Run(String),
}

/// How much of a wrong name an error repeats: names come from strangers and may be megabytes.
const SHOWN: usize = 140;

fn shown(text: &str) -> String {
    text.chars().take(SHOWN).collect()
}

impl FromStr for PluginName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let lower = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        let good = (1..=64).contains(&text.len())
            && text.starts_with(|c: char| c.is_ascii_lowercase())
            && text.bytes().all(lower);
        if good { Ok(Self(text.into())) } else { Err(NameError::Plugin(shown(text))) }
    }
}

impl FromStr for AgentName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-_.~".contains(&b);
        let good = (1..=128).contains(&text.len()) && !text.starts_with('.') && text.bytes().all(allowed);
        if good { Ok(Self(text.into())) } else { Err(NameError::Agent(shown(text))) }
    }
}

impl FromStr for RunId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        // Only the spelling that the host itself writes: an id has one name.
        let id = Uuid::try_parse(text).map_err(|_| NameError::Run(shown(text)))?;
        if id.hyphenated().to_string() == text { Ok(Self(id)) } else { Err(NameError::Run(shown(text))) }
    }
}

impl RunId {
    /// A new id, unlike any other.
    pub fn new() -> Self {
        Self(Uuid::now_v7())
    }

    /// The id in the fewest bytes, which sort as it does. Its first six are the milliseconds since 1970 when it was made.
    pub fn to_bytes(self) -> [u8; 16] {
        self.0.into_bytes()
    }

    /// The id that these bytes are.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }
}

impl Default for RunId {
    fn default() -> Self {
        Self::new()
    }
}

impl PluginName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl AgentName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PluginName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for AgentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for AgentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.plugin, self.name)
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    #[test]
    fn a_plugin_name_is_lower_case_and_starts_with_a_letter() {
        for good in ["a", "chat", "my-agent-2", &"a".repeat(64)] {
            assert!(good.parse::<PluginName>().is_ok(), "{good}");
        }
        for bad in ["", "Chat", "2chat", "-chat", "my_agent", "a.b", "a/b", "ä", "a b", &"a".repeat(65)] {
            assert!(bad.parse::<PluginName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn an_agent_name_cannot_leave_its_folder() {
        for good in ["alice", "A", "0", "a.b", "user_7~x", "-", &"a".repeat(128)] {
            assert!(good.parse::<AgentName>().is_ok(), "{good}");
        }
        for bad in ["", ".", "..", ".a", "a/b", "a\\b", "a b", "a%2fb", "é", "a\0", "a:b", &"a".repeat(129)]
        {
            assert!(bad.parse::<AgentName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_run_id_has_one_spelling_and_later_ones_sort_later() {
        let (first, second) = (RunId::new(), RunId::new());
        assert!(first < second);
        assert_eq!(first.to_string().parse::<RunId>(), Ok(first));
        assert!(first.to_string().to_uppercase().parse::<RunId>().is_err());
        assert!(first.to_string().replace('-', "").parse::<RunId>().is_err());
    }

    #[test]
    fn the_bytes_of_a_run_id_sort_as_it_does_and_begin_with_its_time() {
        let now = || UNIX_EPOCH.elapsed().unwrap().as_millis() as u64;
        let (before, first, second, after) = (now(), RunId::new(), RunId::new(), now());
        assert!(first.to_bytes() < second.to_bytes());
        assert_eq!(RunId::from_bytes(first.to_bytes()), first);
        let time = first.to_bytes()[..6].iter().fold(0, |time, byte| time << 8 | u64::from(*byte));
        assert!((before..=after).contains(&time), "{before} {time} {after}");
    }

    #[test]
    fn an_error_repeats_only_the_beginning_of_a_long_name() {
        let error = "x/".repeat(1 << 20).parse::<AgentName>().unwrap_err();
        assert!(error.to_string().len() < 400);
    }
}
