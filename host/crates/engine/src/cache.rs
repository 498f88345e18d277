//! Compiled code kept between starts of the host, keyed by the component's digest and by the engine that compiled it.
//!
//! Promises: a file is used only if it was written whole by an engine that would compile the same code; anything else
//! in its place is as good as nothing. Writing is atomic, and failing to write costs only the next start's time.
//! Trusts: who may write into the folder may run code as the host. It is therefore made readable and writable for
//! its owner alone.

use std::fs;
use std::hash::{Hash, Hasher};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component;

/// Begins every file; a change of this layout changes it.
const MAGIC: &[u8; 16] = b"rookery-code-v1\n";
const DIGEST: usize = 32;

/// A folder of compiled components.
#[derive(Clone, Debug)]
pub(crate) struct Cache {
    folder: PathBuf,
}

impl Cache {
    /// Makes the folder if need be.
    pub(crate) fn open(folder: PathBuf) -> io::Result<Self> {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(&folder)?;
        Ok(Self { folder })
    }

    /// The component with this digest, if it is here and sound.
    pub(crate) fn get(&self, engine: &Engine, digest: &str) -> Option<Component> {
        let path = self.path(engine, digest);
        let file = fs::read(&path).ok()?;
        let Some(code) = sound(&file, &self.key(engine, digest)) else {
            tracing::warn!(path = %path.display(), "not a whole file of this engine's code; compiling anew");
            return None;
        };
        match deserialize(engine, code) {
            Ok(component) => Some(component),
            Err(error) => {
                tracing::warn!(path = %path.display(), "the engine refused its cached code; compiling anew: {error:#}");
                None
            }
        }
    }

    /// Keeps a component's code.
    pub(crate) fn put(&self, engine: &Engine, digest: &str, component: &Component) {
        let path = self.path(engine, digest);
        let kept = component
            .serialize()
            .map_err(io::Error::other)
            .and_then(|code| write(&path, &self.key(engine, digest), &code));
        if let Err(error) = kept {
            tracing::warn!(path = %path.display(), "compiled code could not be kept; the next start compiles again: {error}");
        }
    }

    fn path(&self, engine: &Engine, digest: &str) -> PathBuf {
        self.folder.join(format!("{digest}-{:016x}.code", compatibility(engine)))
    }

    /// What the code was made from and by. The file's name says the same, but a file can be renamed.
    fn key(&self, engine: &Engine, digest: &str) -> [u8; DIGEST] {
        Sha256::new()
            .chain_update(digest.as_bytes())
            .chain_update(compatibility(engine).to_le_bytes())
            .finalize()
            .into()
    }
}

/// Differs between engines that would not run each other's code: versions, settings, processor features.
fn compatibility(engine: &Engine) -> u64 {
    let mut hasher = Fnv(0xcbf2_9ce4_8422_2325);
    engine.precompile_compatibility_hash().hash(&mut hasher);
    hasher.finish()
}

/// The standard library's hasher may change between compilers; this one gives the same name at the next start.
struct Fnv(u64);

impl Hasher for Fnv {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

/// The code in a file, if the file is whole and made for this key.
fn sound<'a>(file: &'a [u8], key: &[u8; DIGEST]) -> Option<&'a [u8]> {
    let rest = file.strip_prefix(MAGIC)?.strip_prefix(key)?;
    let (sum, code) = rest.split_at_checked(DIGEST)?;
    (Sha256::digest(code)[..] == *sum).then_some(code)
}

/// Writes beside the place and renames, so that nobody ever sees half a file.
fn write(path: &Path, key: &[u8; DIGEST], code: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut beside = tempfile::NamedTempFile::new_in(folder)?;
    for part in [&MAGIC[..], key, &Sha256::digest(code), code] {
        beside.write_all(part)?;
    }
    beside.as_file().sync_all()?;
    beside.persist(path).map(drop).map_err(|error| error.error)
}

#[allow(unsafe_code, reason = "precompiled components are the house's one exception")]
fn deserialize(engine: &Engine, code: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: the code must come from `Component::serialize`. `sound` has checked that the file is, to the byte, one
    // that `write` made from such output with an engine like this one; who can forge that can write to the owner's
    // private folder, and is trusted as the owner.
    unsafe { Component::deserialize(engine, code) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAT: &[u8] = b"\0asm\x0d\0\x01\0"; // the empty component

    fn engine() -> Engine {
        let mut config = wasmtime::Config::new();
        config.wasm_component_model(true);
        Engine::new(&config).unwrap()
    }

    fn kept() -> (tempfile::TempDir, Cache, Engine, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path().join("code")).unwrap();
        let engine = engine();
        let component = Component::new(&engine, WAT).unwrap();
        cache.put(&engine, "d1", &component);
        let path = cache.path(&engine, "d1");
        (folder, cache, engine, path)
    }

    #[test]
    fn what_was_kept_is_found_again() {
        let (_folder, cache, engine, _) = kept();
        assert!(cache.get(&engine, "d1").is_some());
        assert!(cache.get(&engine, "d2").is_none());
        assert_eq!(fs::read_dir(&cache.folder).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn a_file_that_lost_or_changed_a_byte_anywhere_is_not_used() {
        let (_folder, cache, engine, path) = kept();
        let whole = fs::read(&path).unwrap();
        for at in [0, MAGIC.len(), MAGIC.len() + DIGEST, MAGIC.len() + 2 * DIGEST, whole.len() - 1] {
            let mut broken = whole.clone();
            broken[at] ^= 1;
            fs::write(&path, &broken).unwrap();
            assert!(cache.get(&engine, "d1").is_none(), "byte {at}");
        }
        for length in [0, 10, MAGIC.len() + DIGEST + 5, whole.len() - 1] {
            fs::write(&path, &whole[..length]).unwrap();
            assert!(cache.get(&engine, "d1").is_none(), "{length} bytes");
        }
        fs::write(&path, &whole).unwrap();
        assert!(cache.get(&engine, "d1").is_some());
    }

    #[test]
    fn another_components_code_under_this_name_is_not_used() {
        let (_folder, cache, engine, path) = kept();
        fs::rename(&path, cache.path(&engine, "d2")).unwrap();
        assert!(cache.get(&engine, "d2").is_none());
    }

    #[cfg(unix)]
    #[test]
    fn only_the_owner_may_look_into_the_folder() {
        use std::os::unix::fs::PermissionsExt;
        let (_folder, cache, ..) = kept();
        assert_eq!(fs::metadata(&cache.folder).unwrap().permissions().mode() & 0o777, 0o700);
    }
}
