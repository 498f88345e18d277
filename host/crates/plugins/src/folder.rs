//! Looks through a folder once: what is a plugin, what is its sidecar, and what is neither.
//!
//! Hidden files are left alone, so that one can be written under such a name and then renamed; so are folders, and
//! files of other kinds.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use rookery_core::PluginName;
use sha2::{Digest as _, Sha256};

use crate::error::{FolderError, PluginError, Problem};
use crate::sidecar::Sidecar;
use rookery_tables::Mistake;

/// What a folder holds.
#[derive(Debug, Default)]
pub struct Folder {
    /// What can be served, by name.
    pub plugins: Vec<PluginFile>,
    /// What cannot, and why; by file, and within a file from its top down.
    pub problems: Vec<Problem>,
}

/// A plugin as it lies in its folder.
#[derive(Debug)]
pub struct PluginFile {
    /// Its file's stem.
    pub name: PluginName,
    /// Its `.wasm` file.
    pub path: PathBuf,
    /// What was in the file. Kept, as the digest is of exactly these bytes and the file may change.
    pub bytes: Vec<u8>,
    /// Tells one version from another: SHA-256 in hexadecimal.
    pub digest: String,
    /// What its sidecar says, or the defaults.
    pub sidecar: Sidecar,
}

/// The largest component that is read. Python's interpreter with its libraries is about 20 MiB; what is larger than
/// this is no component, or would take longer to compile than anybody waits.
const LARGEST_COMPONENT: u64 = 512 << 20;

/// The largest sidecar that is read. They are a screenful.
const LARGEST_SIDECAR: u64 = 1 << 20;

/// The host's own settings, which may lie in the same folder.
const SETTINGS: &str = "rookery";

/// Reads a folder's plugins; `env` looks variables up in the host's environment.
///
/// # Errors
///
/// When the folder itself cannot be read. What is wrong with a file in it is one of its [`Folder::problems`].
pub fn scan(folder: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<Folder, FolderError> {
    let names = list(folder)?;
    let mut found = Folder::default();
    for (stem, file) in &names.components {
        let sidecar = names.sidecars.get(stem).map(|name| folder.join(name));
        match read_plugin(stem, folder.join(file), sidecar, env) {
            Ok(plugin) => found.plugins.push(plugin),
            Err(problems) => found.problems.extend(problems),
        }
    }
    for (stem, file) in &names.sidecars {
        if !names.components.contains_key(stem) && stem != SETTINGS {
            let error = PluginError::Orphan { wasm: format!("{stem}.wasm") };
            found.problems.push(Problem { path: folder.join(file), error });
        }
    }
    // Stable, so that what was found in one file stays in order.
    found.problems.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

/// File names by their stems, in the order of those.
#[derive(Default)]
struct Names {
    components: BTreeMap<String, PathBuf>,
    sidecars: BTreeMap<String, PathBuf>,
}

fn list(folder: &Path) -> Result<Names, FolderError> {
    let unreadable = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => FolderError::Missing(folder.to_owned()),
        io::ErrorKind::NotADirectory => FolderError::NotAFolder(folder.to_owned()),
        _ => FolderError::Unreadable { path: folder.to_owned(), error },
    };
    let mut names = Names::default();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let file = PathBuf::from(entry.map_err(unreadable)?.file_name());
        let (Some(stem), Some(extension)) = (file.file_stem(), file.extension()) else { continue };
        let stem = stem.to_string_lossy().into_owned();
        if stem.starts_with('.') {
            continue;
        }
        if extension == "wasm" {
            names.components.insert(stem, file);
        } else if extension == "toml" && !folder.join(&file).is_dir() {
            names.sidecars.insert(stem, file);
        }
    }
    Ok(names)
}

/// Reads a plugin and its sidecar, and looks at all of it before it gives up.
fn read_plugin(
    stem: &str,
    path: PathBuf,
    sidecar: Option<PathBuf>,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<PluginFile, Vec<Problem>> {
    let name = stem.parse::<PluginName>().map_err(|_| name_error(stem));
    let bytes = name.and_then(|name| Ok((name, read(&path, LARGEST_COMPONENT)?)));
    let mut problems = Vec::new();
    let sidecar = match sidecar {
        Some(path) => read_sidecar(&path, env).unwrap_or_else(|errors| {
            problems.extend(errors.into_iter().map(|error| Problem { path: path.clone(), error }));
            Sidecar::default()
        }),
        None => Sidecar::default(),
    };
    match bytes {
        Ok((name, bytes)) if problems.is_empty() => {
            let digest = digest(&bytes);
            Ok(PluginFile { name, path, bytes, digest, sidecar })
        }
        Ok(_) => Err(problems),
        Err(error) => {
            problems.push(Problem { path, error });
            Err(problems)
        }
    }
}

fn read_sidecar(path: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<Sidecar, Vec<PluginError>> {
    let bytes = read(path, LARGEST_SIDECAR).map_err(|error| vec![error])?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = good.iter().filter(|byte| **byte == b'\n').count() + 1;
        let hint = "save it in UTF-8".into();
        vec![PluginError::Sidecar(Mistake { line: Some(line), what: "it is not UTF-8".into(), hint })]
    })?;
    Sidecar::parse(&text, env).map_err(|errors| errors.into_iter().map(PluginError::Sidecar).collect())
}

fn read(path: &Path, limit: u64) -> Result<Vec<u8>, PluginError> {
    // Looked at first: opening a named pipe would wait for somebody to write to it.
    let metadata = fs::metadata(path).map_err(PluginError::Unreadable)?;
    if !metadata.is_file() {
        return Err(PluginError::NotAFile);
    }
    let mut bytes = Vec::new();
    // The file may grow while it is read, so what was said of its size counts for nothing.
    if metadata.len() <= limit {
        let file = File::open(path).map_err(PluginError::Unreadable)?;
        file.take(limit + 1).read_to_end(&mut bytes).map_err(PluginError::Unreadable)?;
    }
    let fits = metadata.len() <= limit && bytes.len() as u64 <= limit;
    if fits { Ok(bytes) } else { Err(PluginError::TooLarge { limit }) }
}

fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::with_capacity(64), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

fn name_error(stem: &str) -> PluginError {
    PluginError::Name { stem: stem.chars().take(140).collect(), suggestion: suggestion(stem) }
}

/// The name that somebody most likely meant.
fn suggestion(stem: &str) -> Option<String> {
    let hyphened =
        stem.to_ascii_lowercase().replace(|c: char| !c.is_ascii_lowercase() && !c.is_ascii_digit(), "-");
    let words: Vec<&str> = hyphened.split('-').filter(|word| !word.is_empty()).collect();
    let joined = words.join("-");
    let from_letter = joined.trim_start_matches(|c: char| !c.is_ascii_lowercase());
    let short = from_letter.get(..64).unwrap_or(from_letter).trim_end_matches('-');
    short.parse::<PluginName>().ok().map(|name| name.to_string())
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    fn folder(files: &[(&str, &[u8])]) -> TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, bytes) in files {
            fs::write(folder.path().join(name), bytes).expect(name);
        }
        folder
    }

    fn look(folder: &TempDir) -> Folder {
        scan(folder.path(), &|_| None).expect("a folder")
    }

    fn names(found: &Folder) -> Vec<&str> {
        found.plugins.iter().map(|plugin| plugin.name.as_str()).collect()
    }

    /// Every problem as `file: what; hint`.
    fn problems(found: &Folder) -> Vec<String> {
        found.problems.iter().map(|problem| format!("{problem}; {}", problem.hint())).collect()
    }

    #[test]
    fn an_empty_folder_holds_nothing_and_that_is_no_problem() {
        let found = look(&folder(&[]));
        assert_eq!((names(&found).len(), problems(&found).len()), (0, 0));
    }

    #[test]
    fn plugins_are_found_by_name_with_their_bytes_their_digest_and_their_sidecar() {
        let folder = folder(&[
            ("chat.wasm", b"abc"),
            ("chat.toml", b"[limits]\nmemory = \"1MiB\""),
            ("a-2.wasm", b""),
            ("b.wasm", b"abc"),
        ]);
        let found = look(&folder);
        assert_eq!(problems(&found), [""; 0]);
        assert_eq!(names(&found), ["a-2", "b", "chat"]);
        let [a, b, chat] = &found.plugins[..] else { panic!("three plugins") };
        assert_eq!((chat.bytes.as_slice(), &chat.path), (&b"abc"[..], &folder.path().join("chat.wasm")));
        // The examples of FIPS 180.
        assert_eq!(chat.digest, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(a.digest, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        assert_eq!(b.digest, chat.digest);
        assert_eq!((chat.sidecar.limits.memory, b.sidecar.limits.memory), (1 << 20, 64 << 20));
    }

    #[test]
    fn other_files_hidden_ones_and_folders_are_left_alone() {
        let folder = folder(&[
            (".chat.wasm", b""),
            ("._chat.wasm", b""),
            (".wasm", b""),
            (".toml", b""),
            ("chat.wasm.part", b""),
            ("chat.WASM", b""),
            ("README.md", b""),
            ("wasm", b""),
            ("rookery.toml", b"listen = 1"),
        ]);
        fs::create_dir(folder.path().join("nested")).expect("a folder");
        fs::write(folder.path().join("nested").join("inner.wasm"), "").expect("a file");
        fs::create_dir(folder.path().join("nested.toml")).expect("a folder");
        let found = look(&folder);
        assert_eq!((names(&found), problems(&found)), (vec![], vec![]));
    }

    #[test]
    fn one_that_cannot_be_served_is_said_and_the_others_are_served() {
        let folder = folder(&[
            ("a.wasm", b""),
            ("b.wasm", b""),
            ("b.toml", b"[limits]\nmemry = \"1MiB\"\n[runs]\nqueue = 0"),
            ("c.wasm", b""),
            ("Bad_Name.wasm", b""),
            ("Bad_Name.toml", b"[limits"),
            ("alone.toml", b"[nonsense"),
        ]);
        let found = look(&folder);
        assert_eq!(names(&found), ["a", "c"]);
        let shown = problems(&found);
        assert!(shown[0].starts_with("`Bad_Name.toml:1`: it is no TOML: "), "{shown:?}");
        assert_eq!(
            shown[1..],
            [
                "`Bad_Name.wasm`: `Bad_Name` is no plugin name: it has 1 to 64 characters of a–z, 0–9 and -, starting \
                 with a letter; rename it to `bad-name.wasm`, and its sidecar with it",
                "`alone.toml`: it belongs to no plugin: there is no `alone.wasm` beside it; name it after the plugin \
                 that it belongs to, or put `alone.wasm` beside it",
                "`b.toml:2`: unknown key `memry` in [limits]; did you mean `memory`?",
                "`b.toml:4`: `queue = 0` in [runs] is not a number from 1 to 65536; write for example `queue = 256`",
            ]
        );
        let warnings: Vec<_> = found.problems.iter().map(Problem::is_warning).collect();
        assert_eq!(warnings, [false, false, true, false, false]);
    }

    #[test]
    fn a_file_that_is_no_plugin_name_is_told_one_that_is_like_it() {
        for (stem, like) in [
            ("My_Agent", Some("my-agent")),
            ("chat v2.1", Some("chat-v2-1")),
            ("2chat", Some("chat")),
            ("-chat-", Some("chat")),
            ("__chat__bot__", Some("chat-bot")),
            ("grüße", Some("gr-e")),
            ("42", None),
            ("日本", None),
        ] {
            assert_eq!(suggestion(stem).as_deref(), like, "{stem}");
        }
        let long = suggestion(&format!("{}_{}", "a".repeat(63), "b".repeat(63)));
        assert_eq!(long, Some("a".repeat(63)), "no hyphen is left at the end");
    }

    #[test]
    fn a_sidecar_that_is_no_text_or_too_large_is_refused() {
        let large = vec![b'#'; (1 << 20) + 1];
        let folder = folder(&[
            ("a.wasm", b""),
            ("a.toml", b"# one\n# two\n\xff"),
            ("b.wasm", b""),
            ("b.toml", &large),
            ("c.wasm", b""),
            ("c.toml", &large[1..]),
        ]);
        let found = look(&folder);
        assert_eq!(names(&found), ["c"]);
        assert_eq!(
            problems(&found),
            [
                "`a.toml:3`: it is not UTF-8; save it in UTF-8",
                "`b.toml`: it is larger than 1MiB; look whether it is what it should be",
            ]
        );
    }

    #[test]
    fn a_component_that_is_too_large_is_not_read() {
        let folder = folder(&[]);
        // Sparse: it takes no room on the disk.
        let file = File::create(folder.path().join("a.wasm")).expect("a file");
        file.set_len(LARGEST_COMPONENT + 1).expect("a large file");
        let found = look(&folder);
        assert!(problems(&found)[0].starts_with("`a.wasm`: it is larger than 512MiB; "), "{found:?}");
    }

    #[test]
    fn what_only_has_the_name_of_a_file_is_told_so() {
        let folder = folder(&[("chat.toml", b"")]);
        fs::create_dir(folder.path().join("chat.wasm")).expect("a folder");
        let found = look(&folder);
        assert_eq!(
            problems(&found),
            ["`chat.wasm`: it is not a regular file; put the file itself here, or move this elsewhere"],
            "and the sidecar is no orphan"
        );
    }

    #[cfg(unix)]
    #[test]
    fn links_are_followed_and_one_that_leads_nowhere_is_a_problem() {
        let folder = folder(&[("chat.wasm", b"abc")]);
        let link = |from, to| std::os::unix::fs::symlink(from, folder.path().join(to)).expect("a link");
        link("chat.wasm", "linked.wasm");
        link("nowhere", "broken.wasm");
        link("nowhere", "chat.toml");
        let found = look(&folder);
        assert_eq!(names(&found), ["linked"]);
        let shown = problems(&found);
        assert!(shown[0].starts_with("`broken.wasm`: it cannot be read: "), "{shown:?}");
        assert!(shown[1].starts_with("`chat.toml`: it cannot be read: "), "{shown:?}");
    }

    #[test]
    fn a_folder_that_is_none_is_an_error_with_a_hint() {
        let folder = folder(&[("file", b"")]);
        let missing = scan(&folder.path().join("missing"), &|_| None).expect_err("missing");
        assert!(matches!(missing, FolderError::Missing(_)), "{missing}");
        assert!(missing.hint().contains("mkdir"), "{}", missing.hint());
        let file = scan(&folder.path().join("file"), &|_| None).expect_err("a file");
        assert!(matches!(file, FolderError::NotAFolder(_)), "{file}");
        assert!(file.hint().contains(&folder.path().display().to_string()), "{}", file.hint());
    }

    #[test]
    fn a_sidecar_takes_its_secrets_from_the_environment_it_is_given() {
        let sidecar = br#"
            [http]
            allow = ["https://a.com"]
            [http.inject."https://a.com"]
            authorization = "${KEY}"
        "#;
        let folder = folder(&[("chat.wasm", b""), ("chat.toml", sidecar)]);
        assert_eq!(
            names(&scan(folder.path(), &|name| (name == "KEY").then(|| "x".into())).expect("one")),
            ["chat"]
        );
        let found = look(&folder);
        assert!(names(&found).is_empty() && problems(&found)[0].starts_with("`chat.toml:5`: "), "{found:?}");
    }
}
