//! A list as a host gives it out: page by page.

use serde_json::Value;

/// A page, and the path of the next.
pub(crate) struct Page<T> {
    items: Vec<T>,
    next: Option<String>,
}

impl<T> Page<T> {
    /// Reads a page whose items are called `items` in it.
    pub(crate) fn read(
        mut document: Value,
        items: &str,
        item: impl Fn(Value) -> Result<T, String>,
    ) -> Result<Self, String> {
        let Some(Value::Array(found)) = document.get_mut(items).map(Value::take) else {
            return Err(format!("a page without {items}"));
        };
        let items = found.into_iter().map(item).collect::<Result<_, _>>()?;
        Ok(Self { items, next: document["next"].as_str().map(str::to_owned) })
    }

    /// What is on it, and in `next` the path of the one after it; None after the last one.
    pub(crate) fn turn(self, next: &mut Option<String>) -> Option<Vec<T>> {
        // An empty page is the last one whatever it says, or a list could go on for ever.
        if self.items.is_empty() {
            return None;
        }
        *next = self.next;
        Some(self.items)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn number(value: Value) -> Result<u64, String> {
        value.as_u64().ok_or_else(|| format!("{value} is no number"))
    }

    fn read(document: Value) -> Result<Page<u64>, String> {
        Page::read(document, "numbers", number)
    }

    #[test]
    fn a_page_gives_out_what_is_on_it_and_says_where_the_next_one_is() {
        let mut next = None;
        let first = read(json!({ "numbers": [1, 2], "next": "/more" })).unwrap();
        assert_eq!(first.turn(&mut next), Some(vec![1, 2]));
        assert_eq!(next.take().as_deref(), Some("/more"));
        let last = read(json!({ "numbers": [3] })).unwrap();
        assert_eq!((last.turn(&mut next), next), (Some(vec![3]), None));
    }

    #[test]
    fn an_empty_page_is_the_last_one_whatever_it_says() {
        let mut next = None;
        let page = read(json!({ "numbers": [], "next": "/more" })).unwrap();
        assert_eq!((page.turn(&mut next), next), (None, None));
    }

    #[test]
    fn what_is_no_page_is_told_so() {
        for document in [json!({}), json!({ "numbers": 1 }), json!([1]), json!(null)] {
            assert_eq!(read(document).err().as_deref(), Some("a page without numbers"));
        }
        assert_eq!(read(json!({ "numbers": ["x"] })).err().as_deref(), Some("\"x\" is no number"));
    }
}
