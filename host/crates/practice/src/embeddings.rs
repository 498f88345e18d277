//! OpenAI's embeddings: eight numbers for each text, from its hash and from nothing else.

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::wire::{Fnv, Refusal};

#[derive(Deserialize)]
struct Asked {
    model: String,
    input: Input,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "`input` has to be a string or an array of strings")]
enum Input {
    Text(String),
    Texts(Vec<String>),
}

pub(crate) async fn embed(body: Result<Bytes, BytesRejection>) -> Result<Json<Value>, Refusal> {
    let asked: Asked = serde_json::from_slice(&crate::read(body)?).map_err(|error| {
        Refusal::new(StatusCode::BAD_REQUEST, format!("The body is not an embedding's JSON: {error}"))
    })?;
    let texts = match asked.input {
        Input::Text(text) => vec![text],
        Input::Texts(texts) => texts,
    };
    let tokens: usize = texts.iter().map(|text| text.split_whitespace().count()).sum();
    let vectors: Vec<_> = texts
        .iter()
        .enumerate()
        .map(|(index, text)| json!({ "object": "embedding", "index": index, "embedding": vector(text) }))
        .collect();
    Ok(Json(json!({
        "object": "list",
        "data": vectors,
        "model": asked.model,
        "usage": { "prompt_tokens": tokens, "total_tokens": tokens },
    })))
}

/// From -1 to 1 in steps that every float can hold.
fn vector(text: &str) -> [f32; 8] {
    let mut hash = Fnv::default();
    hash.add(text);
    hash.0.to_be_bytes().map(|byte| (f32::from(byte) - 128.0) / 128.0)
}
