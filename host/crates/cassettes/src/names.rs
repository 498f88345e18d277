//! From an agent to its cassette.
//!
//! Promises: no name leads out of the folder, and two agents never share a file, not even where `A` and `a` are one
//! letter to the file system. Files are called as those of agents' storage are: an upper-case letter is told by a number
//! behind the name.

use std::path::PathBuf;

use rookery_core::{AgentName, PluginName};

/// What a cassette's name ends in.
pub(crate) const ENDING: &str = "toml";

/// Where in a folder the cassette of an agent lies (`chat/alice`); `None` where this is no agent's name.
pub(crate) fn file(agent: &str) -> Option<PathBuf> {
    let (plugin, name) = agent.split_once('/')?;
    let (plugin, name): (PluginName, AgentName) = (plugin.parse().ok()?, name.parse().ok()?);
    Some(PathBuf::from(plugin.as_str()).join(format!("{}.{ENDING}", stem(name.as_str()))))
}

/// The n-th bit of the number is set for the n-th letter. A name has at most 128 characters, so it fits.
fn stem(name: &str) -> String {
    let uppers = name
        .bytes()
        .enumerate()
        .filter(|(_, letter)| letter.is_ascii_uppercase())
        .fold(0_u128, |uppers, (at, _)| uppers | 1_u128.checked_shl(at as u32).unwrap_or(0));
    let lower = name.to_ascii_lowercase();
    if uppers == 0 { lower } else { format!("{lower}+{uppers:x}") }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn an_agent_has_a_file_of_its_own_on_every_disk() {
        for (agent, expected) in [
            ("chat/alice", "chat/alice.toml"),
            ("chat/Alice", "chat/alice+1.toml"),
            ("chat/ALICE", "chat/alice+1f.toml"),
            ("chat/a..", "chat/a...toml"),
        ] {
            assert_eq!(file(agent).as_deref(), Some(Path::new(expected)));
        }
        let longest = file(&format!("chat/{}", "Z".repeat(128))).unwrap();
        assert!(longest.file_name().unwrap().len() <= 255);
    }

    #[test]
    fn what_is_no_agents_name_has_no_file() {
        for agent in
            ["chat", "chat/", "/alice", "../alice", "chat/..", "chat/../x", "chat/a/b", "CHAT/a", "chat/a\\b"]
        {
            assert_eq!(file(agent), None, "{agent}");
        }
    }
}
