//! What was asked of models since the host began, by plugin and model, for those who watch it.
//!
//! Promises: no number goes back. A request is in it as it begins, its tokens and their price when it has ended.
//! Bounded by: [`MODELS`] models and the rest together, of each plugin that was ever loaded.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rookery_core::{PluginName, Spent};

use crate::counter::Tally;
use crate::models::Models;

/// What the calls of one plugin came to with one model since the ledger was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Total {
    /// Whose calls.
    pub plugin: PluginName,
    /// Of which model; `(others)` for all that came after the first 64.
    pub model: Arc<str>,
    /// The sum.
    pub spent: Spent,
}

/// Of all plugins.
#[derive(Default)]
pub(crate) struct Totals(Mutex<BTreeMap<PluginName, Arc<OfPlugin>>>);

/// Of one.
pub(crate) struct OfPlugin(Mutex<Models<Tally>>);

/// So many models are told apart.
const MODELS: usize = 64;

impl Totals {
    pub(crate) fn of(&self, plugin: &PluginName) -> Arc<OfPlugin> {
        let mut plugins = self.lock();
        let new = || Arc::new(OfPlugin(Mutex::new(Models::new(MODELS))));
        plugins.entry(plugin.clone()).or_insert_with(new).clone()
    }

    /// All of them, by name.
    pub(crate) fn read(&self) -> Vec<Total> {
        let plugins = self.lock();
        let mut totals = Vec::new();
        for (plugin, models) in &*plugins {
            for (model, tally) in models.lock().iter() {
                totals.push(Total { plugin: plugin.clone(), model: model.clone(), spent: tally.read() });
            }
        }
        totals
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<PluginName, Arc<OfPlugin>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OfPlugin {
    pub(crate) fn of(&self, model: &str) -> Arc<Tally> {
        self.lock().of(model, |_| Tally::default())
    }

    fn lock(&self) -> MutexGuard<'_, Models<Tally>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
