//! Guest projects: folders with a Cargo.toml.

use std::fs;
use std::path::{Path, PathBuf};

use crate::Error;

/// A cargo package or workspace whose packages make components.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Project {
    folder: PathBuf,
}

impl Project {
    /// The guest projects of `folder`: the folder itself if it has a Cargo.toml, else each folder directly in it
    /// that has one, by name.
    pub fn all_in(folder: &Path) -> Result<Vec<Self>, Error> {
        let folder = fs::canonicalize(folder).map_err(Error::file("open", folder))?;
        if has_manifest(&folder) {
            return Ok(vec![Self { folder }]);
        }
        let mut projects = Vec::new();
        for entry in fs::read_dir(&folder).map_err(Error::file("list", &folder))? {
            let inner = entry.map_err(Error::file("list", &folder))?.path();
            if has_manifest(&inner) {
                projects.push(Self { folder: inner });
            }
        }
        if projects.is_empty() {
            return Err(Error::NoProject { folder });
        }
        projects.sort_by(|a, b| a.folder.cmp(&b.folder));
        Ok(projects)
    }

    /// Where its Cargo.toml is, as an absolute path without links.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The folder's name.
    pub fn name(&self) -> String {
        let name = self.folder.file_name().unwrap_or(self.folder.as_os_str());
        name.to_string_lossy().into_owned()
    }
}

fn has_manifest(folder: &Path) -> bool {
    folder.join("Cargo.toml").is_file()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder_with(files: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            let file = folder.path().join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, "").unwrap();
        }
        folder
    }

    fn names(folder: &Path) -> Vec<String> {
        Project::all_in(folder).unwrap().iter().map(Project::name).collect()
    }

    #[test]
    fn a_folder_with_a_manifest_is_one_project_whatever_is_in_it() {
        let folder = folder_with(&["guests/Cargo.toml", "guests/chat/Cargo.toml"]);
        assert_eq!(names(&folder.path().join("guests")), ["guests"]);
    }

    #[test]
    fn a_folder_without_one_holds_a_project_in_each_folder_that_has_one() {
        let folder =
            folder_with(&["zoo/Cargo.toml", "chat/Cargo.toml", "docs/readme.md", "deep/er/Cargo.toml"]);
        assert_eq!(names(folder.path()), ["chat", "zoo"]);
    }

    #[test]
    fn a_folder_with_nothing_to_build_is_an_error_with_a_way_out() {
        let folder = folder_with(&["docs/readme.md"]);
        let error = Project::all_in(folder.path()).unwrap_err();
        assert!(matches!(error, Error::NoProject { .. }), "{error}");
        assert!(error.hint().is_some());
    }
}
