//! Texts that are whole, names, and counts.

use std::borrow::Cow;

use super::{Slow, between, guard, stream};
use crate::{Guard, GuardError, LONGEST, MARK, Secrets};

#[test]
fn a_whole_text_is_masked_whole() {
    let guard = guard(&["sk-proj-AbC1", "another-one"]);
    for (text, out) in [
        ("sk-proj-AbC1", "[secret]"),
        ("sk-sk-proj-AbC1s", "sk-[secret]s"),
        ("sk-proj-AbC1sk-proj-AbC1another-one", "[secret][secret][secret]"),
        (r#"{"key":"sk-proj-AbC1","n":1}"#, r#"{"key":"[secret]","n":1}"#),
        ("über another-one ñ", "über [secret] ñ"),
    ] {
        assert_eq!(guard.mask(text).text, out);
    }
    for text in ["", "sk-", "sk-proj-AbC", "nothing", "k-proj-AbC1"] {
        assert!(matches!(guard.mask(text).text, Cow::Borrowed(same) if same == text), "{text}");
    }
}

#[test]
fn a_value_behind_a_scheme_is_found_alone_too() {
    let guard = guard(&["Bearer sk-12345", "Basic dXNlcjpwYXNz", "token abc"]);
    for (text, out) in [
        ("Authorization: Bearer sk-12345", "Authorization: [secret]"),
        ("bearer sk-12345", "bearer [secret]"),
        ("dXNlcjpwYXNz", "[secret]"),
        ("QmVhcmVyIHNrLTEyMzQ1", "[secret]"), // base64 of the first
        ("Bearer%20sk-12345", "[secret]"),
        ("token abc", "[secret]"),
        ("abc", "abc"),
    ] {
        assert_eq!(guard.mask(text).text, out);
    }
    assert_eq!(guard.too_short(), ["name of token abc"]);
}

#[test]
fn base64_of_a_value_is_found_before_more_and_before_padding() {
    let guard = guard(&["sk-12345"]);
    assert_eq!(guard.mask("c2stMTIzNDU=").text, "[secret]=");
    assert_eq!(guard.mask("c2stMTIzNDV6eA==").text, "[secret]NDV6eA==", "of `sk-12345zx`");
    assert_eq!(guard.mask("c2stMTIzNDQ=").text, "[secret]NDQ=", "of `sk-12344`, which begins alike");
}

#[test]
fn short_values_are_named_and_not_searched_for() {
    let secrets: Secrets =
        [("A", "1234567"), ("B", "12345678"), ("A", ""), ("C", "Bearer 1")].into_iter().collect();
    let guard = Guard::new(&secrets).unwrap();
    assert_eq!(guard.too_short(), ["A", "C"]);
    assert_eq!(guard.mask("1234567 12345678").text, "1234567 [secret]");
    assert_eq!(guard.hits().collect::<Vec<_>>(), [("B", 1), ("C", 0)]);
}

#[test]
fn a_value_that_is_too_long_is_refused_by_name() {
    let value = "0123456789abcdef".repeat(LONGEST / 16);
    assert!(!Guard::new(&[("A", value.as_str())].into_iter().collect()).unwrap().is_empty());
    let error = Guard::new(&[("A", value + "!")].into_iter().collect()).unwrap_err();
    assert!(matches!(&error, GuardError::TooLong { length: 16_385, .. }));
    assert_eq!(
        error.to_string(),
        "the value of A has 16385 bytes, and at most 16384 can be searched for; inject a shorter one"
    );
}

#[test]
fn a_value_with_two_names_has_the_first() {
    let secrets = [
        ("KEY", "sk-12345"),
        ("authorization", "Bearer sk-12345"),
        ("KEY", "sk-67890"),
        ("again", "sk-67890"),
    ];
    let guard = Guard::new(&secrets.into_iter().collect()).unwrap();
    let names = |text| guard.mask(text).hits.iter().map(|hit| hit.name.to_string()).collect::<Vec<_>>();
    assert_eq!(names("x sk-12345"), ["KEY"]);
    assert_eq!(names("Bearer sk-12345"), ["authorization"]);
    assert_eq!(names("Bearer sk-67890"), ["KEY"]);
    assert_eq!(guard.hits().collect::<Vec<_>>(), [("KEY", 2), ("authorization", 1)]);
}

#[test]
fn hits_are_counted_by_name_however_they_come() {
    let guard = guard(&["sk-proj-1", "aaaaaaaa", "idle-idle"]);
    let text = "sk-proj-1 sk-proj-1 aaaaaaaaaaaa aaaaaaaa sk-proj-2";
    let counts = || guard.hits().map(|(_, count)| count).collect::<Vec<_>>();
    let times: Vec<_> =
        guard.mask(text).hits.into_iter().map(|hit| (hit.name.to_string(), hit.times)).collect();
    assert_eq!(times, [("name of sk-proj-1".into(), 2), ("name of aaaaaaaa".into(), 2)]);
    assert_eq!(counts(), [2, 2, 0]);
    stream(&guard, text, &[]);
    assert_eq!(counts(), [4, 4, 0]);
    stream(&guard.clone(), text, &between(text));
    assert_eq!(counts(), [6, 6, 0]);
}

#[test]
fn values_that_overlap_share_a_mark() {
    let values = ["xxxxABCDEFGH", "ABCDEFGHyyyy", "CDEFGHyy"];
    let guard = guard(&values);
    let text = "-xxxxABCDEFGHyyyy-ABCDEFGHyyyy-xxxxABCDEFGH-CDEFGHyyABCDEFGHyyyy";
    assert_eq!(guard.mask(text).text, "-[secret]-[secret]-[secret]-[secret][secret]");
    assert_eq!(Slow::new(&values).mask(text, &[]), guard.mask(text).text);
}

#[test]
fn the_mark_itself_may_be_a_value() {
    let guard = guard(&[MARK, "secret][secret]"]);
    assert_eq!(guard.mask("[secret] [secret][secret]").text, "[secret] [secret]");
    assert_eq!(stream(&guard, "[secret][secret]!", &[12]).0, "[secret]!");
}

#[test]
fn a_guard_of_nothing_returns_what_it_is_given() {
    for guard in [Guard::none(), Guard::new(&Secrets::new()).unwrap(), super::guard(&["short"])] {
        assert!(guard.is_empty());
        let text = String::from("sk-proj-AbC1");
        let place = text.as_ptr();
        assert_eq!(guard.mask(&text).text.as_ptr(), place);
        let mut mask = guard.stream();
        assert_eq!(mask.push(text).text.as_ptr(), place);
        assert_eq!(mask.finish(), "");
        assert_eq!(guard.hits().count(), 0);
    }
}

#[test]
fn nothing_prints_a_value() {
    let secrets: Secrets = [("KEY", "sk-proj-AbC1")].into_iter().collect();
    let guard = Guard::new(&secrets).unwrap();
    let mut mask = guard.stream();
    let pushed = mask.push("sk-proj-AbC1 sk-proj".into());
    let masked = guard.mask("sk-proj-AbC1");
    for printed in [
        format!("{secrets:?}"),
        format!("{guard:?}"),
        format!("{mask:?}"),
        format!("{pushed:?}"),
        format!("{masked:?}"),
    ] {
        assert!(!printed.contains("proj"), "{printed}");
    }
    assert_eq!(format!("{secrets:?} {guard:?}"), r#"["KEY"] {"KEY": 2}"#);
}
