//! A file that is written beside where it shall be: it appears whole or not at all, and over nothing.

use std::io;
use std::path::{Path, PathBuf};

use tokio::fs::{self, File, OpenOptions};

use crate::command::Hint;

/// A file that is being written, and is gone if it does not come to its end.
pub(crate) struct Target {
    file: File,
    part: PathBuf,
    whole: PathBuf,
}

impl Target {
    pub(crate) async fn create(whole: &Path) -> anyhow::Result<Self> {
        if fs::symlink_metadata(whole).await.is_ok() {
            return Err(exists(whole));
        }
        let mut part = whole.as_os_str().to_owned();
        part.push(".part");
        let part = PathBuf::from(part);
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        options.mode(0o600);
        let file = options.open(&part).await.map_err(|error| unwritten(whole, &error))?;
        Ok(Self { file, part, whole: whole.into() })
    }

    pub(crate) fn file(&mut self) -> &mut File {
        &mut self.file
    }

    /// Waits for the disk, and gives the file its name unless there is something of that name by now.
    pub(crate) async fn finish(self) -> anyhow::Result<()> {
        let name = async {
            self.file.sync_all().await?;
            // Renaming would replace what is there, so the name is taken first.
            OpenOptions::new().write(true).create_new(true).open(&self.whole).await?;
            fs::rename(&self.part, &self.whole).await
        };
        name.await.map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => exists(&self.whole),
            _ => unwritten(&self.whole, &error),
        })
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        // It has its name by now, or is worth nothing.
        let _ = std::fs::remove_file(&self.part);
    }
}

/// Why there is no file.
pub(crate) fn unwritten(file: &Path, error: &io::Error) -> anyhow::Error {
    let error = anyhow::anyhow!("`{}` cannot be written: {error}", file.display());
    error.context(Hint::new("look at the disk and at who may write to it"))
}

fn exists(file: &Path) -> anyhow::Error {
    let error = anyhow::anyhow!("`{}` exists already", file.display());
    error.context(Hint::new("name a file that does not exist yet"))
}
