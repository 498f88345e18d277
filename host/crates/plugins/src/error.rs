//! What keeps a plugin from being served. Each error says what is wrong, and its hint what would mend it; all of
//! them are for the person who put the file there.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use rookery_core::ByteSize;
use rookery_tables::Mistake;

/// One file that is not as it should be. Shown as one line: the file and what is wrong with it.
#[derive(Debug)]
pub struct Problem {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub error: PluginError,
}

/// What is wrong with a file of a folder of plugins.
#[derive(Debug, thiserror::Error)]
pub enum PluginError {
    /// A `.wasm` whose stem is no plugin's name.
    #[error(
        "`{stem}` is no plugin name: it has 1 to 64 characters of a–z, 0–9 and -, starting with a letter"
    )]
    Name {
        /// The file's stem.
        stem: String,
        /// A name that is like it, where there is one.
        suggestion: Option<String>,
    },
    /// A folder, a socket or the like, with the name of a file.
    #[error("it is not a regular file")]
    NotAFile,
    /// More than is read.
    #[error("it is larger than {}", ByteSize(*.limit))]
    TooLarge {
        /// The most that is read, in bytes.
        limit: u64,
    },
    /// The operating system did not let it be read.
    #[error("it cannot be read: {0}")]
    Unreadable(#[source] io::Error),
    /// A sidecar that has no plugin beside it.
    #[error("it belongs to no plugin: there is no `{wasm}` beside it")]
    Orphan {
        /// The file that would make it a sidecar.
        wasm: String,
    },
    /// A sidecar that does not say what a sidecar can say.
    #[error(transparent)]
    Sidecar(#[from] Mistake),
}

/// Why there is nothing to be found at all.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// There is no such folder.
    #[error("the folder of plugins `{}` does not exist", .0.display())]
    Missing(PathBuf),
    /// It is something else.
    #[error("`{}` is not a folder", .0.display())]
    NotAFolder(PathBuf),
    /// The operating system did not let it be read.
    #[error("the folder of plugins `{}` cannot be read: {error}", .path.display())]
    Unreadable {
        /// The folder.
        path: PathBuf,
        /// Why.
        #[source]
        error: io::Error,
    },
}

impl Problem {
    /// Whether everything is served all the same.
    pub fn is_warning(&self) -> bool {
        matches!(self.error, PluginError::Orphan { .. })
    }

    /// What would mend it.
    pub fn hint(&self) -> String {
        self.error.hint()
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.path.file_name().unwrap_or(self.path.as_os_str()).display();
        match &self.error {
            PluginError::Sidecar(Mistake { line: Some(line), what, .. }) => {
                write!(f, "`{name}:{line}`: {what}")
            }
            error => write!(f, "`{name}`: {error}"),
        }
    }
}

impl std::error::Error for Problem {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(&self.error)
    }
}

impl PluginError {
    /// What would mend it.
    pub fn hint(&self) -> String {
        match self {
            PluginError::Name { suggestion, .. } => {
                let name = suggestion.as_deref().unwrap_or("my-agent");
                format!("rename it to `{name}.wasm`, and its sidecar with it")
            }
            PluginError::NotAFile => "put the file itself here, or move this elsewhere".into(),
            PluginError::TooLarge { .. } => "look whether it is what it should be".into(),
            PluginError::Unreadable(_) => {
                "look at who may read it, and where it leads if it is a link".into()
            }
            PluginError::Orphan { wasm } => {
                format!("name it after the plugin that it belongs to, or put `{wasm}` beside it")
            }
            PluginError::Sidecar(error) => error.hint.clone(),
        }
    }
}

impl FolderError {
    /// What would mend it.
    pub fn hint(&self) -> String {
        match self {
            FolderError::Missing(path) => {
                format!("create it with `mkdir -p {}`, or name another", path.display())
            }
            FolderError::NotAFolder(path) => match path.parent().filter(|parent| *parent != Path::new("")) {
                Some(parent) => format!("name the folder that it is in, `{}`", parent.display()),
                None => "name the folder that it is in, `.`".into(),
            },
            FolderError::Unreadable { .. } => "look at who may read it, or name another".into(),
        }
    }
}
