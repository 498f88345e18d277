//! What a folder of plugins holds: each `*.wasm` with its optional `<stem>.toml` sidecar, read, checked and named.
//!
//! Promises: what cannot be served is said, with the file, what is wrong and what would mend it; all the others are
//! served. Two looks at the same folder find the same, in the same order.
//! Bounded by: 512 MiB a component and 1 MiB a sidecar; more is not read.
//! Knows nothing of wasm: whether a component is one is found out by who compiles it.

mod error;
mod folder;
mod sidecar;

pub use error::{FolderError, PluginError, Problem};
pub use folder::{Folder, PluginFile, scan};
pub use sidecar::{Http, Lifecycle, Limits, Models, Runs, Sidecar};
