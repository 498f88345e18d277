//! What is counted, as the text that Prometheus reads (its exposition format 0.0.4).
//!
//! Promises: the same numbers are the same text, whatever order the samples came in; no label's value, whoever chose it,
//! is read as anything but that value.
//! Bounded by: [`MOST`] bytes of samples. What has no room is left out line by line and counted in
//! `rookery_metrics_left_out`, which is always there.
//!
//! Written here since no library does it without a registry of its own: `prometheus-client` writes OpenMetrics, and
//! values of labels as they come (its issue 151); guests choose some of them.

use std::fmt::Write as _;

/// What knows the numbers that the admin face shows.
pub trait Metrics: Send + Sync + 'static {
    /// All of them as they are now, in the order in which they are shown. It is asked on a thread that serves, so it neither
    /// waits nor blocks.
    fn families(&self) -> Vec<Family>;
}

/// Numbers of one name.
#[derive(Clone, Debug, PartialEq)]
pub struct Family {
    /// Letters, digits and underscores; that of a counter ends with `_total`. Another family has another name.
    pub name: &'static str,
    /// What is counted, in which unit: one line without a backslash.
    pub help: &'static str,
    /// How the numbers move.
    pub measure: Measure,
    /// The numbers.
    pub samples: Vec<Sample>,
}

/// How a number moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// It only grows, and begins at zero when the host starts.
    Counter,
    /// It goes up and down.
    Gauge,
}

/// One number.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// What tells it from the others of its family: names of letters, digits and underscores, with any values.
    pub labels: Vec<(&'static str, String)>,
    /// How much. Whole numbers are exact up to 2⁵³.
    pub value: f64,
}

/// As long as samples may get. 64 models with the longest names that are kept take a plugin up to 90 KiB, so a hundred
/// plugins that make names up have room; and 64 connections that do not read hold half a GiB.
const MOST: usize = 8 << 20;

/// The text's media type.
pub(crate) const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All families as one text.
pub(crate) fn text(families: Vec<Family>) -> String {
    written(families, MOST)
}

fn written(families: Vec<Family>, most: usize) -> String {
    let (mut text, mut left_out) = (String::new(), 0);
    for family in families {
        left_out += write(&mut text, family, most);
    }
    let left_out = Family {
        name: "rookery_metrics_left_out",
        help: "Samples that had no room in this text.",
        measure: Measure::Gauge,
        samples: vec![Sample { labels: Vec::new(), value: left_out as f64 }],
    };
    write(&mut text, left_out, usize::MAX);
    text
}

/// Adds a family, but for lines that would make the text longer than `most` bytes. Says how many these are.
fn write(text: &mut String, family: Family, most: usize) -> usize {
    let Family { name, help, measure, mut samples } = family;
    let measure = match measure {
        Measure::Counter => "counter",
        Measure::Gauge => "gauge",
    };
    // Writing into a string does not fail.
    let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {measure}\n");
    samples.sort_by(|one, other| one.labels.cmp(&other.labels));
    let mut left_out = 0;
    for sample in &samples {
        let line = sample.line(name);
        if text.len().saturating_add(line.len()) <= most {
            text.push_str(&line);
        } else {
            left_out += 1;
        }
    }
    left_out
}

impl Sample {
    fn line(&self, name: &str) -> String {
        let value = self.value;
        if self.labels.is_empty() {
            return format!("{name} {value}\n");
        }
        let labels = self.labels.iter().map(|(label, value)| format!("{label}=\"{}\"", escaped(value)));
        format!("{name}{{{}}} {value}\n", labels.collect::<Vec<_>>().join(","))
    }
}

/// The format knows these three escapes and no others; any other character stands for itself.
fn escaped(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    for character in value.chars() {
        match character {
            '\\' => escaped.push_str(r"\\"),
            '"' => escaped.push_str(r#"\""#),
            '\n' => escaped.push_str(r"\n"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn family(values: &[&str]) -> Family {
        let sample = |value: &&str| Sample { labels: vec![("model", (*value).into())], value: 1.0 };
        let samples = values.iter().map(sample).collect();
        Family { name: "asked_total", help: "Asked.", measure: Measure::Counter, samples }
    }

    fn lines(text: &str) -> Vec<&str> {
        text.lines().filter(|line| !line.starts_with('#')).collect()
    }

    #[test]
    fn a_value_of_a_label_is_one_word_of_one_line_whatever_is_in_it() {
        for (value, written) in [
            ("", ""),
            ("gpt-4o mini", "gpt-4o mini"),
            (r#"a"} 5"#, r#"a\"} 5"#),
            ("a\nasked_total 7", r"a\nasked_total 7"),
            (r"a\n", r"a\\n"),
            (r"a\", r"a\\"),
            (r#"\""#, r#"\\\""#),
            ("{model=\"x\"},é\t\r", "{model=\\\"x\\\"},é\t\r"),
        ] {
            let line = family(&[value]).samples[0].line("asked_total");
            assert_eq!(line, format!("asked_total{{model=\"{written}\"}} 1\n"), "{value:?}");
        }
    }

    #[test]
    fn numbers_are_written_out() {
        for (value, written) in [
            (0.0, "0"),
            (1.25, "1.25"),
            (0.000_001, "0.000001"),
            ((1_u64 << 53) as f64 - 1.0, "9007199254740991"),
            (9_007_199_254.740_991, "9007199254.740992"),
            (-2.0, "-2"),
        ] {
            assert_eq!(Sample { labels: Vec::new(), value }.line("n"), format!("n {written}\n"));
        }
    }

    #[test]
    fn the_same_numbers_are_the_same_text_whatever_order_they_came_in() {
        let one = text(vec![family(&["b", "", "a"])]);
        assert_eq!(one, text(vec![family(&["a", "b", ""])]));
        let models =
            [r#"asked_total{model=""} 1"#, r#"asked_total{model="a"} 1"#, r#"asked_total{model="b"} 1"#];
        assert_eq!(lines(&one)[..3], models);
    }

    #[test]
    fn a_name_is_there_before_anything_was_counted() {
        let expected = "\
# HELP asked_total Asked.
# TYPE asked_total counter
# HELP rookery_metrics_left_out Samples that had no room in this text.
# TYPE rookery_metrics_left_out gauge
rookery_metrics_left_out 0
";
        assert_eq!(text(vec![family(&[])]), expected);
    }

    #[test]
    fn what_has_no_room_is_left_out_whole_and_counted() {
        let all = text(vec![family(&["a", "b", "c"])]);
        let first_two = all.find(r#"asked_total{model="c"}"#).unwrap();
        for (most, left_out) in [(all.len(), 0), (first_two, 1), (first_two - 1, 2), (0, 3)] {
            let text = written(vec![family(&["a", "b", "c"])], most);
            let lines = lines(&text);
            assert_eq!(lines.len(), 4 - left_out, "{most}");
            assert_eq!(lines.last(), Some(&&*format!("rookery_metrics_left_out {left_out}")));
            assert!(lines.iter().all(|line| all.contains(line) || line.starts_with("rookery")), "{text}");
        }
        let flood = vec!["\n".repeat(128); 100_000];
        let flood = text(vec![family(&flood.iter().map(String::as_str).collect::<Vec<_>>())]);
        assert!(flood.len() < MOST + 1024, "{}", flood.len());
    }
}
