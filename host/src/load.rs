//! Loading a folder of plugins: in parallel, saying what happens, serving what can be served.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rookery_agents::guest::{Plugin, Policy};
use rookery_core::{ByteSize, PluginName};
use rookery_engine::{Engine, Models, Source};
use rookery_models::ModelName;
use rookery_outgoing::AskedTimeouts;
use rookery_plugins::PluginFile;
use rookery_usage::{Ledger, Price};
use tokio::time::Instant;

/// What loading is at.
#[derive(Debug)]
pub enum Loading<'a> {
    /// So many plugins will be loaded.
    Found(usize),
    /// This one is being checked and compiled.
    Began(&'a PluginName),
    /// This one can be served.
    Loaded(&'a PluginName, Duration),
    /// This one cannot.
    Refused(&'a Refused),
}

/// A plugin that cannot be served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The file that is at fault.
    pub file: PathBuf,
    /// The file's name, the line where there is one, and what is wrong there.
    pub error: String,
    /// What would mend it.
    pub hint: String,
    /// Whether the file is merely of no use: nothing is missing without it.
    pub idle: bool,
}

/// What was made of a folder.
#[derive(Default)]
pub(crate) struct Loaded {
    /// What is served.
    pub(crate) plugins: BTreeMap<PluginName, Arc<dyn Plugin>>,
    /// How many bytes an agent of each may keep.
    pub(crate) storage: BTreeMap<PluginName, u64>,
    /// What is not.
    pub(crate) refused: Vec<Refused>,
}

/// What plugins may be given besides what they bring.
pub(crate) struct Reach {
    pub(crate) models: rookery_models::Models,
    pub(crate) prices: Arc<BTreeMap<ModelName, Price>>,
    pub(crate) ledger: Ledger,
}

/// Loads what is in the folder with `threads` threads. Blocks.
pub(crate) fn load(
    engine: &Arc<Engine>,
    reach: &Reach,
    folder: &Path,
    environment: &dyn Fn(&str) -> Option<String>,
    threads: usize,
    report: &(dyn Fn(Loading<'_>) + Sync),
) -> Result<Loaded, rookery_plugins::FolderError> {
    let found = rookery_plugins::scan(folder, environment)?;
    let refused: Vec<_> = found.problems.iter().map(Refused::from).collect();
    refused.iter().for_each(|refused| report(Loading::Refused(refused)));
    report(Loading::Found(found.plugins.len()));

    let loaded = Mutex::new(Loaded { refused, ..Loaded::default() });
    let queue = Mutex::new(found.plugins.into_iter());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(file) = locked(&queue).next() {
                    let storage = file.sidecar.limits.storage;
                    let one = load_one(engine, reach, file, report);
                    let mut loaded = locked(&loaded);
                    match one {
                        Ok((name, plugin)) => {
                            loaded.storage.insert(name.clone(), storage);
                            loaded.plugins.insert(name, plugin);
                        }
                        Err(refused) => loaded.refused.push(refused),
                    }
                }
            });
        }
    });
    Ok(loaded.into_inner().unwrap_or_else(PoisonError::into_inner))
}

fn load_one(
    engine: &Arc<Engine>,
    reach: &Reach,
    file: PluginFile,
    report: &(dyn Fn(Loading<'_>) + Sync),
) -> Result<(PluginName, Arc<dyn Plugin>), Refused> {
    let (name, path) = (file.name.clone(), file.path.clone());
    report(Loading::Began(&name));
    let began = Instant::now();
    let refused = |path: PathBuf, error: &dyn Display, hint: String| {
        let shown = path.file_name().unwrap_or(path.as_os_str()).display();
        let refused = Refused { error: format!("`{shown}`: {error}"), hint, file: path.clone(), idle: false };
        report(Loading::Refused(&refused));
        refused
    };
    let asked = &file.sidecar.models;
    let granted = reach.models.grant(
        name.as_str(),
        asked.default.as_deref(),
        &asked.others,
        file.sidecar.http.open_requests,
    );
    let granted = match granted {
        Ok(granted) => granted,
        Err(error) => {
            let hint = format!("mend [models] in `{name}.toml`, or add the model to the host's rookery.toml");
            return Err(refused(path.with_extension("toml"), &error, hint));
        }
    };
    for model in granted.names() {
        if let Err(error) = file.sidecar.budget.check(model.as_str(), reach.prices.get(model).copied()) {
            return Err(refused(path.with_extension("toml"), &error, error.hint()));
        }
    }
    let meter = reach.ledger.plugin(name.clone(), file.sidecar.budget);
    let models = Models { granted, meter, prices: reach.prices.clone() };
    match engine.load(source(file, models)) {
        Ok(plugin) => {
            report(Loading::Loaded(&name, began.elapsed()));
            Ok((name, Arc::new(plugin)))
        }
        Err(error) => Err(refused(path, &error, error.hint().into())),
    }
}

fn source(file: PluginFile, models: Models) -> Source {
    let sidecar = file.sidecar;
    Source {
        name: file.name,
        component: file.bytes,
        digest: file.digest,
        config: sidecar.config,
        memory: ByteSize(sidecar.limits.memory),
        storage: ByteSize(sidecar.limits.storage),
        policy: Policy {
            queue: sidecar.runs.queue,
            deadline: sidecar.runs.deadline,
            output: usize::try_from(sidecar.limits.output).unwrap_or(usize::MAX),
            overlap: sidecar.runs.overlap,
            cancel_on_detach: sidecar.runs.cancel_on_detach,
            grace: sidecar.runs.grace,
            sleep_after: sidecar.lifecycle.sleep_after,
        },
        grants: sidecar.grants,
        models,
        open_requests: sidecar.http.open_requests,
        timeouts: AskedTimeouts {
            connect: sidecar.http.connect_timeout,
            first_byte: sidecar.http.first_byte_timeout,
            between_bytes: Some(sidecar.runs.stall),
        },
    }
}

impl From<&rookery_plugins::Problem> for Refused {
    fn from(problem: &rookery_plugins::Problem) -> Self {
        Self {
            file: problem.path.clone(),
            error: problem.to_string(),
            hint: problem.hint(),
            idle: problem.is_warning(),
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
