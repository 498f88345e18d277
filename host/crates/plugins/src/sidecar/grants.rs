//! `allow` and `inject` in [http]: what a plugin may reach, and what the host adds to its requests.

use std::collections::BTreeMap;

use rookery_outgoing::{GrantError, Grants};
use rookery_tables::{Expected, Mistake, Mistakes, Table, texts};

/// Nothing where something was wrong with the table before. What is wrong with the table as a whole stands at `line`.
pub(super) fn read(
    http: &Table<'_>,
    line: Option<usize>,
    errors: &Mistakes<'_>,
    env: &dyn Fn(&str) -> Option<String>,
) -> Grants {
    let (allow, inject) = (allow(http), inject(http));
    if !errors.is_empty() {
        return Grants::none();
    }
    Grants::parse(&allow, &inject, env).unwrap_or_else(|error| {
        errors.add(mistake(&error, line_of(&error, http, errors).or(line)));
        Grants::none()
    })
}

fn allow(http: &Table<'_>) -> Vec<String> {
    let expected = Expected { what: "a list of strings", example: r#"["https://api.openai.com"]"# };
    http.read("allow", Vec::new(), expected, texts)
}

fn inject(http: &Table<'_>) -> BTreeMap<String, BTreeMap<String, String>> {
    let mut read = BTreeMap::new();
    let Some(inject) = http.table("inject") else { return read };
    for entry in inject.entries() {
        let Some(table) = entry.table() else { continue };
        let headers: &mut BTreeMap<_, _> = read.entry(entry.key.to_owned()).or_default();
        for header in table.entries() {
            match header.value.as_str() {
                Some(value) => drop(headers.insert(header.key.to_owned(), value.to_owned())),
                None => {
                    let hint = "write for example `authorization = \"Bearer ${API_KEY}\"`".into();
                    header.hidden_is_not("a string", hint);
                }
            }
        }
    }
    read
}

fn mistake(error: &GrantError, line: Option<usize>) -> Mistake {
    let hint = match error {
        GrantError::Entry { mend, .. } | GrantError::Header { mend, .. } => mend.clone(),
        GrantError::NotAllowed { entry } => format!("add \"{entry}\" there"),
        _ => String::new(),
    };
    // The message ends with what is said in the hint here.
    let what = error.to_string();
    let what = what.strip_suffix(&format!("; {hint}")).unwrap_or(&what).to_owned();
    Mistake { line, what, hint }
}

fn line_of(error: &GrantError, http: &Table<'_>, errors: &Mistakes<'_>) -> Option<usize> {
    match error {
        GrantError::Entry { key: "allow", entry, .. } => {
            let allow = http.get("allow")?.value.as_array()?;
            let wrong = allow.iter().find(|value| value.get_ref().as_str() == Some(entry))?;
            Some(errors.line(wrong.span().start))
        }
        GrantError::Header { entry, header, .. } => {
            Some(http.table("inject")?.table(entry)?.get(header)?.line())
        }
        GrantError::Entry { entry, .. } | GrantError::NotAllowed { entry } => {
            Some(http.table("inject")?.get(entry)?.line())
        }
        _ => None,
    }
}
