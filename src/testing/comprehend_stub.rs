//! A stub of Amazon Comprehend: it speaks the API of BatchDetectSentiment and judges nothing. What it
//! answers is what a test says; no model stands behind it.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::fault_proxy::read_request;
use super::listener::Listener;
use crate::aws::{Aws, http_client};

/// What the stub does with one call.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// Status 200, with one of these for each text.
    Items(Vec<Item>),
    /// This status, with an error of this code.
    Refusal(u16, &'static str),
}

/// What the stub says of one text.
#[derive(Debug, Clone, PartialEq)]
pub enum Item {
    /// This sentiment, with scores of negative, neutral, positive and mixed.
    Sentiment(&'static str, [f32; 4]),
    /// This code of an error.
    Error(&'static str),
    /// Nothing at all.
    Missing,
}

/// One call: language and texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The language code.
    pub language: String,
    /// The texts.
    pub texts: Vec<String>,
}

/// A server on the loopback interface, until it is dropped.
pub struct ComprehendStub {
    listener: Listener,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl ComprehendStub {
    /// A stub that answers each call as `answer` says.
    pub fn start(answer: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> io::Result<Self> {
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let (answer, log) = (Arc::new(answer), asked.clone());
        let listener = Listener::start(move |client| {
            let (answer, log) = (answer.clone(), log.clone());
            async move { converse(client, answer.as_ref(), &log).await }
        })?;
        Ok(Self { listener, asked })
    }

    /// AWS with the stub as its only server.
    pub fn aws(&self) -> Aws {
        let credentials = Credentials::new("AKIASTUB", "not-a-secret", None, None, "stub");
        let found = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("eu-west-1"))
            .endpoint_url(format!("http://{}", self.listener.address))
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .http_client(http_client())
            .build();
        Aws::of(found, false)
    }

    /// The calls so far, in the order in which they came.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn converse(
    mut client: TcpStream,
    answer: &(dyn Fn(&Asked) -> Answer + Send + Sync),
    log: &Mutex<Vec<Asked>>,
) -> io::Result<()> {
    let Some((head, body)) = read_request(&mut client).await? else { return Ok(()) };
    if !head.contains("Comprehend_20171127.BatchDetectSentiment") {
        return reply(&mut client, 404, &json!({ "__type": "UnknownOperationException" })).await;
    }
    let body: Value = serde_json::from_slice(&body)?;
    let texts = body.get("TextList").and_then(Value::as_array).into_iter().flatten();
    let language = body.get("LanguageCode").and_then(Value::as_str).unwrap_or_default();
    let asked = Asked {
        language: language.to_owned(),
        texts: texts.filter_map(Value::as_str).map(str::to_owned).collect(),
    };
    let answer = answer(&asked);
    log.lock().unwrap_or_else(PoisonError::into_inner).push(asked);
    match answer {
        Answer::Refusal(status, code) => {
            reply(&mut client, status, &json!({ "__type": code, "message": "as told" })).await
        }
        Answer::Items(items) => reply(&mut client, 200, &body_of(&items)).await,
    }
}

fn body_of(items: &[Item]) -> Value {
    let (mut results, mut errors) = (Vec::new(), Vec::new());
    for (index, item) in items.iter().enumerate() {
        match item {
            Item::Sentiment(sentiment, [negative, neutral, positive, mixed]) => {
                results.push(json!({
                    "Index": index,
                    "Sentiment": sentiment,
                    "SentimentScore": {
                        "Negative": negative, "Neutral": neutral, "Positive": positive, "Mixed": mixed,
                    },
                }));
            }
            Item::Error(code) => {
                errors
                    .push(json!({ "Index": index, "ErrorCode": code, "ErrorMessage": "as told" }));
            }
            Item::Missing => {}
        }
    }
    json!({ "ResultList": results, "ErrorList": errors })
}

async fn reply(client: &mut TcpStream, status: u16, body: &Value) -> io::Result<()> {
    let body = body.to_string();
    let head = format!(
        "HTTP/1.1 {status} x\r\nContent-Type: application/x-amz-json-1.1\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    client.write_all(head.as_bytes()).await?;
    client.write_all(body.as_bytes()).await?;
    client.shutdown().await
}
