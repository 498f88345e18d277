//! From an agent to its file and back.
//!
//! Promises: two agents never share a file, not even where `A` and `a` are one letter to the file system; a file's name
//! says whose it is; and it leaves room for what SQLite puts beside it (`-journal`) within the usual 255 bytes.

use std::path::{Path, PathBuf};

use rookery_core::{AgentId, AgentName, PluginName};

/// What the file of an agent ends in.
const ENDING: &str = ".db";

/// Stands between a name in lower case and which of its letters are upper case; no name contains it.
const MARK: char = '+';

/// The one file that holds everything of an agent.
pub(crate) fn file(folder: &Path, agent: &AgentId) -> PathBuf {
    folder.join(agent.plugin.as_str()).join(stem(&agent.name) + ENDING)
}

/// What lies beside a database file while it is open, or after a crash.
pub(crate) fn companions(file: &Path) -> [PathBuf; 3] {
    ["-wal", "-shm", "-journal"].map(|ending| beside(file, ending))
}

/// The folder that a file is in. That of a name alone is the one that the host was started in, and not the empty path.
pub(crate) fn folder(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The path of a file whose name is this one's and then `ending`.
pub(crate) fn beside(file: &Path, ending: &str) -> PathBuf {
    let mut path = file.as_os_str().to_owned();
    path.push(ending);
    path.into()
}

/// Whose file this is, if it is one that [`file()`] would name.
pub(crate) fn agent(plugin: &PluginName, file: &str) -> Option<AgentId> {
    let stem = file.strip_suffix(ENDING)?;
    let (lower, uppers) = match stem.split_once(MARK) {
        Some((lower, uppers)) => (lower, u128::from_str_radix(uppers, 16).ok()?),
        None => (stem, 0),
    };
    let raise = |(at, letter): (usize, char)| {
        let upper = u32::try_from(at).ok().and_then(|at| uppers.checked_shr(at)).unwrap_or(0) & 1 == 1;
        if upper { letter.to_ascii_uppercase() } else { letter }
    };
    let name: AgentName = lower.chars().enumerate().map(raise).collect::<String>().parse().ok()?;
    // A name has one spelling; whatever else reads like it is not ours.
    (self::stem(&name) == stem).then(|| AgentId { plugin: plugin.clone(), name })
}

/// The name in lower case, and then, if there are any, which of its letters are upper case: the n-th bit for the n-th
/// letter. A name has at most 128 characters, so the number fits and the whole is at most 161 bytes.
fn stem(name: &AgentName) -> String {
    let letters = name.as_str().bytes().enumerate();
    let uppers = letters
        .filter(|(_, letter)| letter.is_ascii_uppercase())
        .fold(0_u128, |uppers, (at, _)| uppers | 1_u128.checked_shl(at as u32).unwrap_or(0));
    let lower = name.as_str().to_ascii_lowercase();
    if uppers == 0 { lower } else { format!("{lower}{MARK}{uppers:x}") }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::tests::Random;

    fn plugin() -> PluginName {
        "chat".parse().unwrap()
    }

    #[test]
    fn upper_case_letters_are_told_by_a_number_behind_the_name() {
        for (name, expected) in
            [("alice", "alice"), ("Alice", "alice+1"), ("ALICE", "alice+1f"), ("a.B-c~", "a.b-c~+4")]
        {
            assert_eq!(stem(&name.parse().unwrap()), expected);
        }
    }

    #[test]
    fn a_file_reads_back_as_its_agent_and_no_two_agents_share_one() {
        const LETTERS: &[u8] = b"aAbBzZ09-_.~fF1";
        let mut random = Random(1);
        let mut seen: HashMap<String, String> = HashMap::new();
        for round in 0..20_000 {
            let length = if round % 5 == 0 { 128 } else { 1 + random.below(6) };
            let name: String = (0..length).map(|_| LETTERS[random.below(LETTERS.len())] as char).collect();
            let Ok(parsed) = name.parse::<AgentName>() else { continue };
            let file = stem(&parsed) + ENDING;
            assert!(file.len() + "-journal.part".len() <= 255, "{file}");
            assert_eq!(file, file.to_ascii_lowercase(), "the same on every file system");
            assert_eq!(agent(&plugin(), &file).unwrap().name, parsed);
            assert_eq!(seen.entry(file).or_insert_with(|| name.clone()), &name);
        }
        assert!(seen.len() > 5_000);
    }

    #[test]
    fn a_file_is_in_a_folder_also_where_its_path_names_none() {
        for (file, expected) in
            [("a.db", "."), ("./a.db", "."), ("b/a.db", "b"), ("/a.db", "/"), ("/b/a.db", "/b")]
        {
            assert_eq!(folder(Path::new(file)), Path::new(expected), "{file}");
        }
    }

    #[test]
    fn what_no_agent_would_be_called_is_nobodys_file() {
        for foreign in [
            "alice",
            "alice.db-wal",
            "alice.db.part",
            "Alice.db",
            ".db",
            ".alice.db",
            "alice+0.db",
            "alice+01.db",
            "alice+1F.db",
            "alice+20.db",
            "a-b+2.db",
            "alice+.db",
            "alice+1+1.db",
            "alice++1.db",
            "alice+100000000000000000000000000000000.db",
            "al ice.db",
            "é.db",
        ] {
            assert_eq!(agent(&plugin(), foreign), None, "{foreign}");
        }
    }
}
