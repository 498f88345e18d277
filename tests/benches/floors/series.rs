//! What was measured again and again, and what is said of it.

/// One figure, measured several times.
#[derive(Clone, Debug, Default)]
pub(crate) struct Series(Vec<f64>);

impl Series {
    pub(crate) fn add(&mut self, figure: f64) {
        self.0.push(figure);
    }

    /// This one's figures against another's, round by round: what the machine did meanwhile, both have felt.
    pub(crate) fn against(&self, other: &Self, compare: impl Fn(f64, f64) -> f64) -> Self {
        self.0.iter().zip(&other.0).map(|(own, other)| compare(*own, *other)).collect()
    }

    pub(crate) fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    pub(crate) fn least(&self) -> f64 {
        self.quantile(0.0)
    }

    pub(crate) fn most(&self) -> f64 {
        self.quantile(1.0)
    }

    /// The figure below which this part of them lies.
    pub(crate) fn quantile(&self, part: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let place = (part * (sorted.len() - 1) as f64).round() as usize;
        sorted[place]
    }
}

impl FromIterator<f64> for Series {
    fn from_iter<I: IntoIterator<Item = f64>>(figures: I) -> Self {
        Self(figures.into_iter().collect())
    }
}
