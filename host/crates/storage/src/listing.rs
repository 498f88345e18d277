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
    /// Agents that keep something, ordered by plugin and name: at most `limit` after `after`, and fewer only at the end.
    /// Files that are nobody's are left out. Looks at every file's name, and opens none.
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
            each(entry, |file, name| {
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

/// None where it is something else, or is gone by now.
fn look(file: &Path, agent: AgentId) -> Result<Option<Kept>, FileError> {
    let look = || -> io::Result<Option<Kept>> {
        let found = fs::symlink_metadata(file)?;
        if !found.is_file() || !is_ours(file)? {
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
