//! What texts mean, as numbers: OpenAI's `/embeddings`, which most others have too. Anthropic has none.
//!
//! Bounded by: [`MOST_TEXTS`] texts; [`DOCUMENT_LIMIT`] bytes of an answer; the provider's time for a first word, which
//! is here for all of it.

use std::sync::Arc;

use bytes::BytesMut;
use http_body_util::BodyExt;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::delta::{Embeddings, Error};
use crate::dialect::{Said, Spent};
use crate::failure::{Failure, Then};
use crate::route::{Route, bounded};

/// What OpenAI takes in one request.
const MOST_TEXTS: usize = 2048;

/// As many of OpenAI's largest vectors, at 13 characters a number, are 82 MB.
const DOCUMENT_LIMIT: usize = 96 * 1024 * 1024;

/// The routes that can embed, as far as they have the first one's model.
pub(crate) fn able(routes: &[Arc<Route>]) -> Result<Vec<Arc<Route>>, Error> {
    let mut able = routes.iter().filter(|route| route.embed_path().is_some()).peekable();
    let Some(model) = able.peek().map(|route| route.provider.model.clone()) else {
        let text = "Anthropic's API has no embeddings; name a model of another provider";
        return Err(Error::Rejected(text.to_owned()));
    };
    Ok(able.filter(|route| route.provider.model == model).cloned().collect())
}

/// Texts to embed.
pub(crate) struct Question {
    texts: Vec<String>,
}

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    input: &'a [String],
    encoding_format: &'static str,
}

#[derive(Deserialize)]
struct Document {
    #[serde(default)]
    data: Vec<Vector>,
    #[serde(default)]
    model: Option<String>,
    #[serde(default)]
    usage: Option<Tokens>,
}

#[derive(Deserialize)]
struct Vector {
    #[serde(default)]
    index: Option<usize>,
    embedding: Vec<f32>,
}

#[derive(Deserialize)]
struct Tokens {
    #[serde(default)]
    prompt_tokens: Option<u64>,
}

impl Question {
    pub(crate) fn new(texts: Vec<String>) -> Result<Question, Error> {
        if texts.len() > MOST_TEXTS {
            let count = texts.len();
            return Err(Error::Rejected(format!(
                "{count} texts are more than {MOST_TEXTS}; embed them in parts"
            )));
        }
        Ok(Question { texts })
    }

    pub(crate) async fn ask(
        &self,
        route: &Route,
        agent: &str,
        ended: CancellationToken,
    ) -> Result<Embeddings, Failure> {
        if self.texts.is_empty() {
            return Ok(Embeddings::default());
        }
        let time = route.provider.timeouts.first_token;
        let answered = timeout_at(Instant::now() + time, self.ask_once(route, agent, ended)).await;
        let answered = answered.unwrap_or_else(|_| Err(Failure::silent("the provider did not answer", time)));
        answered.map_err(|failure| route.masked(failure))
    }

    async fn ask_once(
        &self,
        route: &Route,
        agent: &str,
        ended: CancellationToken,
    ) -> Result<Embeddings, Failure> {
        let model = &route.provider.model;
        let body = Body { model, input: &self.texts, encoding_format: "float" };
        let stop = |error| Failure::new(error, Then::Stop);
        let body = serde_json::to_vec(&body).map_err(|error| stop(Error::Rejected(error.to_string())))?;
        let body = bounded(body).map_err(stop)?;
        let sent = body.len();
        let path = route.embed_path().unwrap_or_default();
        let mut body = route.post(agent, path, "application/json", body, ended).await?.into_body();
        let mut document = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| Failure::sending(&error))?;
            let Some(data) = frame.data_ref() else { continue };
            if document.len() + data.len() > DOCUMENT_LIMIT {
                let limit = DOCUMENT_LIMIT >> 20;
                return Err(Failure::broken(format!("the provider's answer is larger than {limit} MiB")));
            }
            document.extend_from_slice(data);
        }
        self.read(&document, model, sent)
    }

    fn read(&self, document: &[u8], model: &str, sent: usize) -> Result<Embeddings, Failure> {
        let parsed = serde_json::from_slice(document);
        let Document { data, model: named, usage } = parsed.map_err(|error| {
            Failure::broken(format!("the provider's embeddings were not understood: {error}"))
        })?;
        let mut vectors = vec![Vec::new(); self.texts.len()];
        for (at, Vector { index, embedding }) in data.into_iter().enumerate() {
            if let Some(place) = vectors.get_mut(index.unwrap_or(at)) {
                *place = embedding;
            }
        }
        if let Some(missing) = vectors.iter().position(Vec::is_empty) {
            let said = Said::parse(&document[..document.len().min(1024)]).message;
            return Err(Failure::broken(format!(
                "the provider has no numbers for text {}: {said}",
                missing + 1
            )));
        }
        let spent = Spent {
            model: named.unwrap_or_default(),
            input: usage.and_then(|usage| usage.prompt_tokens),
            output: Some(0),
        };
        Ok(Embeddings { vectors, usage: spent.usage(model, sent, 0) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(document: &str) -> Result<Embeddings, Failure> {
        let texts = vec!["one".to_owned(), "two".to_owned()];
        Question::new(texts).expect("two").read(document.as_bytes(), "embedder", 40)
    }

    #[test]
    fn vectors_are_put_in_the_order_of_their_texts() {
        let document = r#"{"object":"list","data":[{"index":1,"embedding":[2.5]},{"index":0,"embedding":[1,-1e-3]}],
            "model":"m","usage":{"prompt_tokens":2,"total_tokens":2}}"#;
        let embeddings = read(document).expect("two");
        assert_eq!(embeddings.vectors, [vec![1.0, -0.001], vec![2.5]]);
        assert_eq!((embeddings.usage.model.as_str(), embeddings.usage.input_tokens), ("m", 2));

        let plain = read(r#"{"data":[{"embedding":[1]},{"embedding":[2]}]}"#).expect("two");
        assert_eq!(plain.vectors, [[1.0], [2.0]]);
        assert_eq!((plain.usage.model.as_str(), plain.usage.input_tokens), ("embedder", 10), "an estimate");
    }

    #[test]
    fn a_text_without_a_vector_is_a_failure() {
        for document in [
            r#"{"data":[{"index":0,"embedding":[1]}]}"#,
            r#"{"data":[{"index":0,"embedding":[1]},{"index":7,"embedding":[1]}]}"#,
            r#"{"data":[{"index":0,"embedding":[1]},{"index":1,"embedding":[]}]}"#,
            r#"{"error":"no"}"#,
            "[]",
        ] {
            let failure = read(document).expect_err(document);
            assert!(matches!(failure.error, Error::Unavailable(_)), "{document}: {failure:?}");
        }
    }

    #[test]
    fn more_texts_than_a_provider_takes_are_refused() {
        assert!(Question::new(vec![String::new(); MOST_TEXTS]).is_ok());
        assert!(Question::new(vec![String::new(); MOST_TEXTS + 1]).is_err());
    }
}
