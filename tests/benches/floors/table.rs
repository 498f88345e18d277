//! What was measured, as people read it and as JSON.

use std::fmt;

use serde_json::{Value, json};

use crate::series::Series;

/// All rows, under what they were measured on.
pub(crate) struct Table {
    machine: String,
    rows: Vec<Row>,
}

/// One figure of the host, and of its floor where it has one.
pub(crate) struct Row {
    pub(crate) what: &'static str,
    pub(crate) unit: Unit,
    pub(crate) host: Series,
    pub(crate) floor: Option<Series>,
    pub(crate) compare: Compare,
    pub(crate) bar: Option<Bar>,
}

/// What figures count.
#[derive(Clone, Copy)]
pub(crate) enum Unit {
    Count,
    Kibibytes,
    Microseconds,
    Milliseconds,
}

/// What the bar is about.
#[derive(Clone, Copy)]
pub(crate) enum Compare {
    /// The host's figure divided by the floor's.
    Ratio,
    /// The host's figure less the floor's.
    Difference,
    /// The host's figure; the floor says how low it could be.
    Itself,
}

/// What is wanted.
#[derive(Clone, Copy)]
pub(crate) enum Bar {
    AtLeast(f64),
    AtMost(f64),
}

impl Table {
    pub(crate) fn new(machine: String) -> Self {
        Self { machine, rows: Vec::new() }
    }

    pub(crate) fn add(&mut self, row: Row) {
        self.rows.push(row);
    }

    pub(crate) fn json(&self) -> Value {
        json!({ "machine": self.machine, "rows": self.rows.iter().map(Row::json).collect::<Vec<_>>() })
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = ["what", "host", "floor", "host to floor", "bar", ""].map(str::to_owned);
        let lines: Vec<_> = std::iter::once(head).chain(self.rows.iter().map(Row::cells)).collect();
        let widths: Vec<_> = (0..6)
            .map(|column| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0))
            .collect();
        writeln!(f, "{}\nmedian (least – most of the rounds)\n", self.machine)?;
        for line in lines {
            let cells = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
            writeln!(f, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
        }
        Ok(())
    }
}

impl Row {
    pub(crate) fn new(
        what: &'static str,
        unit: Unit,
        host: Series,
        floor: impl Into<Option<Series>>,
        compare: Compare,
    ) -> Self {
        Self { what, unit, host, floor: floor.into(), compare, bar: None }
    }

    /// The same with a bar.
    pub(crate) fn bar(self, bar: Bar) -> Self {
        Self { bar: Some(bar), ..self }
    }

    /// The figure that the bar is about.
    fn figure(&self) -> f64 {
        let host = self.host.median();
        match (self.compare, &self.floor) {
            (Compare::Ratio, Some(floor)) => host / floor.median(),
            (Compare::Difference, Some(floor)) => host - floor.median(),
            _ => host,
        }
    }

    fn met(&self) -> Option<bool> {
        self.bar.map(|bar| match bar {
            Bar::AtLeast(least) => self.figure() >= least,
            Bar::AtMost(most) => self.figure() <= most,
        })
    }

    fn cells(&self) -> [String; 6] {
        let unit = self.unit;
        let ratio = |floor: &Series| format!("{:.2} ×", self.host.median() / floor.median());
        let compared = match (self.compare, &self.floor) {
            (Compare::Difference, Some(_)) => format!("+ {}", unit.of(self.figure())),
            (_, Some(floor)) => ratio(floor),
            (_, None) => String::new(),
        };
        let wanted = |bar: f64| match self.compare {
            Compare::Ratio => format!("{bar:.2} ×"),
            Compare::Difference | Compare::Itself => unit.of(bar),
        };
        let bar = match self.bar {
            None => String::new(),
            Some(Bar::AtLeast(least)) => format!("≥ {}", wanted(least)),
            Some(Bar::AtMost(most)) => format!("≤ {}", wanted(most)),
        };
        let verdict = self.met().map_or("", |met| if met { "ok" } else { "MISSED" });
        let floor = self.floor.as_ref().map_or(String::new(), |floor| unit.spread(floor));
        [self.what.into(), unit.spread(&self.host), floor, compared, bar, verdict.into()]
    }

    fn json(&self) -> Value {
        let spread = |series: &Series| json!([series.least(), series.median(), series.most()]);
        let (bound, bar) = match self.bar {
            None => (None, None),
            Some(Bar::AtLeast(least)) => (Some("at least"), Some(least)),
            Some(Bar::AtMost(most)) => (Some("at most"), Some(most)),
        };
        json!({
            "what": self.what.trim(),
            "unit": self.unit.name(),
            "host": spread(&self.host),
            "floor": self.floor.as_ref().map(spread),
            "figure": self.figure(),
            "bound": bound,
            "bar": bar,
            "met": self.met(),
        })
    }
}

impl Unit {
    fn name(self) -> &'static str {
        match self {
            Self::Count => "",
            Self::Kibibytes => "KiB",
            Self::Microseconds => "µs",
            Self::Milliseconds => "ms",
        }
    }

    fn number(self, figure: f64) -> String {
        match self {
            Self::Count => format!("{figure:.0}"),
            Self::Kibibytes => format!("{figure:.1}"),
            Self::Microseconds => format!("{figure:.2}"),
            Self::Milliseconds => format!("{figure:.3}"),
        }
    }

    fn of(self, figure: f64) -> String {
        format!("{} {}", self.number(figure), self.name()).trim_end().to_owned()
    }

    fn spread(self, series: &Series) -> String {
        let (least, most) = (self.number(series.least()), self.number(series.most()));
        if least == most {
            self.of(series.median())
        } else {
            format!("{} ({least} – {most})", self.of(series.median()))
        }
    }
}
