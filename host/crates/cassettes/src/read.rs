//! A cassette's text as exchanges.
//!
//! Promises: what is wrong is named with its file and line; what is not wrong is whole, so that nothing is left to check
//! when it is replayed.

use std::fmt::Display;
use std::path::Path;
use std::str::FromStr;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri};
use serde::Deserialize;
use toml::Spanned;

use crate::clean;
use crate::error::CassetteError;
use crate::exchange::{Ended, Exchange, Frame, Response};

/// An exchange, and the line on which it begins.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) exchange: Exchange,
    pub(crate) line: usize,
}

/// Where something is wrong, as a byte's place in the text, and what.
type Wrong = (usize, String);

/// Reads what `path` holds.
pub(crate) fn read(path: &Path, text: &str) -> Result<Vec<Found>, CassetteError> {
    found(text).map_err(|(at, reason)| CassetteError::Malformed {
        path: path.to_owned(),
        line: line(text, at),
        reason,
    })
}

fn found(text: &str) -> Result<Vec<Found>, Wrong> {
    let file: File = toml::from_str(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        (at, error.message().lines().collect::<Vec<_>>().join("; "))
    })?;
    let found = file.exchange.into_iter().map(|raw| {
        let at = raw.span().start;
        Ok(Found { exchange: raw.into_inner().whole(at)?, line: line(text, at) })
    });
    found.collect()
}

fn line(text: &str, at: usize) -> usize {
    1 + text.as_bytes().iter().take(at).filter(|&&byte| byte == b'\n').count()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    exchange: Vec<Spanned<RawExchange>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawExchange {
    #[serde(default)]
    at: u32,
    method: Spanned<String>,
    url: Spanned<String>,
    #[serde(default)]
    headers: Vec<Spanned<String>>,
    json: Option<Spanned<String>>,
    text: Option<String>,
    base64: Option<Spanned<String>>,
    #[serde(default)]
    after: u32,
    #[serde(default)]
    ended: Ended,
    #[serde(default)]
    detail: String,
    response: Option<RawResponse>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawResponse {
    status: Spanned<u16>,
    #[serde(default)]
    headers: Vec<Spanned<String>>,
    #[serde(default)]
    frames: Vec<Spanned<RawFrame>>,
    trailers: Option<Vec<Spanned<String>>>,
    #[serde(default)]
    until: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFrame {
    #[serde(default)]
    at: u32,
    text: Option<String>,
    base64: Option<Spanned<String>>,
}

impl RawExchange {
    fn whole(self, begins: usize) -> Result<Exchange, Wrong> {
        let body = match (self.json, self.text, self.base64) {
            (None, None, None) => Bytes::new(),
            (Some(text), None, None) => parsed::<Json>(&text)?.0.into(),
            (None, Some(text), None) => text.into(),
            (None, None, Some(text)) => parsed::<Base64>(&text)?.0,
            _ => return Err((begins, "the request has more than one of `json`, `text` and `base64`".into())),
        };
        let exchange = Exchange {
            at: self.at,
            method: parsed(&self.method)?,
            url: clean::url(&parsed::<Url>(&self.url)?.0),
            headers: headers(&self.headers)?,
            body,
            after: self.after,
            ended: self.ended,
            detail: self.detail,
            response: self.response.map(RawResponse::whole).transpose()?,
        };
        if exchange.ended == Ended::Whole && exchange.response.is_none() {
            return Err((begins, "there is no [exchange.response], and no `ended` that says why".into()));
        }
        Ok(exchange)
    }
}

impl RawResponse {
    fn whole(self) -> Result<Response, Wrong> {
        let status = StatusCode::from_u16(*self.status.get_ref());
        let mut data = BytesMut::new();
        let mut frames = Vec::with_capacity(self.frames.len());
        for frame in self.frames {
            let begins = frame.span().start;
            let frame = frame.into_inner();
            match (frame.text, frame.base64) {
                (Some(text), None) => data.extend_from_slice(text.as_bytes()),
                (None, Some(text)) => data.extend_from_slice(&parsed::<Base64>(&text)?.0),
                _ => return Err((begins, "a frame has either `text` or `base64`".into())),
            }
            frames.push(Frame { at: frame.at, end: data.len() });
        }
        Ok(Response {
            status: status.map_err(|_| {
                (self.status.span().start, "this is no status; write one from 100 to 999".to_owned())
            })?,
            headers: headers(&self.headers)?,
            data: data.freeze(),
            frames,
            trailers: self.trailers.as_deref().map(headers).transpose()?,
            until: self.until,
        })
    }
}

fn headers(lines: &[Spanned<String>]) -> Result<HeaderMap, Wrong> {
    let mut headers = HeaderMap::new();
    for line in lines {
        let Line(name, value) = parsed(line)?;
        headers
            .try_append(name, value)
            .map_err(|_| (line.span().start, "there are too many headers".to_owned()))?;
    }
    Ok(headers)
}

fn parsed<T: FromStr<Err: Display>>(text: &Spanned<String>) -> Result<T, Wrong> {
    text.get_ref().parse().map_err(|error: T::Err| (text.span().start, error.to_string()))
}

struct Url(String);

impl FromStr for Url {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let whole = text.parse::<Uri>().is_ok_and(|uri| uri.scheme().is_some() && uri.authority().is_some());
        if whole { Ok(Url(text.to_owned())) } else { Err("this is no URL; write `http://host/path`") }
    }
}

struct Line(HeaderName, HeaderValue);

impl FromStr for Line {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = "this is no header; write `name: value`";
        let (name, value) = text.split_once(':').ok_or(wrong)?;
        let name = HeaderName::from_bytes(name.trim().as_bytes()).map_err(|_| wrong)?;
        Ok(Line(name, HeaderValue::from_bytes(value.trim().as_bytes()).map_err(|_| wrong)?))
    }
}

struct Json(String);

impl FromStr for Json {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match serde_json::from_str::<serde_json::Value>(text) {
            Ok(_) => Ok(Json(text.to_owned())),
            Err(error) => Err(format!("this is no JSON: {error}")),
        }
    }
}

struct Base64(Bytes);

impl FromStr for Base64 {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let joined: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
        let bytes = BASE64_STANDARD.decode(joined).map_err(|error| format!("this is no base64: {error}"))?;
        Ok(Base64(bytes.into()))
    }
}
