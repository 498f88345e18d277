//! The folder that all agents' files are in.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use rookery_core::{AgentId, Durability};

use crate::database::{private, remove_empty, sync};
use crate::error::FileError;
use crate::index::Index;
use crate::names;
use crate::storage::Storage;

/// What all agents of a host keep: one file each, in one folder. Costs nothing to clone.
#[derive(Clone, Debug)]
pub struct Databases {
    pub(crate) folder: PathBuf,
    pub(crate) durability: Durability,
    pub(crate) index: Arc<Index>,
}

impl Databases {
    /// The agents' files in this folder, which is made where it is missing. Nobody else can look into it.
    ///
    /// # Errors
    ///
    /// [`FileError::Io`] where the folder cannot be made.
    pub fn open(folder: PathBuf, durability: Durability) -> Result<Self, FileError> {
        let failed = |error| FileError::Io { path: folder.clone(), error };
        // SQLite takes a path that begins with `file:` for a URI; one that is absolute does not.
        let absolute = std::path::absolute(&folder).map_err(failed)?;
        private(&absolute).map_err(failed)?;
        let index = Index::new(&absolute, durability);
        Ok(Self { folder: absolute, durability, index })
    }

    /// What this agent keeps, at most so many bytes of it. Opens nothing yet. There must be only one at a time for an
    /// agent.
    pub fn agent(&self, agent: &AgentId, limit: u64) -> Storage {
        Storage::new(agent.clone(), self.file(agent), self.durability, limit, self.index.clone())
    }

    /// Whether the agent has a file: it has written something, or has begun to.
    pub fn exists(&self, agent: &AgentId) -> bool {
        fs::metadata(self.file(agent)).is_ok_and(|file| file.len() > 0)
    }

    /// Removes everything that the agent keeps, and its plugin's folder with the last agent in it; says whether there was
    /// something. The agent must not be in use; others of its plugin may come to be meanwhile.
    ///
    /// # Errors
    ///
    /// [`FileError::Io`]. What was there may be there still, from before its last moments.
    pub fn remove(&self, agent: &AgentId) -> Result<bool, FileError> {
        let path = self.file(agent);
        let failed = |error| FileError::Io { path: path.clone(), error };
        if let Err(error) = self.index.put(agent, None) {
            // Its alarms are looked for once, in vain.
            tracing::warn!(%agent, "its alarms are still in the index: {error}");
        }
        // These first: what is left of a log would be taken for the log of the next file of this name.
        crate::database::forget(&path).map_err(failed)?;
        match fs::remove_file(&path) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(failed(error)),
        }
        if self.durability == Durability::Full {
            sync(names::folder(&path)).map_err(failed)?;
        }
        if let Err(error) = remove_empty(names::folder(&path)) {
            tracing::warn!(%agent, "the folder that its file was in may be empty, and cannot be removed: {error}");
        }
        Ok(true)
    }

    pub(crate) fn file(&self, agent: &AgentId) -> PathBuf {
        names::file(&self.folder, agent)
    }
}
