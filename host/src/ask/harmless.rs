//! Text from models and guests, made fit for a terminal.

use std::borrow::Cow;

/// The text with a mark in place of every control character but line breaks and tabs: in a terminal, others move the
/// cursor, hide what was written, or type as if the person did.
pub(crate) fn harmless(text: &str) -> Cow<'_, str> {
    if text.contains(harmful) { text.replace(harmful, "\u{fffd}").into() } else { text.into() }
}

fn harmful(character: char) -> bool {
    character.is_control() && !matches!(character, '\n' | '\t')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_marked_and_line_breaks_and_tabs_stay() {
        let table = [
            ("plain 🦀\n\ttext", "plain 🦀\n\ttext"),
            ("\u{1b}[2J\u{1b}]0;title\u{7}", "\u{fffd}[2J\u{fffd}]0;title\u{fffd}"),
            ("a\rb\u{8}c\0\u{7f}", "a\u{fffd}b\u{fffd}c\u{fffd}\u{fffd}"),
            // Some terminals take the C1 codes for escape sequences too.
            ("\u{9b}31m\u{85}", "\u{fffd}31m\u{fffd}"),
        ];
        for (text, shown) in table {
            assert_eq!(harmless(text), shown, "{text:?}");
        }
    }
}
