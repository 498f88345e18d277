//! Which agents keep something.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;
use std::time::SystemTime;

use rookery_core::{AgentId, PluginName};

use crate::databases::Databases;
use crate::error::FileError;
use crate::{names, schema};

/// An agent that keeps something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Who.
    pub agent: AgentId,
    /// How much, in bytes on the disk.
    pub bytes: u64,
    /// When something was written last.
    pub modified: SystemTime,
}

impl Databases {
    /// What this agent keeps; none where it is nothing, or where its file is nobody's.
    ///
    /// # Errors
    ///
    /// [`FileError::Io`] where the file cannot be read.
    pub fn kept(&self, agent: &AgentId) -> Result<Option<Kept>, FileError> {
        look(&self.file(agent), agent.clone())
    }

    /// Agents that keep something, ordered by plugin and name: at most `limit` after `after`, and fewer only at the end.
    /// Files that are nobody's are left out. Looks at every file's name, and opens none that is in use.
    ///
    /// # Errors
    ///
    /// [`FileError::Io`] where a folder cannot be read.
    pub fn list(
        &self,
        plugin: Option<&PluginName>,
        after: Option<&AgentId>,
        limit: usize,
    ) -> Result<Vec<Kept>, FileError> {
        // However many there are, no more are held at a time than are asked for.
        let mut page = BTreeMap::new();
        let mut keep = |kept: Kept| {
            page.insert(kept.agent.clone(), kept);
            if page.len() > limit {
                page.pop_last();
            }
        };
        each(&self.folder, |entry, name| {
            let Ok(found) = name.parse::<PluginName>() else { return Ok(()) };
            if plugin.is_some_and(|plugin| plugin != &found) || !entry.is_dir() {
                return Ok(());
            }
            each_if_there(entry, |file, name| {
                let agent = names::agent(&found, name);
                let Some(agent) = agent.filter(|agent| after.is_none_or(|after| agent > after)) else {
                    return Ok(());
                };
                if let Some(kept) = look(file, agent)? {
                    keep(kept);
                }
                Ok(())
            })
        })?;
        Ok(page.into_values().collect())
    }
}

fn each(folder: &Path, mut see: impl FnMut(&Path, &str) -> Result<(), FileError>) -> Result<(), FileError> {
    let failed = |error| FileError::Io { path: folder.into(), error };
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if let Some(name) = path.file_name().and_then(|name| name.to_str()) {
            see(&path, name)?;
        }
    }
    Ok(())
}

/// A plugin's folder may have gone with its last agent just now.
fn each_if_there(
    folder: &Path,
    see: impl FnMut(&Path, &str) -> Result<(), FileError>,
) -> Result<(), FileError> {
    match each(folder, see) {
        Err(FileError::Io { error, .. }) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        seen => seen,
    }
}

/// None where it is something else, or is gone by now.
fn look(file: &Path, agent: AgentId) -> Result<Option<Kept>, FileError> {
    let look = || -> io::Result<Option<Kept>> {
        let found = fs::symlink_metadata(file)?;
        if !found.is_file() || !(is_in_use(file) || is_ours(file)?) {
            return Ok(None);
        }
        let (mut bytes, mut modified) = (found.len(), found.modified()?);
        // What was written last is still in there while the agent is in use.
        if let Ok(log) = fs::metadata(names::beside(file, "-wal")) {
            bytes += log.len();
            modified = modified.max(log.modified()?);
        }
        Ok(Some(Kept { agent, bytes, modified }))
    };
    match look() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        other => other.map_err(|error| FileError::Io { path: file.into(), error }),
    }
}

/// Whether SQLite has the file open, or had when its process died. Such a file must not be opened by anybody else in this
/// process: when it is closed again, the system takes away all locks that the process has on it, also those by which
/// another process knows that it may not tidy up (<https://www.sqlite.org/howtocorrupt.html#_posix_advisory_locks_canceled_by_a_separate_thread_doing_close_>).
fn is_in_use(file: &Path) -> bool {
    names::beside(file, "-shm").exists()
}

/// Whether the header says so: <https://www.sqlite.org/fileformat2.html#application_id>.
fn is_ours(file: &Path) -> io::Result<bool> {
    let mut header = [0; 72];
    match File::open(file)?.read_exact(&mut header) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
        other => other?,
    }
    let application = u32::from_be_bytes([header[68], header[69], header[70], header[71]]);
    Ok(header.starts_with(b"SQLite format 3\0") && i64::from(application) == schema::APPLICATION)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{House, agent};

    /// How many locks there are on a file, which only Linux says.
    #[cfg(target_os = "linux")]
    fn locks(path: &Path) -> usize {
        let inode = format!(":{} ", std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(path).unwrap()));
        let locks = std::fs::read_to_string("/proc/locks").unwrap();
        locks.lines().filter(|line| line.contains(&inode)).count()
    }

    #[test]
    fn a_folder_that_has_just_gone_has_nothing_in_it() {
        let house = House::new();
        let gone = house.folder.path().join("gone");
        assert!(each_if_there(&gone, |_, _| panic!("there is nothing")).is_ok());
        assert!(each(&gone, |_, _| Ok(())).is_err(), "but that of all agents is there");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn who_looks_at_a_file_that_is_in_use_takes_no_lock_away() {
        let house = House::new();
        let mut storage = house.agent("alice");
        storage.set("a", b"1").unwrap();
        storage.commit().unwrap();
        let before = locks(&house.path("alice"));
        assert!(before > 0);
        assert_eq!(house.databases.list(None, None, 10).unwrap().len(), 1);
        let kept = house.databases.kept(&agent("alice")).unwrap().unwrap();
        assert_eq!(locks(&house.path("alice")), before);
        let log = std::fs::metadata(house.path("alice").with_extension("db-wal")).unwrap().len();
        assert!(kept.bytes > log && log > 0, "what is in the log counts");
        storage.close().unwrap();
        assert_eq!(house.databases.kept(&agent("bob")).unwrap(), None);
    }
}
