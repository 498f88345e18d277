//! `rookery dev`: builds the guest projects of a folder and puts what they make where it can be served.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use rookery_builder::{Builder, Project, Settings};

use crate::command::Hint;
use crate::terminal::Terminal;

/// Builds everything in `folder` and returns the folder of components. Blocks.
pub(crate) fn build(folder: &Path, terminal: &Arc<Terminal>) -> anyhow::Result<PathBuf> {
    let environment: rookery_builder::Environment = std::env::vars_os().collect();
    let folder =
        folder.canonicalize().with_context(|| format!("the folder `{}` cannot be read", folder.display()))?;
    let projects = Project::all_in(&folder).map_err(unbuilt)?;
    let target_dir = folder.join("target");
    let settings = Settings {
        out: target_dir.join("plugins"),
        cache: rookery_builder::default_cache(&environment, Path::new("target")),
        target_dir,
        environment,
    };
    let out = settings.out.clone();
    let shown = terminal.clone();
    let builder = Builder::new(settings, move |step| shown.building(&step));

    let mut built = BTreeSet::new();
    for project in &projects {
        for component in builder.build(project).map_err(unbuilt)? {
            built.insert(OsString::from(component.plugin));
        }
    }
    terminal.rest();
    forget_others(&out, &built)
        .with_context(|| format!("old plugins in `{}` cannot be removed", out.display()))?;
    Ok(out)
}

fn unbuilt(error: rookery_builder::Error) -> anyhow::Error {
    match error.hint() {
        Some(hint) => anyhow::Error::new(error).context(Hint::new(hint)),
        None => error.into(),
    }
}

/// Removes plugins whose projects are gone: the folder is dev's own, and what is in it is served.
fn forget_others(out: &Path, built: &BTreeSet<OsString>) -> std::io::Result<()> {
    if !out.exists() {
        return Ok(());
    }
    for entry in std::fs::read_dir(out)? {
        let path = entry?.path();
        let plugin = path.extension().is_some_and(|extension| extension == "wasm" || extension == "toml");
        if plugin && path.file_stem().is_some_and(|stem| !built.contains(stem)) {
            std::fs::remove_file(path)?;
        }
    }
    Ok(())
}
