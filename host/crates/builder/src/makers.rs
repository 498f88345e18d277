//! Which package makes which plugin.
//!
//! Promise: no plugin is made by two packages, of which one would replace what the other made without a word.
//! Bounded by: a name and a folder for each plugin that was made.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use crate::Error;
use crate::cargo::Artifact;

/// The folder of each plugin's package.
#[derive(Default)]
pub(crate) struct Makers(Mutex<HashMap<String, PathBuf>>);

impl Makers {
    /// These are to be delivered. All of them are, or none is.
    pub(crate) fn make(&self, artifacts: &[Artifact]) -> Result<(), Error> {
        let mut makers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for Artifact { package, folder, .. } in artifacts {
            // One that was moved away, or removed, makes nothing any more.
            let other =
                makers.get(package).filter(|other| *other != folder && other.join("Cargo.toml").is_file());
            if let Some(other) = other {
                let (plugin, first, second) = (package.clone(), other.clone(), folder.clone());
                return Err(Error::SameName { plugin, first, second });
            }
        }
        for Artifact { package, folder, .. } in artifacts {
            // It may have been called otherwise.
            makers.retain(|_, other| other != folder);
            makers.insert(package.clone(), folder.clone());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_name_is_one_packages_until_that_is_called_otherwise_or_gone() {
        let folder = tempfile::tempdir().unwrap();
        let made = |package: &str, name: &str| {
            let folder = folder.path().join(name);
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("Cargo.toml"), "").unwrap();
            Artifact { package: package.into(), file: folder.join("x.wasm"), folder }
        };
        let makers = Makers::default();
        let make = |artifacts: &[Artifact]| makers.make(artifacts).map_err(|error| error.to_string());
        assert_eq!(make(&[made("chat", "a"), made("echo", "b")]), Ok(()));
        assert_eq!(make(&[made("chat", "a")]), Ok(()), "once more");
        let refused = make(&[made("tea", "c"), made("chat", "c")]).unwrap_err();
        assert!(
            refused.contains("`chat`") && refused.contains("/a`") && refused.contains("/c`"),
            "{refused}"
        );
        assert_eq!(make(&[made("tea", "d")]), Ok(()), "of what is refused nothing is made");

        assert_eq!(make(&[made("talk", "a")]), Ok(()));
        assert_eq!(make(&[made("chat", "c")]), Ok(()), "it is called otherwise");
        fs::remove_dir_all(folder.path().join("c")).unwrap();
        assert_eq!(make(&[made("chat", "e")]), Ok(()), "it is gone");
    }
}
