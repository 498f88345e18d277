//! A plugin's way to one provider: one try at a time.
//!
//! Promises: the key is nowhere but in the headers that are added as a request leaves, and in what is looked for in a
//! provider's words so that nobody else reads it there.
//! Bounded by: the provider's time-outs; [`REQUEST_LIMIT`]; [`ERROR_LIMIT`] of what it says about an error.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use futures_util::future::BoxFuture;
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use rookery_outgoing::{AskedTimeouts, Body, Caller, Client, Grants, SendError};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::check::Asked;
use crate::delta::{Delta, Error};
use crate::dialect::{Said, Speak, speak};
use crate::failure::{Failure, Then};
use crate::provider::{Provider, Timeouts};
use crate::reading::Reading;

/// The most bytes of a request. Anthropic takes 32 MB, OpenAI 50; a conversation of this size is beyond every model.
const REQUEST_LIMIT: usize = 32 * 1024 * 1024;

/// As much is read of what a provider says about an error.
const ERROR_LIMIT: usize = 16 * 1024;

/// And for so long.
const ERROR_TIME: Duration = Duration::from_secs(10);

/// Shorter texts are not looked for in a provider's words: they would be found everywhere.
const SHORTEST_SECRET: usize = 6;

/// The bytes of a response.
pub(crate) type ResponseBytes = UnsyncBoxBody<Bytes, SendError>;

/// What carries requests: a plugin's caller, or a test.
pub(crate) trait Way: Send + Sync {
    fn send(
        &self,
        agent: &str,
        request: Request<Body>,
        ended: CancellationToken,
    ) -> BoxFuture<'static, Result<Response<ResponseBytes>, SendError>>;
}

impl Way for Caller {
    fn send(
        &self,
        agent: &str,
        request: Request<Body>,
        ended: CancellationToken,
    ) -> BoxFuture<'static, Result<Response<ResponseBytes>, SendError>> {
        let caller = self.for_agent(agent);
        Box::pin(async move {
            let response = caller.send(request, ended, AskedTimeouts::default()).await?;
            Ok(response.map(BodyExt::boxed_unsync))
        })
    }
}

/// The way to one provider. Its provider has no key any more.
pub(crate) struct Route {
    pub(crate) provider: Provider,
    speak: &'static dyn Speak,
    way: Box<dyn Way>,
    secrets: Vec<String>,
}

/// An answer that has begun.
pub(crate) struct Heard {
    pub(crate) deltas: Vec<Delta>,
    /// None if that was all.
    pub(crate) reading: Option<Reading>,
}

/// The headers that are added to a provider's requests, and which of their values are secrets.
pub(crate) fn added(provider: &Provider) -> (BTreeMap<String, String>, Vec<String>) {
    let mut headers: BTreeMap<_, _> =
        provider.headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone())).collect();
    let tells =
        |name: &str| ["auth", "key", "token", "secret", "cookie"].iter().any(|word| name.contains(word));
    let mut secrets: Vec<String> =
        headers.iter().filter(|(name, _)| tells(name)).map(|(_, value)| value.clone()).collect();
    if let Some(key) = &provider.key {
        let (name, value) = speak(provider.dialect).key(key);
        headers.insert(name.to_owned(), value);
        secrets.push(key.reveal().to_owned());
    }
    secrets.retain(|secret| secret.len() >= SHORTEST_SECRET);
    (headers, secrets)
}

impl Route {
    /// What is shown to the provider and to nobody else.
    pub(crate) fn secrets(&self) -> impl Iterator<Item = &str> {
        self.secrets.iter().map(String::as_str)
    }

    /// The way of this plugin, if its provider can be spoken to.
    pub(crate) fn open(
        provider: &Provider,
        client: &Client,
        plugin: &str,
        open_requests: usize,
    ) -> Result<Route, rookery_outgoing::GrantError> {
        let (headers, secrets) = added(provider);
        let grants = Grants::trusted(&provider.url, &headers)?;
        let caller = client.caller(plugin, grants, open_requests, times(provider.timeouts));
        Ok(Route::through(provider, secrets, Box::new(caller)))
    }

    pub(crate) fn through(provider: &Provider, secrets: Vec<String>, way: Box<dyn Way>) -> Route {
        let url = provider.url.trim_end_matches('/').to_owned();
        let provider = Provider { key: None, headers: BTreeMap::new(), url, ..provider.clone() };
        Route { speak: speak(provider.dialect), provider, way, secrets }
    }

    /// The body of a chat.
    pub(crate) fn write(&self, asked: &Asked) -> Result<Bytes, Error> {
        bounded(self.speak.write(&self.provider, asked)?)
    }

    pub(crate) fn embed_path(&self) -> Option<&'static str> {
        self.speak.embed_path()
    }

    /// Asks once, and waits for the first delta.
    pub(crate) async fn chat(
        &self,
        agent: &str,
        body: Bytes,
        ended: CancellationToken,
    ) -> Result<Heard, Failure> {
        let time = self.provider.timeouts.first_token;
        let first = timeout_at(Instant::now() + time, self.first(agent, body, ended));
        let heard =
            first.await.unwrap_or_else(|_| Err(Failure::silent("the provider said no first word", time)));
        heard.map_err(|failure| self.masked(failure))
    }

    async fn first(&self, agent: &str, body: Bytes, ended: CancellationToken) -> Result<Heard, Failure> {
        let sent = body.len();
        let path = self.speak.chat_path(&self.provider.url);
        let response = self.post(agent, path, "text/event-stream", body, ended).await?;
        let (head, body) = response.into_parts();
        let secrets = self.secrets.clone();
        let mut reading = Reading::new(&self.provider, &head.headers, body, sent, secrets)?;
        let mut deltas = Vec::new();
        while deltas.is_empty() {
            match poll_fn(|cx| reading.poll(cx, &mut deltas)).await {
                Ok(false) => {}
                Ok(true) => return Ok(Heard { deltas, reading: None }),
                Err(failure) if deltas.is_empty() => return Err(failure),
                Err(failure) => {
                    reading.fail(failure.error, &mut deltas); // Words have been heard already.
                    return Ok(Heard { deltas, reading: None });
                }
            }
        }
        reading.has_begun();
        Ok(Heard { deltas, reading: Some(reading) })
    }

    /// Posts once, and waits for the head of a response that is no failure.
    pub(crate) async fn post(
        &self,
        agent: &str,
        path: &str,
        accept: &'static str,
        body: Bytes,
        ended: CancellationToken,
    ) -> Result<Response<ResponseBytes>, Failure> {
        let mut request = Request::post(format!("{}{path}", self.provider.url))
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, accept)
            .header(header::USER_AGENT, concat!("rookery/", env!("CARGO_PKG_VERSION")));
        for &(name, value) in self.speak.headers() {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(body).map_err(|never| match never {}).boxed_unsync());
        let request = request.map_err(|error| {
            Failure::new(Error::Unavailable(format!("the request cannot be made: {error}")), Then::Next)
        })?;
        let response = self.way.send(agent, request, ended).await;
        let response = response.map_err(|error| Failure::sending(&error))?;
        if response.status() == StatusCode::OK {
            return Ok(response);
        }
        Err(failed(response).await)
    }

    /// The same without any secret in it.
    pub(crate) fn masked(&self, failure: Failure) -> Failure {
        Failure { error: mask(failure.error, &self.secrets), ..failure }
    }
}

/// What silence is, is judged by the answer's events; between bytes the time for the first of them has to fit too.
fn times(timeouts: Timeouts) -> AskedTimeouts {
    AskedTimeouts {
        connect: Some(timeouts.connect),
        first_byte: Some(timeouts.first_token),
        between_bytes: Some(timeouts.silence.max(timeouts.first_token)),
    }
}

pub(crate) fn bounded(body: Vec<u8>) -> Result<Bytes, Error> {
    if body.len() > REQUEST_LIMIT {
        let (size, limit) = (body.len().div_ceil(1 << 20), REQUEST_LIMIT >> 20);
        let text = format!("the request has {size} MiB, more than the {limit} that are sent; ask with less");
        return Err(Error::Rejected(text));
    }
    Ok(body.into())
}

/// An error without any of these secrets in it.
pub(crate) fn mask(error: Error, secrets: &[String]) -> Error {
    let clean = |text: String| secrets.iter().fold(text, |text, secret| text.replace(secret, "…"));
    match error {
        Error::NotGranted(text) => Error::NotGranted(clean(text)),
        Error::OverBudget(text) => Error::OverBudget(clean(text)),
        Error::Rejected(text) => Error::Rejected(clean(text)),
        Error::Unavailable(text) => Error::Unavailable(clean(text)),
        Error::Cancelled => Error::Cancelled,
    }
}

async fn failed(response: Response<ResponseBytes>) -> Failure {
    let (head, mut body) = response.into_parts();
    let mut said = BytesMut::new();
    let reading = async {
        while let Some(Ok(frame)) = body.frame().await {
            let Some(data) = frame.data_ref() else { continue };
            said.extend_from_slice(&data[..data.len().min(ERROR_LIMIT - said.len())]);
            if said.len() == ERROR_LIMIT {
                break;
            }
        }
    };
    let _ = timeout(ERROR_TIME, reading).await; // What came until then has to do.
    Said::parse(&said).with_status(head.status, retry_after(&head.headers, SystemTime::now()))
}

/// What `Retry-After` asks for, in seconds or as a date; OpenAI also has it in milliseconds.
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
    if let Some(millis) = text("retry-after-ms").and_then(|text| text.parse().ok()) {
        return Some(Duration::from_millis(millis));
    }
    let after = text("retry-after")?;
    match after.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => Some(httpdate::parse_http_date(after).ok()?.duration_since(now).unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::{Dialect, Key};

    #[test]
    fn what_a_provider_asks_to_wait_is_read_in_all_its_spellings() {
        let now = httpdate::parse_http_date("Tue, 24 Nov 2026 10:00:00 GMT").expect("a date");
        for (name, value, expected) in [
            ("retry-after", "3", Some(3_000)),
            ("retry-after", " 0 ", Some(0)),
            ("retry-after-ms", "250", Some(250)),
            ("retry-after", "Tue, 24 Nov 2026 10:00:07 GMT", Some(7_000)),
            ("retry-after", "Tue, 24 Nov 2026 09:00:00 GMT", Some(0)),
            ("retry-after", "soon", None),
            ("retry-after", "-1", None),
            ("x", "1", None),
        ] {
            let headers =
                HeaderMap::from_iter([(name.parse().expect("a name"), value.parse().expect("a value"))]);
            assert_eq!(retry_after(&headers, now), expected.map(Duration::from_millis), "{name}: {value}");
        }
    }

    #[test]
    fn a_model_that_thinks_in_silence_before_its_first_word_has_all_of_its_time() {
        let usual = times(Timeouts::default());
        assert_eq!(usual.between_bytes, usual.first_byte);
        let patient = Timeouts { silence: Duration::from_secs(900), ..Timeouts::default() };
        assert_eq!(times(patient).between_bytes, Some(patient.silence));
    }

    #[test]
    fn each_dialect_shows_its_key_its_way_and_secrets_are_known_by_their_headers() {
        for (dialect, name, value) in [
            (Dialect::OpenAi, "authorization", "Bearer sk-123456"),
            (Dialect::Anthropic, "x-api-key", "sk-123456"),
        ] {
            let mut provider = Provider::new(dialect, "https://a.com", "m");
            provider.key = Key::new(" sk-123456\n");
            for (header, value) in
                [("Api-Key", "azure-1234"), ("HTTP-Referer", "https://mine.example"), ("x-token", "a")]
            {
                provider.headers.insert(header.into(), value.into());
            }
            let (headers, secrets) = added(&provider);
            assert_eq!(headers.get(name).map(String::as_str), Some(value));
            assert_eq!(headers.len(), 4);
            assert_eq!(secrets, ["azure-1234", "sk-123456"]);
            assert!(!format!("{provider:?}").contains("sk-123456"));
        }
    }

    #[test]
    fn a_request_is_no_larger_than_is_sent() {
        assert!(bounded(vec![0; REQUEST_LIMIT]).is_ok());
        let error = bounded(vec![0; REQUEST_LIMIT + 1]).expect_err("too large");
        assert!(error.to_string().contains("33 MiB, more than the 32 that are sent"), "{error}");
    }
}
