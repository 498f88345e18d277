//! Components and their sidecars in the `out` folder.
//!
//! Promises: a file there is replaced whole or not at all, and only when it differs, so that whoever watches the
//! folder reloads what changed and nothing else. The sidecar is in place before its component.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process;

use crate::Error;
use crate::cargo::Artifact;

/// A component in the `out` folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Component {
    /// The plugin it makes: the package's name.
    pub plugin: String,
    /// `<out>/<plugin>.wasm`.
    pub file: PathBuf,
    /// `<out>/<plugin>.toml`, if the package has one.
    pub sidecar: Option<PathBuf>,
    /// The component or its sidecar is not what it was before.
    pub changed: bool,
}

/// Copies what cargo made to `out`, with its sidecar.
pub(crate) fn deliver(artifacts: &[Artifact], out: &Path) -> Result<Vec<Component>, Error> {
    fs::create_dir_all(out).map_err(Error::file("create", out))?;
    artifacts.iter().map(|artifact| deliver_one(artifact, out)).collect()
}

fn deliver_one(artifact: &Artifact, out: &Path) -> Result<Component, Error> {
    let plugin = artifact.package.clone();
    let sidecar_name = format!("{plugin}.toml");
    let (original, sidecar) = (artifact.folder.join(&sidecar_name), out.join(&sidecar_name));
    let has_sidecar = original.is_file();
    let sidecar_changed = if has_sidecar { replace(&original, &sidecar)? } else { remove(&sidecar)? };

    let file = out.join(format!("{plugin}.wasm"));
    let changed = replace(&artifact.file, &file)? | sidecar_changed;
    Ok(Component { plugin, file, sidecar: has_sidecar.then_some(sidecar), changed })
}

/// Makes `copy` the same as `original`; false if it was already.
fn replace(original: &Path, copy: &Path) -> Result<bool, Error> {
    let bytes = fs::read(original).map_err(Error::file("read", original))?;
    if fs::read(copy).is_ok_and(|old| old == bytes) {
        return Ok(false);
    }
    let name = copy.file_name().unwrap_or_default().to_string_lossy();
    // A name that no watcher takes for a plugin, and of this process alone.
    let partial = copy.with_file_name(format!(".{name}.{}.partial", process::id()));
    fs::write(&partial, bytes).map_err(Error::file("write", &partial))?;
    fs::rename(&partial, copy).map_err(Error::file("replace", copy))?;
    Ok(true)
}

fn remove(file: &Path) -> Result<bool, Error> {
    match fs::remove_file(file) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Error::file("remove", file)(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Bench {
        folder: tempfile::TempDir,
        artifact: Artifact,
    }

    impl Bench {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("my_chat.wasm");
            fs::write(&file, "one").unwrap();
            let artifact =
                Artifact { package: "my-chat".into(), folder: folder.path().to_owned(), file: file.clone() };
            Self { folder, artifact }
        }

        fn out(&self) -> PathBuf {
            self.folder.path().join("out")
        }

        fn deliver(&self) -> Component {
            deliver(std::slice::from_ref(&self.artifact), &self.out()).unwrap().remove(0)
        }
    }

    #[test]
    fn a_component_is_called_after_its_package() {
        let bench = Bench::new();
        let component = bench.deliver();
        assert_eq!(component.plugin, "my-chat");
        assert_eq!(component.file, bench.out().join("my-chat.wasm"));
        assert_eq!(fs::read(component.file).unwrap(), b"one");
    }

    #[test]
    fn only_what_differs_is_replaced() {
        let bench = Bench::new();
        assert!(bench.deliver().changed);
        assert!(!bench.deliver().changed);
        fs::write(&bench.artifact.file, "two").unwrap();
        assert!(bench.deliver().changed);
        let names: Vec<_> = fs::read_dir(bench.out()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names, ["my-chat.wasm"], "and nothing partial is left");
    }

    #[test]
    fn a_sidecar_comes_along_and_goes_when_its_original_is_gone() {
        let bench = Bench::new();
        let original = bench.folder.path().join("my-chat.toml");
        fs::write(&original, "[http]").unwrap();
        let sidecar = bench.deliver().sidecar.unwrap();
        assert_eq!(fs::read(&sidecar).unwrap(), b"[http]");

        fs::remove_file(original).unwrap();
        let component = bench.deliver();
        assert_eq!((component.sidecar, component.changed), (None, true));
        assert!(!sidecar.exists());
    }

    #[test]
    fn other_files_in_the_out_folder_are_left_alone() {
        let bench = Bench::new();
        fs::create_dir(bench.out()).unwrap();
        fs::write(bench.out().join("python.wasm"), "other").unwrap();
        bench.deliver();
        assert!(bench.out().join("python.wasm").exists());
    }
}
