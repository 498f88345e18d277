//! A private sysroot: std for the wasm target, built once per toolchain from the toolchain's own source.
//!
//! Promises: the toolchain is not touched. A sysroot is in its place whole and tried, or not at all: it is put
//! together in a scratch folder and renamed at the end. Of several processes one builds and the others wait,
//! as long as the one takes; a lock is let go by the system when its holder dies.
//! Costs: about a minute, and 90 MB; while it is built about 700 MB more, if the source has to be unpacked.

use std::ffi::OsStr;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use crate::cargo::{self, Ended, cargo};
use crate::command::{command, output};
use crate::debian::{self, Want};
use crate::toolchain::{Toolchain, has_std};
use crate::{Environment, Error, Report, Settings, Step, TARGET};

/// Part of a sysroot's name; to be raised when what is done below changes, so that old ones are not used.
const RECIPE: u32 = 1;

/// Where libraries for the target are in a sysroot.
const LIBRARIES: &str = "lib/rustlib/wasm32-wasip2/lib";

/// What rustc links from its own folder for this target, all of it wasi-libc's.
const LIBC_FILES: [&str; 3] = ["crt1-command.o", "crt1-reactor.o", "libc.a"];

/// Where Debian's wasi-libc has them, under a prefix such as `/usr`.
const LIBC_FOLDER: &str = "lib/wasm32-wasip2";

/// Where the source of std is, under a toolchain's sysroot and under Debian's prefix alike.
const SOURCE_FOLDER: &str = "lib/rustlib/src/rust/library";

/// A package with nothing in it, for cargo to build std for.
const SEED_MANIFEST: &str = r#"[package]
name = "seed"
version = "0.0.0"
edition = "2024"

[workspace]

[profile.release]
codegen-units = 1
debug = false
incremental = false
"#;

/// The sysroot for a toolchain, built now if it is not in the cache.
pub(crate) fn get(toolchain: &Toolchain, settings: &Settings, report: &Report) -> Result<PathBuf, Error> {
    let cache = std::path::absolute(&settings.cache).map_err(Error::file("find", &settings.cache))?;
    let key = format!("{}-r{RECIPE}", toolchain.key());
    let sysroot = cache.join(&key);
    if is_whole(&sysroot) {
        return Ok(sysroot);
    }
    fs::create_dir_all(&cache).map_err(Error::file("create", &cache))?;
    let _lock = lock(&cache.join(format!("{key}.lock")), report)?;
    if is_whole(&sysroot) {
        return Ok(sysroot);
    }
    let scratch = Scratch::new(cache.join(format!("{key}.partial")))?;
    let made = Work { toolchain, environment: &settings.environment, scratch: &scratch.0, report }.make()?;
    fs::rename(&made, &sysroot).map_err(Error::file("put in place", &sysroot))?;
    Ok(sysroot)
}

fn is_whole(sysroot: &Path) -> bool {
    has_std(&sysroot.join(LIBRARIES))
}

fn lock(path: &Path, report: &Report) -> Result<File, Error> {
    let file = File::create(path).map_err(Error::file("create", path))?;
    match file.try_lock() {
        Ok(()) => return Ok(file),
        Err(TryLockError::WouldBlock) => report(Step::WaitingForOther),
        Err(TryLockError::Error(error)) => return Err(Error::file("lock", path)(error)),
    }
    file.lock().map_err(Error::file("lock", path))?;
    Ok(file)
}

/// A folder that starts empty, whatever an interrupted process left there, and goes with its guard.
struct Scratch(PathBuf);

impl Scratch {
    fn new(folder: PathBuf) -> Result<Self, Error> {
        match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Error::file("empty", &folder)(error));
            }
            _ => fs::create_dir_all(&folder).map_err(Error::file("create", &folder))?,
        }
        Ok(Self(folder))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed now is removed by the next one to come.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// One making of a sysroot.
struct Work<'a> {
    toolchain: &'a Toolchain,
    environment: &'a Environment,
    scratch: &'a Path,
    report: &'a Report,
}

/// What a sysroot is made from.
#[derive(Debug)]
struct Sources {
    /// Rust's `library` folder.
    library: PathBuf,
    /// The folder of wasi-libc's objects.
    libc: PathBuf,
}

impl Work<'_> {
    fn make(&self) -> Result<PathBuf, Error> {
        let sources = self.sources()?;
        (self.report)(Step::BuildingStd { release: self.toolchain.release.clone() });
        let built = self.build_std(&sources.library)?;
        let sysroot = self.assemble(&built, &sources.libc)?;
        self.try_out(&sysroot)?;
        Ok(sysroot)
    }

    /// What is installed is used; what is not comes from Debian's packages.
    fn sources(&self) -> Result<Sources, Error> {
        let packages = self.scratch.join("packages");
        let prefix = packages.join("usr");
        let library = self.toolchain.sysroot.join(SOURCE_FOLDER);
        let libc = Path::new("/usr").join(LIBC_FOLDER);
        let (has_library, has_libc) = (library.is_dir(), LIBC_FILES.iter().all(|f| libc.join(f).is_file()));

        let mut wants = Vec::new();
        if !has_library {
            wants.push(Want { package: "rust-src", upstream: Some(self.toolchain.release.clone()) });
        }
        if !has_libc {
            wants.push(Want { package: "wasi-libc", upstream: None });
        }
        if !wants.is_empty() {
            debian::fetch(&wants, &packages, self.environment, self.report)?;
        }
        let library = if has_library { library } else { prefix.join(SOURCE_FOLDER) };
        Ok(Sources {
            // Debian's is a link; without it, the source's folder is what the compiler sees and can remap.
            library: fs::canonicalize(&library).map_err(Error::file("open", &library))?,
            libc: if has_libc { libc } else { prefix.join(LIBC_FOLDER) },
        })
    }

    /// Has cargo build std for an empty package; gives the folder of what was made.
    fn build_std(&self, library: &Path) -> Result<PathBuf, Error> {
        let seed = self.scratch.join("seed");
        let source = seed.join("src");
        fs::create_dir_all(&source).map_err(Error::file("create", &source))?;
        write(&seed.join("Cargo.toml"), SEED_MANIFEST)?;
        write(&source.join("lib.rs"), "#![no_std]\n")?;

        let target_dir = self.scratch.join("build");
        let mut command = cargo(&seed, self.environment);
        command
            .args(["build", "--release", "--target", TARGET, "-Zbuild-std=std,panic_abort,test"])
            .args(["--color", "never", "--target-dir"])
            .arg(&target_dir)
            // -Zbuild-std is for nightly toolchains; building std is what this variable is for in stable ones.
            .env("RUSTC_BOOTSTRAP", "1")
            .env("__CARGO_TESTS_ONLY_SRC_ROOT", library)
            .env("CARGO_ENCODED_RUSTFLAGS", self.std_flags(library));
        match cargo::run(&mut command, self.report, |_| ())? {
            Ended::Well => Ok(target_dir.join(TARGET).join("release/deps")),
            Ended::Badly { diagnostics } => {
                Err(Error::Failed { command: "cargo build".into(), said: diagnostics.trim().to_owned() })
            }
        }
    }

    /// As in the std that Rust ships: with bitcode for guests that want link-time optimisation, and without the
    /// folder it was built in. Separated in cargo's way, which leaves spaces in folders alone.
    fn std_flags(&self, library: &Path) -> String {
        let remap =
            format!("--remap-path-prefix={}=/rustc/{}/library", library.display(), self.toolchain.commit);
        ["-Cembed-bitcode=yes", &remap].join("\u{1f}")
    }

    fn assemble(&self, built: &Path, libc: &Path) -> Result<PathBuf, Error> {
        let sysroot = self.scratch.join("sysroot");
        let libraries = sysroot.join(LIBRARIES);
        let self_contained = libraries.join("self-contained");
        fs::create_dir_all(&self_contained).map_err(Error::file("create", &self_contained))?;
        for entry in fs::read_dir(built).map_err(Error::file("list", built))? {
            let file = entry.map_err(Error::file("list", built))?.path();
            if is_part_of_std(&file) {
                copy_into(&file, &libraries)?;
            }
        }
        for file in LIBC_FILES {
            copy_into(&libc.join(file), &self_contained)?;
        }
        Ok(sysroot)
    }

    /// Links a component, so that a std which does not fit the libc or the linker is found out here.
    fn try_out(&self, sysroot: &Path) -> Result<(), Error> {
        let source = self.scratch.join("trial.rs");
        write(&source, "#[unsafe(no_mangle)] pub extern \"C\" fn trial() { println!(\"it links\") }\n")?;
        let mut rustc = command("rustc", self.scratch, &self.environment.for_cargo());
        rustc.args(["--edition=2024", "--crate-type=cdylib", "--target", TARGET, "--sysroot"]).arg(sysroot);
        rustc.arg("-o").arg(self.scratch.join("trial.wasm")).arg(&source);
        output(&mut rustc).map(|_| ())
    }
}

fn is_part_of_std(file: &Path) -> bool {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    file.extension() == Some(OsStr::new("rlib")) && !name.starts_with("libseed-")
}

fn write(path: &Path, text: &str) -> Result<(), Error> {
    fs::write(path, text).map_err(Error::file("write", path))
}

fn copy_into(file: &Path, folder: &Path) -> Result<(), Error> {
    let copy = folder.join(file.file_name().unwrap_or_default());
    fs::copy(file, &copy).map(|_| ()).map_err(Error::file("copy", file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_interrupted_build_left_is_gone_at_the_next() {
        let cache = tempfile::tempdir().unwrap();
        let folder = cache.path().join("x.partial");
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("half"), "").unwrap();

        let scratch = Scratch::new(folder.clone()).unwrap();
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
        drop(scratch);
        assert!(!folder.exists());
    }

    #[test]
    fn a_sysroot_without_std_is_not_whole() {
        let sysroot = tempfile::tempdir().unwrap();
        assert!(!is_whole(sysroot.path()));
        let libraries = sysroot.path().join(LIBRARIES);
        fs::create_dir_all(&libraries).unwrap();
        fs::write(libraries.join("libstd-0123.rlib"), "").unwrap();
        assert!(is_whole(sysroot.path()));
    }

    #[test]
    fn only_libraries_of_std_are_part_of_it() {
        assert!(is_part_of_std(Path::new("/d/libcore-1.rlib")));
        assert!(!is_part_of_std(Path::new("/d/libcore-1.rmeta")));
        assert!(!is_part_of_std(Path::new("/d/libseed-1.rlib")));
    }

    #[test]
    fn whoever_comes_second_says_that_it_waits() {
        let cache = tempfile::tempdir().unwrap();
        let path = cache.path().join("x.lock");
        let first = lock(&path, &|step| panic!("nothing to wait for: {step}")).unwrap();
        let (tell, told) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            let second = scope.spawn(|| lock(&path, &move |step| tell.send(step).unwrap()).map(|_| ()));
            assert_eq!(told.recv().unwrap(), Step::WaitingForOther);
            drop(first);
            second.join().unwrap().unwrap();
        });
    }
}
