//! Who may ask the admin face: whoever has the token; or, where there is none, whoever is on this machine and no web page.
//!
//! Promises: a web page is refused whatever it sends, also where its name was made to lead here; a token is compared in a
//! time that does not tell how much of it was right; who sends wrong ones is told to slow down, see [`guesses`](super::guesses).

use std::net::Ipv4Addr;
use std::str::FromStr;

use http::HeaderMap;
use http::header::{AUTHORIZATION, HOST, HeaderName, ORIGIN};
use http::request::Parts;
use http::uri::Authority;

use crate::admin::guesses::Guesses;
use crate::problem::{Kind, Problem};

/// What opens the admin face: 16 characters or more, of those that a header may hold.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

/// Why a text is no [`Token`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a token is at least {SHORTEST} characters, and letters, digits and marks only")]
pub struct TokenError;

/// Whoever may guess a million times a second needs longer than the universe has been there.
const SHORTEST: usize = 16;

/// Says where a browser's request comes from; scripts cannot set it.
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

impl FromStr for Token {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        let good = text.len() >= SHORTEST && text.bytes().all(|byte| byte.is_ascii_graphic());
        if good { Ok(Self(text.into())) } else { Err(TokenError) }
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token")
    }
}

impl Token {
    /// The token as text, for whoever shows it to a host.
    pub fn secret(&self) -> &str {
        &self.0
    }

    fn is(&self, given: &[u8]) -> bool {
        let differing =
            self.0.bytes().zip(given).fold(0, |differing, (own, given)| differing | (own ^ given));
        self.0.len() == given.len() && std::hint::black_box(differing) == 0
    }
}

/// Who stands before the admin face.
pub(crate) struct Guard {
    token: Option<Token>,
    guesses: Guesses,
}

impl Guard {
    /// Asks for this token, if there is one.
    pub(crate) fn new(token: Option<Token>) -> Self {
        Self { token, guesses: Guesses::default() }
    }

    /// Whether this request may be answered.
    pub(crate) fn check(&self, request: &Parts) -> Result<(), Problem> {
        if is_of_a_page(&request.headers) {
            let message = "this is no place for web pages; ask from a program, such as `rookery agents`";
            return Err(Problem::new(Kind::CrossOrigin, message));
        }
        match &self.token {
            Some(token) if is_authorized(token, &request.headers) => Ok(()),
            Some(_) => Err(self.unauthorized(&request.headers)),
            None if is_for_loopback(request) => Ok(()),
            None => {
                let message = "without a token only this machine's own names are answered to, such as `localhost`; \
                               ask for one of them, or start the host with --admin-token";
                Err(Problem::new(Kind::Misdirected, message))
            }
        }
    }

    fn unauthorized(&self, headers: &HeaderMap) -> Problem {
        // Who sends none has not heard of it, and guesses nothing.
        let wait = if headers.contains_key(AUTHORIZATION) { self.guesses.wrong() } else { None };
        match wait {
            None => {
                let message = "send the token that the host was started with: `Authorization: Bearer …`";
                Problem::new(Kind::Unauthorized, message)
            }
            Some(wait) => {
                let seconds = u32::try_from(wait.as_millis().div_ceil(1_000)).unwrap_or(u32::MAX);
                let message = format!(
                    "too many wrong tokens were sent; send the one that the host was started with, which is \
                     answered at any time, or come back in {seconds} s"
                );
                Problem::new(Kind::TooManyTokens { retry_after: seconds }, message)
            }
        }
    }
}

fn is_of_a_page(headers: &HeaderMap) -> bool {
    // `none` is what a person typed.
    let site = headers.get_all(FETCH_SITE).iter().any(|site| site != "none");
    site || headers.contains_key(ORIGIN)
}

fn is_authorized(token: &Token, headers: &HeaderMap) -> bool {
    let mut given = headers.get_all(AUTHORIZATION).iter();
    let (Some(given), None) = (given.next(), given.next()) else { return false };
    match given.as_bytes().split_at_checked("bearer ".len()) {
        Some((scheme, given)) => scheme.eq_ignore_ascii_case(b"bearer ") && token.is(given),
        None => false,
    }
}

/// Whether the client meant this machine. A page whose name was made to lead here still bears its own name.
fn is_for_loopback(request: &Parts) -> bool {
    let named = request.headers.get_all(HOST).iter();
    let named = named.map(|host| Authority::try_from(host.as_bytes()).is_ok_and(|host| is_loopback(&host)));
    let names: Vec<_> = named.chain(request.uri.authority().map(is_loopback)).collect();
    !names.is_empty() && names.iter().all(|loopback| *loopback)
}

fn is_loopback(authority: &Authority) -> bool {
    let host = authority.host();
    host.eq_ignore_ascii_case("localhost")
        || host == "[::1]"
        || host.parse().is_ok_and(|address: Ipv4Addr| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use http::Request;
    use http::header::RETRY_AFTER;
    use tokio::time::advance;

    use super::*;
    use crate::admin::guesses::{MOST, WINDOW};

    const TOKEN: &str = "0123456789abcdef";

    fn refusal(token: Option<&str>, uri: &str, headers: &[(&str, &str)]) -> Option<String> {
        let mut request = Request::get(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let guard = Guard::new(token.map(|token| token.parse().unwrap()));
        let refused = guard.check(&request.body(()).unwrap().into_parts().0).err()?;
        Some(serde_json::to_value(refused).unwrap()["code"].as_str().unwrap().to_owned())
    }

    #[test]
    fn without_a_token_this_machines_own_names_are_answered_to_and_no_others() {
        for host in ["localhost", "LocalHost:7072", "127.0.0.1:7072", "127.1.2.3", "[::1]", "[::1]:7072"] {
            assert_eq!(refusal(None, "/", &[("host", host)]), None, "{host}");
            assert_eq!(refusal(None, &format!("http://{host}/"), &[]), None, "{host}");
        }
        for host in [
            "evil.example:7072",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "10.0.0.1",
            "0.0.0.0",
            "[::]",
            "",
            "a b",
            "user@evil.example",
        ] {
            assert_eq!(refusal(None, "/", &[("host", host)]), Some("misdirected".into()), "{host}");
        }
        assert_eq!(refusal(None, "/", &[]), Some("misdirected".into()));
        let two = [("host", "localhost"), ("host", "evil.example")];
        assert_eq!(refusal(None, "/", &two), Some("misdirected".into()));
        let absolute = refusal(None, "http://evil.example/", &[("host", "localhost")]);
        assert_eq!(absolute, Some("misdirected".into()));
    }

    #[test]
    fn with_a_token_whoever_has_it_is_answered_and_nobody_else() {
        let right = format!("Bearer {TOKEN}");
        assert_eq!(refusal(Some(TOKEN), "/", &[("authorization", &right)]), None);
        assert_eq!(refusal(Some(TOKEN), "/", &[("authorization", &format!("bearer {TOKEN}"))]), None);
        for wrong in [
            "",
            "Bearer",
            "Bearer ",
            TOKEN,
            "Basic 0123456789abcdef",
            "Bearer 0123456789abcdeF",
            "Bearer 0123456789abcde",
            "Bearer 0123456789abcdef0",
        ] {
            let refused = refusal(Some(TOKEN), "/", &[("host", "localhost"), ("authorization", wrong)]);
            assert_eq!(refused, Some("unauthorized".into()), "{wrong}");
        }
        let refused = refusal(Some(TOKEN), "/", &[("host", "localhost")]);
        assert_eq!(refused, Some("unauthorized".into()), "on this machine too");
        let twice = [("authorization", &*right), ("authorization", "Bearer x")];
        assert_eq!(refusal(Some(TOKEN), "/", &twice), Some("unauthorized".into()));
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_has_the_token_is_answered_however_many_guess_it() {
        let guard = Guard::new(TOKEN.parse().ok());
        let answered = |given: Option<&str>| {
            let given = given.map(|given| format!("Bearer {given}"));
            let request = given
                .into_iter()
                .fold(Request::get("/"), |request, given| request.header(AUTHORIZATION, given));
            let refused = guard.check(&request.body(()).unwrap().into_parts().0).err().map(Problem::response);
            refused.map_or((200, None), |refused| {
                let wait = refused.headers().get(RETRY_AFTER).map(|wait| wait.to_str().unwrap().to_owned());
                (refused.status().as_u16(), wait)
            })
        };
        for _ in 0..MOST {
            assert_eq!(answered(Some("0123456789abcdeF")), (401, None));
        }
        for _ in 0..1_000 {
            assert_eq!(answered(Some("0123456789abcdeF")), (429, Some("60".into())));
            assert_eq!(answered(Some(TOKEN)), (200, None));
        }
        assert_eq!(answered(None), (401, None), "who sends none guesses nothing");
        advance(WINDOW).await;
        assert_eq!(answered(Some("0123456789abcdeF")), (401, None));
    }

    #[test]
    fn a_page_is_refused_whatever_it_sends() {
        let right = format!("Bearer {TOKEN}");
        for (name, value) in [
            ("origin", "https://evil.example"),
            ("origin", "null"),
            ("origin", "http://localhost:7072"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-origin"),
        ] {
            let headers = [("host", "localhost"), ("authorization", &*right), (name, value)];
            assert_eq!(refusal(Some(TOKEN), "/", &headers), Some("cross-origin".into()), "{value}");
            assert_eq!(refusal(None, "/", &headers), Some("cross-origin".into()), "{value}");
        }
        assert_eq!(refusal(None, "/", &[("host", "localhost"), ("sec-fetch-site", "none")]), None);
    }

    #[test]
    fn a_token_is_long_fits_a_header_and_is_not_shown() {
        for bad in ["", "short", "0123456789abcde", "0123456789 abcdef", "0123456789abcdef\n", "ééééééééé"]
        {
            assert_eq!(bad.parse::<Token>(), Err(TokenError), "{bad}");
        }
        assert_eq!(format!("{:?}", TOKEN.parse::<Token>().unwrap()), "Token");
    }
}
