//! One host at a time for a folder of agents.
//!
//! Promise: whoever has the lock is the only one who removes agents or brings some in. Looking at them and copying them needs
//! no lock.
//! Ends when: it is dropped, or the process dies; then the system takes it away.

use std::fs::{File, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// The lock of a folder. It says where its host can be asked, so that whoever is refused knows.
pub(crate) struct Lock(File);

/// Why the lock was not to be had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Somebody else has it.
    #[error("another rookery uses the agents in {folder}")]
    InUse {
        /// Which agents.
        folder: PathBuf,
        /// The URL that it can be asked at about them, if there is one.
        admin: Option<String>,
    },
    /// The file cannot be made.
    #[error("{path} cannot be used: {error}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        error: io::Error,
    },
}

impl Lock {
    /// Takes the lock of a folder that there is.
    pub(crate) fn take(folder: &Path) -> Result<Self, LockError> {
        // No plugin is called that, so it is no agent's. Left behind on purpose: who removed it could remove the one that
        // another process has just locked.
        let path = folder.join(".lock");
        let file = File::options().create(true).truncate(false).read(true).write(true).open(&path);
        let mut file = file.map_err(|error| LockError::Io { path: path.clone(), error })?;
        match file.try_lock() {
            Ok(()) => {
                let lock = Self(file);
                lock.tell(None);
                Ok(lock)
            }
            Err(TryLockError::WouldBlock) => {
                let mut admin = String::new();
                let _ = Read::take(&mut file, 200).read_to_string(&mut admin);
                let admin = Some(admin).filter(|admin| !admin.is_empty());
                Err(LockError::InUse { folder: folder.into(), admin })
            }
            Err(TryLockError::Error(error)) => Err(LockError::Io { path, error }),
        }
    }

    /// Says where its host can be asked about agents.
    pub(crate) fn tell(&self, admin: Option<SocketAddr>) {
        let url = admin.map(|address| format!("http://{address}")).unwrap_or_default();
        let mut file = &self.0;
        // It is only for a better hint.
        let _ = file
            .seek(SeekFrom::Start(0))
            .and_then(|_| file.write_all(url.as_bytes()))
            .and_then(|()| file.set_len(url.len() as u64));
    }
}

impl LockError {
    /// What would mend it, for whoever wants to change agents' files.
    pub(crate) fn hint(&self) -> String {
        match self {
            Self::InUse { admin: Some(admin), .. } => format!("have it done there: add --admin {admin}"),
            Self::InUse { admin: None, .. } => {
                "stop it, or start it with an --admin address and name that here".into()
            }
            Self::Io { .. } => "look at the disk and at who may write to it".into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_one_at_a_time_and_who_is_refused_is_told_where_to_ask() {
        let folder = tempfile::tempdir().unwrap();
        let lock = Lock::take(folder.path()).unwrap();
        let refused = || Lock::take(folder.path()).err().unwrap();
        assert!(refused().to_string().starts_with("another rookery uses the agents in"));
        assert!(refused().hint().starts_with("stop it"));
        lock.tell(Some("127.0.0.1:7072".parse().unwrap()));
        assert_eq!(refused().hint(), "have it done there: add --admin http://127.0.0.1:7072");
        lock.tell(Some("[::1]:1".parse().unwrap()));
        assert_eq!(refused().hint(), "have it done there: add --admin http://[::1]:1");
        drop(lock);
        let again = Lock::take(folder.path()).unwrap();
        assert!(refused().hint().starts_with("stop it"), "the one before is not asked");
        drop(again);
    }
}
