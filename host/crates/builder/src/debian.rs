//! Packages from Debian, unpacked into a folder; nothing is installed.
//!
//! Promises: the mirror is the machine's own, the packages are verified by the machine's own keys, and apt's lists
//! and caches of the system are neither read nor changed: apt works in a folder of ours.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::apt_sources::{Mirror, debian_mirrors};
use crate::command::{command, output};
use crate::{Environment, Error, Report, Step};

/// Where a package is looked for, whatever release the machine itself is: newest first, for Rust is updated every
/// six weeks. Nothing that runs is taken from them, only sources and objects for wasm.
const SUITES: [&str; 2] = ["trixie-backports", "trixie"];

/// A package that is needed.
#[derive(Clone, Debug)]
pub(crate) struct Want {
    pub(crate) package: &'static str,
    /// The very version its authors gave it; any will do if it is not said.
    pub(crate) upstream: Option<String>,
}

/// Unpacks `wants` into `folder`, all from one suite, so that they fit each other.
pub(crate) fn fetch(
    wants: &[Want],
    folder: &Path,
    environment: &Environment,
    report: &Report,
) -> Result<(), Error> {
    // How the machine reaches its mirrors, proxies above all, is in apt's configuration. Asked first, since without
    // apt there is no need to go on.
    let machines = output(command("apt-config", Path::new("/"), environment).arg("dump"))?;
    let mut tried = Vec::new();
    for mirror in machines_mirrors() {
        for suite in SUITES {
            report(Step::AskingMirror { mirror: mirror.uri.clone(), suite });
            // Each try has a folder of its own, so that nothing a failed one left is unpacked.
            let apt = Apt { folder: folder.join(format!("apt-{}", tried.len())), environment };
            let fetched = apt
                .configure(&mirror, suite, &machines)
                .and_then(|()| apt.download(wants, report))
                .and_then(|()| apt.unpack(folder));
            match fetched {
                Ok(()) => return Ok(()),
                Err(why) => {
                    let why = format!("{suite} of {mirror}: {why}");
                    report(Step::PassedOver { way: "Debian's packages", why: why.clone() });
                    tried.push(why);
                }
            }
        }
    }
    if tried.is_empty() {
        tried.push("no mirror of Debian's is named in /etc/apt".into());
    }
    Err(Error::NoPackages { tried })
}

/// What the machine's apt is told to use.
fn machines_mirrors() -> Vec<Mirror> {
    let mut files = vec![PathBuf::from("/etc/apt/sources.list")];
    if let Ok(entries) = fs::read_dir("/etc/apt/sources.list.d") {
        files.extend(entries.filter_map(Result::ok).map(|entry| entry.path()));
    }
    files.sort();
    let texts: Vec<_> =
        files.into_iter().filter_map(|f| fs::read_to_string(&f).ok().map(|t| (f, t))).collect();
    debian_mirrors(&texts)
}

/// An apt with its own lists and caches.
struct Apt<'a> {
    folder: PathBuf,
    environment: &'a Environment,
}

impl Apt<'_> {
    fn configure(&self, mirror: &Mirror, suite: &str, machines: &str) -> Result<(), Error> {
        for folder in ["lists/partial", "cache/archives/partial", "packages"] {
            let folder = self.folder.join(folder);
            fs::create_dir_all(&folder).map_err(Error::file("create", &folder))?;
        }
        let configuration = configuration(&self.folder, machines);
        for (name, text) in
            [("apt.conf", configuration), ("sources.list", mirror.source(suite)), ("status", String::new())]
        {
            let file = self.folder.join(name);
            fs::write(&file, text).map_err(Error::file("write", &file))?;
        }
        Ok(())
    }

    fn download(&self, wants: &[Want], report: &Report) -> Result<(), Error> {
        output(self.run("apt-get").args(["--quiet", "update"]))?;
        let packages = wants.iter().map(|want| self.choose(want)).collect::<Result<Vec<_>, _>>()?;
        report(Step::Downloading { packages: packages.clone() });
        output(self.run("apt-get").args(["--quiet", "download"]).args(packages)).map(|_| ())
    }

    /// `package=version` of what is wanted.
    fn choose(&self, want: &Want) -> Result<String, Error> {
        let listing = output(self.run("apt-cache").args(["madison", want.package]))?;
        let version = choose(&listing, want.upstream.as_deref()).ok_or_else(|| Error::Answer {
            command: "apt-cache madison".into(),
            what: format!(
                "`{}` {} is not there",
                want.package,
                want.upstream.as_deref().unwrap_or("of any version")
            ),
        })?;
        Ok(format!("{}={version}", want.package))
    }

    fn unpack(&self, into: &Path) -> Result<(), Error> {
        let packages = self.folder.join("packages");
        for entry in fs::read_dir(&packages).map_err(Error::file("list", &packages))? {
            let package = entry.map_err(Error::file("list", &packages))?.path();
            let mut dpkg = command("dpkg-deb", &packages, self.environment);
            output(dpkg.arg("--extract").arg(package).arg(into))?;
        }
        Ok(())
    }

    fn run(&self, program: &str) -> Command {
        let mut command = command(program, &self.folder.join("packages"), self.environment);
        command.env("APT_CONFIG", self.folder.join("apt.conf")).env("LC_ALL", "C");
        command
    }
}

/// Apt's configuration for working in `folder` only. Of the machine's, the `Acquire` part is kept; the rest, such as
/// commands to run after an update, is not for us.
fn configuration(folder: &Path, machines: &str) -> String {
    let folder = folder.display();
    let acquire: String =
        machines.lines().filter(|l| l.starts_with("Acquire::")).map(|l| format!("{l}\n")).collect();
    format!(
        r#"{acquire}Dir::Etc::Main "/dev/null";
Dir::Etc::Parts "/dev/null";
Dir::Etc::SourceList "{folder}/sources.list";
Dir::Etc::SourceParts "/dev/null";
Dir::State "{folder}";
Dir::State::Lists "{folder}/lists";
Dir::State::Status "{folder}/status";
Dir::Cache "{folder}/cache";
// What is not signed by a key of the machine's is refused, whatever its configuration says.
Acquire::AllowInsecureRepositories "false";
Acquire::AllowWeakRepositories "false";
Acquire::AllowDowngradeToInsecureRepositories "false";
APT::Get::AllowUnauthenticated "false";
// A mirror that does not answer is an error here, not a warning, and is not waited for long.
APT::Update::Error-Mode "any";
Acquire::Retries "1";
Acquire::http::Timeout "20";
Acquire::https::Timeout "20";
// Apt run by root downloads as another user, who may not be able to reach this folder.
APT::Sandbox::User "root";
"#
    )
}

/// The first version in the answer of `apt-cache madison` (newest first) whose upstream part is `upstream`.
fn choose(listing: &str, upstream: Option<&str>) -> Option<String> {
    let versions = listing.lines().filter_map(|line| line.split('|').nth(1)).map(str::trim);
    versions.into_iter().find(|v| upstream.is_none_or(|u| upstream_part(v) == u)).map(str::to_owned)
}

/// `1.95.0` of `1.95.0+dfsg1-2~bpo13+1`: without the epoch, Debian's revision and Debian's repackaging.
fn upstream_part(version: &str) -> &str {
    let version = version.split_once(':').map_or(version, |(_, rest)| rest);
    let version = version.rsplit_once('-').map_or(version, |(upstream, _)| upstream);
    version.split(['+', '~']).next().unwrap_or(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTING: &str = "\
  rust-src | 1.96.1+dfsg1-2~bpo13+1 | http://mirror.example/debian trixie-backports/main amd64 Packages
  rust-src | 1.95.0+dfsg1-2~bpo13+1 | http://mirror.example/debian trixie-backports/main amd64 Packages
  rust-src | 1.95.0+dfsg1-1~bpo13+1 | http://mirror.example/debian trixie-backports/main amd64 Packages
";

    #[test]
    fn the_version_is_the_toolchains_own_or_the_newest_if_any_will_do() {
        assert_eq!(choose(LISTING, Some("1.95.0")).as_deref(), Some("1.95.0+dfsg1-2~bpo13+1"));
        assert_eq!(choose(LISTING, None).as_deref(), Some("1.96.1+dfsg1-2~bpo13+1"));
        assert_eq!(choose(LISTING, Some("1.95.1")), None);
        assert_eq!(choose("", None), None);
    }

    #[test]
    fn the_upstream_part_is_what_the_authors_called_it() {
        assert_eq!(upstream_part("1.95.0+dfsg1-2~bpo13+1"), "1.95.0");
        assert_eq!(upstream_part("2:1.95.0-1"), "1.95.0");
        assert_eq!(upstream_part("1.95.0"), "1.95.0");
        assert_eq!(upstream_part("0.0~git20260423.161b319-2"), "0.0");
    }

    #[test]
    fn of_the_machines_configuration_only_how_to_reach_mirrors_is_kept() {
        let machines = "Acquire::http::Proxy \"http://proxy.example\";\n\
                        Acquire::AllowInsecureRepositories \"true\";\n\
                        APT::Update::Post-Invoke:: \"rm -rf /var/cache\";\n";
        let text = configuration(Path::new("/f"), machines);
        assert!(text.contains("proxy.example") && !text.contains("Post-Invoke"), "{text}");
        let last = text.lines().rfind(|line| line.contains("AllowInsecureRepositories")).unwrap();
        assert!(last.ends_with("\"false\";"), "what comes last counts");
    }
}
