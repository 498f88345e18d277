//! Reading apt's lists of sources, in both of its formats, to find the Debian mirror a machine uses.
//!
//! Promises: an address is only ever taken from these files.

use std::fmt;
use std::path::{Path, PathBuf};

/// A mirror of Debian's packages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mirror {
    /// Its address, ending in `/debian`.
    pub(crate) uri: String,
    /// The keys that its lists are signed with; apt's own keys if it is not said.
    signed_by: Option<PathBuf>,
}

impl Mirror {
    /// A line for `sources.list`; of what a suite lists only packages are wanted.
    pub(crate) fn source(&self, suite: &str) -> String {
        let keys =
            self.signed_by.as_ref().map(|keys| format!(" signed-by={}", keys.display())).unwrap_or_default();
        format!("deb [target=Packages{keys}] {} {suite} main\n", self.uri)
    }
}

impl fmt::Display for Mirror {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.uri)?;
        if self.signed_by.is_some() { f.write_str(" with its own keys") } else { Ok(()) }
    }
}

/// The Debian mirrors in the files' texts, each once with the keys it names and once without, because these keys can
/// be older than the suite that is wanted while apt's own have been renewed.
pub(crate) fn debian_mirrors(files: &[(PathBuf, String)]) -> Vec<Mirror> {
    let mut named: Vec<Mirror> = Vec::new();
    for (path, text) in files {
        named.extend(mirrors_in(path, text).into_iter().filter(|mirror| is_debian(&mirror.uri)));
    }
    let without_keys: Vec<_> = named.iter().map(|m| Mirror { uri: m.uri.clone(), signed_by: None }).collect();
    let mut mirrors: Vec<Mirror> = Vec::new();
    for mirror in named.into_iter().chain(without_keys) {
        if !mirrors.contains(&mirror) {
            mirrors.push(mirror);
        }
    }
    mirrors
}

fn mirrors_in(path: &Path, text: &str) -> Vec<Mirror> {
    match path.extension().and_then(|kind| kind.to_str()) {
        Some("sources") => text.split("\n\n").flat_map(mirrors_in_stanza).collect(),
        Some("list") => text.lines().filter_map(mirror_in_line).collect(),
        _ => Vec::new(),
    }
}

/// Debian's archive for ports and for security end otherwise, and so do other distributions'.
fn is_debian(uri: &str) -> bool {
    uri.contains("://") && uri.ends_with("/debian")
}

/// `deb [signed-by=/keys.gpg arch=amd64] http://mirror.example/debian trixie main`
fn mirror_in_line(line: &str) -> Option<Mirror> {
    let rest =
        line.split('#').next()?.trim().strip_prefix("deb")?.strip_prefix(char::is_whitespace)?.trim_start();
    let (options, rest) = match rest.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => ("", rest),
    };
    let signed_by = options.split_whitespace().find_map(|option| option.strip_prefix("signed-by="));
    Some(mirror(rest.split_whitespace().next()?, signed_by))
}

/// A paragraph of `Name: value` lines.
fn mirrors_in_stanza(stanza: &str) -> Vec<Mirror> {
    let field = |name| field(stanza, name).unwrap_or_default();
    let enabled = !["no", "false", "0", "off", "without", "disable"].contains(&field("enabled").as_str());
    if !enabled || !field("types").split_whitespace().any(|kind| kind == "deb") {
        return Vec::new();
    }
    let signed_by = field("signed-by");
    field("uris").split_whitespace().map(|uri| mirror(uri, Some(&signed_by))).collect()
}

/// A field's value, its continuation lines joined with spaces.
fn field(stanza: &str, name: &str) -> Option<String> {
    let mut lines = stanza.lines().filter(|line| !line.starts_with('#')).skip_while(|line| {
        line.split_once(':').is_none_or(|(found, _)| !found.trim().eq_ignore_ascii_case(name))
    });
    let mut value = lines.next()?.split_once(':')?.1.trim().to_owned();
    for more in lines.take_while(|line| line.starts_with([' ', '\t'])) {
        value.push(' ');
        value.push_str(more.trim());
    }
    Some(value.trim().to_owned())
}

/// Keys can also be given as fingerprints or spelled out; then apt's own are used.
fn mirror(uri: &str, signed_by: Option<&str>) -> Mirror {
    let file = signed_by.filter(|keys| keys.starts_with('/') && !keys.contains([' ', '\t', ']']));
    Mirror { uri: uri.trim_end_matches('/').to_owned(), signed_by: file.map(PathBuf::from) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, text: &str) -> Vec<Mirror> {
        debian_mirrors(&[(name.into(), text.into())])
    }

    fn plain(uri: &str) -> Mirror {
        Mirror { uri: uri.into(), signed_by: None }
    }

    fn signed(uri: &str, keys: &str) -> Mirror {
        Mirror { uri: uri.into(), signed_by: Some(keys.into()) }
    }

    const MIRROR: &str = "http://mirror.example/debian";

    #[test]
    fn a_paragraph_names_its_mirror_and_keys() {
        let text = "Types: deb\n# http://snapshot.example/debian/2025\nURIs: http://mirror.example/debian\n\
                    Suites: bookworm bookworm-updates\nComponents: main\nSigned-By: /keys/debian.gpg\n\n\
                    Types: deb\nURIs: http://mirror.example/debian-security\nSuites: bookworm-security\n";
        assert_eq!(read("debian.sources", text), [signed(MIRROR, "/keys/debian.gpg"), plain(MIRROR)]);
    }

    #[test]
    fn field_names_in_any_case_and_values_over_several_lines_are_understood() {
        let text =
            "types: deb-src\n deb\nuris:\n https://other.example/pool\n http://mirror.example/debian/\n";
        assert_eq!(read("debian.sources", text), [plain(MIRROR)]);
    }

    #[test]
    fn keys_spelled_out_are_left_to_apt() {
        let text =
            "Types: deb\nURIs: http://mirror.example/debian\nSigned-By:\n -----BEGIN PGP-----\n .\n abc\n";
        assert_eq!(read("debian.sources", text), [plain(MIRROR)]);
    }

    #[test]
    fn what_is_switched_off_or_has_only_sources_is_not_used() {
        assert_eq!(read("a.sources", "Types: deb\nURIs: http://mirror.example/debian\nEnabled: no\n"), []);
        assert_eq!(read("a.sources", "Types: deb-src\nURIs: http://mirror.example/debian\n"), []);
        assert_eq!(read("sources.list", "# deb http://mirror.example/debian trixie main\n"), []);
        assert_eq!(read("sources.list", "deb-src http://mirror.example/debian trixie main\n"), []);
        assert_eq!(read("old.list.save", "deb http://mirror.example/debian trixie main\n"), []);
    }

    #[test]
    fn a_line_names_its_mirror_with_or_without_options() {
        let plain_line = "deb http://mirror.example/debian/ trixie main contrib # the usual\n";
        assert_eq!(read("sources.list", plain_line), [plain(MIRROR)]);
        let options =
            "deb [ arch=amd64 signed-by=/keys/debian.gpg ] http://mirror.example/debian trixie main\n";
        assert_eq!(read("debian.list", options), [signed(MIRROR, "/keys/debian.gpg"), plain(MIRROR)]);
    }

    #[test]
    fn other_archives_are_not_debians() {
        let text = "deb https://packages.example/apt cloud main\n\
                    deb http://mirror.example/ubuntu noble main\n\
                    deb cdrom:[Debian 13 _Trixie_]/ trixie main\n";
        assert_eq!(read("sources.list", text), []);
    }

    #[test]
    fn a_mirror_named_twice_is_asked_once() {
        let text =
            "deb http://mirror.example/debian trixie main\ndeb http://mirror.example/debian sid main\n";
        assert_eq!(read("sources.list", text), [plain(MIRROR)]);
    }

    #[test]
    fn a_source_asks_for_packages_of_one_suite() {
        let source = signed(MIRROR, "/keys/debian.gpg").source("trixie");
        assert_eq!(
            source,
            "deb [target=Packages signed-by=/keys/debian.gpg] http://mirror.example/debian trixie main\n"
        );
    }
}
