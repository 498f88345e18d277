//! Something for each model, of which there are only so many: guests choose their names.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::budget::known_as;

/// What stands for all models past the bound.
pub(crate) const OTHERS: &str = "(others)";

/// Values by model.
pub(crate) struct Models<T> {
    known: BTreeMap<Arc<str>, Arc<T>>,
    most: usize,
}

impl<T> Models<T> {
    /// For at most so many models, and one more value for all others.
    pub(crate) fn new(most: usize) -> Self {
        Self { known: BTreeMap::new(), most }
    }

    /// A model's value, made where there is none.
    pub(crate) fn of(&mut self, model: &str, make: impl FnOnce(&Arc<str>) -> T) -> Arc<T> {
        let mut model = known_as(model);
        if self.known.len() >= self.most && !self.known.contains_key(model) {
            model = OTHERS;
        }
        if let Some(value) = self.known.get(model) {
            return value.clone();
        }
        let model: Arc<str> = model.into();
        let value = Arc::new(make(&model));
        self.known.insert(model, value.clone());
        value
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<T>)> {
        self.known.iter()
    }

    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut Arc<T>> {
        self.known.values_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn past_the_bound_models_share_a_value() {
        let mut models = Models::new(2);
        for model in ["b", "a", "c", "d", "a", &"x".repeat(1 << 20)] {
            models.of(model, |model| model.to_string());
        }
        let known: Vec<_> = models.iter().map(|(name, value)| (&**name, value.as_str())).collect();
        assert_eq!(known, [(OTHERS, OTHERS), ("a", "a"), ("b", "b")]);
    }
}
