//! What was measured, as people read it and as JSON.

use std::fmt;

use serde_json::{Value, json};

use crate::series::Series;

/// All rows, under what they were measured on.
pub(crate) struct Table {
    machine: String,
    rows: Vec<Row>,
    notes: Vec<String>,
}

/// One figure of the host, and of its floor where it has one.
pub(crate) struct Row {
    what: String,
    unit: Unit,
    host: Series,
    floor: Option<Series>,
    compare: Compare,
    bar: Option<Bar>,
}

/// What figures count.
#[derive(Clone, Copy)]
pub(crate) enum Unit {
    Bytes,
    Count,
    Kibibytes,
    Microseconds,
    Milliseconds,
    Times,
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
        Self { machine, rows: Vec::new(), notes: Vec::new() }
    }

    pub(crate) fn add(&mut self, row: Row) {
        self.rows.push(row);
    }

    /// Says something under the figures.
    pub(crate) fn note(&mut self, note: String) {
        self.notes.push(note);
    }

    pub(crate) fn json(&self) -> Value {
        let rows: Vec<_> = self.rows.iter().map(Row::json).collect();
        json!({ "machine": self.machine, "rows": rows, "notes": self.notes })
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = ["what", "host", "floor", "compared", "bar", ""].map(str::to_owned);
        let lines: Vec<_> = std::iter::once(head).chain(self.rows.iter().map(Row::cells)).collect();
        let widths: Vec<_> = (0..6)
            .map(|column| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0))
            .collect();
        writeln!(
            f,
            "{}\nmedian (least – most of the rounds); the host is compared with its floor round by round\n",
            self.machine
        )?;
        for line in lines {
            let cells = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
            writeln!(f, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
        }
        self.notes.iter().try_for_each(|note| writeln!(f, "\n{note}"))
    }
}

impl Row {
    pub(crate) fn new(
        what: impl Into<String>,
        unit: Unit,
        host: Series,
        floor: impl Into<Option<Series>>,
        compare: Compare,
    ) -> Self {
        Self { what: what.into(), unit, host, floor: floor.into(), compare, bar: None }
    }

    /// The same with a bar.
    pub(crate) fn bar(self, bar: Bar) -> Self {
        Self { bar: Some(bar), ..self }
    }

    /// Host and floor against each other, where there is a floor.
    fn compared(&self) -> Option<Series> {
        let floor = self.floor.as_ref()?;
        Some(match self.compare {
            Compare::Ratio | Compare::Itself => self.host.against(floor, |host, floor| host / floor),
            Compare::Difference => self.host.against(floor, |host, floor| host - floor),
        })
    }

    /// The figure that the bar is about.
    fn figure(&self) -> f64 {
        match (self.compare, self.compared()) {
            (Compare::Ratio | Compare::Difference, Some(compared)) => compared.median(),
            _ => self.host.median(),
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
        let (compared_in, bar_in) = match self.compare {
            Compare::Ratio => (Unit::Times, Unit::Times),
            Compare::Difference => (unit, unit),
            Compare::Itself => (Unit::Times, unit),
        };
        let spread = |series: &Option<Series>, unit: Unit| {
            series.as_ref().map_or(String::new(), |series| unit.spread(series))
        };
        let bar = match self.bar {
            None => String::new(),
            Some(Bar::AtLeast(least)) => format!("≥ {}", bar_in.of(least)),
            Some(Bar::AtMost(most)) => format!("≤ {}", bar_in.of(most)),
        };
        let verdict = self.met().map_or("", |met| if met { "ok" } else { "MISSED" });
        let (floor, compared) = (spread(&self.floor, unit), spread(&self.compared(), compared_in));
        [self.what.clone(), unit.spread(&self.host), floor, compared, bar, verdict.into()]
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
            "compared": self.compared().as_ref().map(spread),
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
            Self::Bytes => "B",
            Self::Count => "",
            Self::Kibibytes => "KiB",
            Self::Microseconds => "µs",
            Self::Milliseconds => "ms",
            Self::Times => "×",
        }
    }

    fn number(self, figure: f64) -> String {
        match self {
            Self::Bytes | Self::Count => format!("{figure:.0}"),
            Self::Kibibytes => format!("{figure:.1}"),
            Self::Microseconds | Self::Times => format!("{figure:.2}"),
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
