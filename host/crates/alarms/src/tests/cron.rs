//! Cron expressions against what others make of them, and what we promise about them.

use crate::{Cron, LATEST, Timing};

/// Some times from seconds after 1970, as `cron.py` found them.
const FIXTURES: &str = include_str!("cron.txt");

fn cron(expression: &str, zone: &str) -> Cron {
    Cron::new(expression, zone).unwrap_or_else(|why| panic!("{expression} in {zone}: {why}"))
}

/// The next times after this one, all written as `2026-03-29T01:00:00Z`.
fn times(expression: &str, zone: &str, after: &str, count: usize) -> Vec<String> {
    let cron = cron(expression, zone);
    let after = after.parse::<jiff::Timestamp>().unwrap().as_millisecond();
    let times = std::iter::successors(Some(after.try_into().unwrap()), |after| cron.after(*after));
    times.skip(1).take(count).map(written).collect()
}

fn written(millis: u64) -> String {
    jiff::Timestamp::from_millisecond(millis.try_into().unwrap()).unwrap().to_string()
}

fn why_not(expression: &str, zone: &str) -> String {
    Cron::new(expression, zone).unwrap_err().to_string()
}

#[test]
fn the_times_are_those_that_the_reference_found() {
    let mut checked = 0;
    for line in FIXTURES.lines().filter(|line| !line.starts_with('#')) {
        let [zone, start, expression, gaps @ ..] = &line.split('|').collect::<Vec<_>>()[..] else {
            panic!("{line}")
        };
        let cron = cron(expression, zone);
        let mut at = start.parse::<u64>().unwrap() * 1_000;
        for gap in gaps {
            let expected = at + gap.parse::<u64>().unwrap() * 1_000;
            let found = cron.after(at).unwrap();
            assert_eq!(written(found), written(expected), "after {} by {line}", written(at));
            at = found;
        }
        checked += 1;
    }
    assert!(checked > 2_000, "{checked}");
}

#[test]
fn a_time_that_the_clocks_leave_out_rings_when_they_have_changed() {
    for (expression, zone, after, expected) in [
        // Zurich: 02:00 becomes 03:00.
        ("30 2 * * *", "Europe/Zurich", "2026-03-28T12:00:00Z", "2026-03-29T01:00:00Z"),
        ("30 0-23 * * *", "Europe/Zurich", "2026-03-29T00:30:00Z", "2026-03-29T01:00:00Z"),
        // Lord Howe: 02:00 becomes 02:30.
        ("10 2 * * *", "Australia/Lord_Howe", "2026-10-03T00:00:00Z", "2026-10-03T15:30:00Z"),
        // São Paulo had no midnight.
        ("0 0 * * *", "America/Sao_Paulo", "2018-11-03T12:00:00Z", "2018-11-04T03:00:00Z"),
        // Samoa had no 30th of December: the day after began with it.
        ("0 15 30 12 *", "Pacific/Apia", "2011-12-29T12:00:00Z", "2011-12-30T10:00:00Z"),
        ("0 15 30 12 *", "Pacific/Apia", "2011-12-30T10:00:00Z", "2012-12-30T01:00:00Z"),
    ] {
        assert_eq!(times(expression, zone, after, 1), [expected], "{expression} in {zone}");
    }
}

#[test]
fn what_is_left_out_together_rings_once() {
    assert_eq!(
        times("0,20,40 2,3 * * *", "Europe/Zurich", "2026-03-29T00:00:00Z", 3),
        ["2026-03-29T01:00:00Z", "2026-03-29T01:20:00Z", "2026-03-29T01:40:00Z"]
    );
}

#[test]
fn a_fixed_time_that_comes_twice_rings_the_first_time_only() {
    for (expression, zone, after, expected) in [
        (
            "30 2 * * *",
            "Europe/Zurich",
            "2026-10-24T12:00:00Z",
            ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"],
        ),
        (
            "0,30 0-23 * * *",
            "Europe/Zurich",
            "2026-10-25T00:00:00Z",
            ["2026-10-25T00:30:00Z", "2026-10-25T02:00:00Z"],
        ),
        // Asked while the clocks show it again.
        (
            "0,30 0-23 * * *",
            "Europe/Zurich",
            "2026-10-25T01:00:00Z",
            ["2026-10-25T02:00:00Z", "2026-10-25T02:30:00Z"],
        ),
        (
            "0-59/20 1-3 * * *",
            "Europe/Zurich",
            "2026-10-25T01:59:59.999Z",
            ["2026-10-25T02:00:00Z", "2026-10-25T02:20:00Z"],
        ),
        (
            "0,15,30,45 1,2 * * *",
            "Australia/Lord_Howe",
            "2026-04-04T14:30:00Z",
            ["2026-04-04T14:45:00Z", "2026-04-04T15:30:00Z"],
        ),
    ] {
        assert_eq!(times(expression, zone, after, 2), expected, "{expression} in {zone} after {after}");
    }
}

#[test]
fn an_interval_rings_through_an_hour_that_comes_twice() {
    for (expression, zone, after, expected) in [
        // Zurich: at 03:00, which is 01:00 UTC, it is 02:00 again.
        ("*/30 * * * *", "Europe/Zurich", "2026-10-25T00:00:00Z", ["00:30", "01:00", "01:30", "02:00"]),
        ("0 * * * *", "Europe/Zurich", "2026-10-24T23:00:00Z", ["00:00", "01:00", "02:00", "03:00"]),
        ("*/30 2 * * *", "Europe/Zurich", "2026-10-24T12:00:00Z", ["00:00", "00:30", "01:00", "01:30"]),
        ("0 */2 * * *", "Europe/Zurich", "2026-10-24T22:00:00Z", ["00:00", "01:00", "03:00", "05:00"]),
        // Asked while the clocks show it again.
        ("*/20 * * * *", "Europe/Zurich", "2026-10-25T01:19:59.999Z", ["01:20", "01:40", "02:00", "02:20"]),
        // Lord Howe: at 02:00, which is 15:00 UTC, it is 01:30 again.
        ("*/15 * * * *", "Australia/Lord_Howe", "2026-04-04T14:30:00Z", ["14:45", "15:00", "15:15", "15:30"]),
        ("30 * * * *", "Australia/Lord_Howe", "2026-04-04T14:00:00Z", ["14:30", "15:00", "16:00", "17:00"]),
    ] {
        let day = times(expression, zone, after, 1)[0][..11].to_owned();
        let expected = expected.map(|time| format!("{day}{time}:00Z"));
        assert_eq!(times(expression, zone, after, 4), expected, "{expression} in {zone} after {after}");
    }
    assert_eq!(
        times("*/30 59 2 * * *", "Europe/Zurich", "2026-10-25T00:59:00Z", 3),
        ["2026-10-25T00:59:30Z", "2026-10-25T01:59:00Z", "2026-10-25T01:59:30Z"]
    );
}

#[test]
fn an_interval_does_not_ring_for_what_the_clocks_leave_out() {
    for (expression, zone, after, expected) in [
        // Zurich: 02:00 becomes 03:00.
        ("30 * * * *", "Europe/Zurich", "2026-03-29T00:30:00Z", "2026-03-29T01:30:00Z"),
        ("*/30 2 * * *", "Europe/Zurich", "2026-03-28T12:00:00Z", "2026-03-30T00:00:00Z"),
        ("*/30 * * * *", "Europe/Zurich", "2026-03-29T00:59:59.999Z", "2026-03-29T01:00:00Z"),
        // Samoa had no 30th of December.
        ("0 * 30 12 *", "Pacific/Apia", "2011-12-29T12:00:00Z", "2012-12-29T10:00:00Z"),
        ("0 * * * *", "Pacific/Apia", "2011-12-30T09:00:00Z", "2011-12-30T10:00:00Z"),
    ] {
        assert_eq!(times(expression, zone, after, 1), [expected], "{expression} in {zone} after {after}");
    }
}

/// It is found as cheaply as a fixed time, past a hundred changes of the clocks.
#[test]
fn an_interval_may_be_as_rare_as_anything() {
    assert_eq!(
        times("59 * 29 2 */7", "Europe/Zurich", "2088-02-29T22:00:00Z", 3),
        ["2088-02-29T22:59:00Z", "2128-02-28T23:59:00Z", "2128-02-29T00:59:00Z"]
    );
}

#[test]
fn names_and_letters_are_read_in_any_case_and_a_week_ends_with_its_sunday() {
    for (one, other) in [
        ("0 0 * JAN,Feb Mon-FRI", "0 0 * 1,2 1-5"),
        ("0 0 l * *", "0 0 L * *"),
        ("0 0 * * fril", "0 0 * * 5L"),
        ("0 0 * * mon-sun", "0 0 * * 1-7"),
        ("0 0 * * 5-0", "0 0 * * 5-7"),
        ("0 0 * * 7", "0 0 * * sun"),
        ("\t0  0 * * * ", "0 0 * * *"),
    ] {
        let from = "2026-01-01T00:00:00Z";
        assert_eq!(times(one, "UTC", from, 40), times(other, "UTC", from, 40), "{one}");
    }
}

#[test]
fn a_workday_is_looked_for_within_the_month_and_a_month_without_the_day_has_none() {
    assert_eq!(
        times("0 0 1W,31W * *", "UTC", "2026-01-02T00:00:00Z", 5),
        // The 31st of January is a Saturday, the 1st of February and of March a Sunday.
        ["2026-01-30", "2026-02-02", "2026-03-02", "2026-03-31", "2026-04-01"]
            .map(|day| format!("{day}T00:00:00Z"))
    );
}

#[test]
fn an_expression_that_is_none_is_an_error_that_names_the_field() {
    for (expression, says) in [
        ("", "has 0 fields: write five"),
        ("@daily", "`@daily`, which has 1 fields"),
        ("* * * * * * 2026", "has 7 fields"),
        ("60 * * * *", "`60` as a minute: use numbers from 0 to 59"),
        ("* 24 * * *", "`24` as a hour"),
        ("60 * * * * *", "`60` as a second"),
        ("* * 0 * *", "`0` as a day of month"),
        ("* * 32W * *", "`32w` as a day of month"),
        ("* * W * *", "as a day of month"),
        ("* * L-3 * *", "as a day of month"),
        ("* * ? * *", "as a day of month"),
        ("* * * 13 *", "`13` as a month"),
        ("* * * janu *", "names from jan to dec"),
        ("* * * mon *", "`mon` as a month"),
        ("* * * * 8", "`8` as a day of week"),
        ("* * * * L", "`l` as a day of week"),
        ("* * * * fri#6", "`fri#6` as a day of week"),
        ("* * * * fri#0", "as a day of week"),
        ("* * * * #1", "as a day of week"),
        ("*/0 * * * *", "`*/0` as a minute"),
        ("*/ * * * *", "as a minute"),
        ("/5 * * * *", "as a minute"),
        ("*/5/5 * * * *", "as a minute"),
        ("5- * * * *", "as a minute"),
        ("-5 * * * *", "as a minute"),
        ("+5 * * * *", "as a minute"),
        ("1,,2 * * * *", "as a minute"),
        ("005 * * * *", "as a minute"),
        ("٣ * * * *", "`٣` as a minute"),
        ("* 22-2 * * *", "the hour range `22-2`, which goes backwards: write it as `22-23,0-2`"),
    ] {
        let why = why_not(expression, "UTC");
        assert!(why.starts_with("`expression` ") && why.contains(says), "{expression}: {why}");
    }
}

#[test]
fn a_zone_that_is_none_is_an_error_and_no_path() {
    for zone in [
        "",
        "Europe/Bern",
        "../etc/passwd",
        "/etc/localtime",
        "CET-1CEST",
        "+01:00",
        "Etc/Unknown",
        &"x".repeat(9_999),
    ] {
        let why = why_not("* * * * *", zone);
        assert!(why.starts_with("`time-zone` is `") && why.contains("`Europe/Zurich`"), "{why}");
        assert!(why.len() < 200, "{why}");
    }
}

#[test]
fn an_expression_that_never_rings_cannot_be_set_and_costs_little() {
    for expression in
        ["0 0 30 2 *", "*/5 * 30 2 *", "0 0 31 4,6,9,11 *", "59 59 23 31 2 */7", "0 0 30W 2 */3"]
    {
        let timing = Timing::Cron(cron(expression, "Europe/Zurich"));
        let why = timing.first(1_800_000_000_000).unwrap_err().to_string();
        assert!(why.contains(expression) && why.contains("no time within 50 years"), "{why}");
    }
    let long = format!("{} * * * *", "0,".repeat(600));
    assert!(why_not(&long, "UTC").contains("has 1208 bytes, and may have 1024"));
}

#[test]
fn the_rarest_day_of_the_calendar_is_within_the_horizon() {
    // From one 29th of February on a Sunday to the next, across 2100, which has none.
    assert_eq!(
        times("0 0 29 2 */7", "UTC", "2072-03-01T00:00:00Z", 2),
        ["2088-02-29T00:00:00Z", "2128-02-29T00:00:00Z"]
    );
}

#[test]
fn time_ends_before_the_year_9999() {
    let cron = cron("* * * * *", "UTC");
    assert_eq!(cron.after(LATEST - 60_000), Some(LATEST));
    for late in [LATEST, LATEST + 86_400_000, 253_402_300_799_999, u64::MAX] {
        assert_eq!(cron.after(late), None, "{late}");
    }
}
